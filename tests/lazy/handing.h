/*
 * What the tests' programs share that hand their memory over: lines on standard output, a userfaultfd, and the
 * connection by which it goes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define PAGE 4096UL

static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;

static void fail(const char *what) {
  perror(what);
  exit(3);
}

/* Says a line, whole, from any thread. */
static void say(const char *format, ...) {
  va_list list;
  va_start(list, format);
  pthread_mutex_lock(&output);
  vprintf(format, list);
  putchar('\n');
  fflush(stdout);
  pthread_mutex_unlock(&output);
  va_end(list);
}

static int new_userfaultfd(uint64_t features) {
  int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
  struct uffdio_api api = {.api = UFFD_API, .features = features};
  if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0) fail("userfaultfd");
  return fd;
}

static void register_range(int fd, void *start, size_t length, uint64_t mode) {
  struct uffdio_register range = {.range = {(uint64_t)start, length}, .mode = mode};
  if (ioctl(fd, UFFDIO_REGISTER, &range) < 0) fail("UFFDIO_REGISTER");
}

static int connect_to(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(connection, (struct sockaddr *)&address, sizeof address) < 0) fail("connect");
  return connection;
}

/* Sends bytes, with a descriptor on the first of them unless it is negative; returns how many went. */
static size_t send_with(int connection, const void *bytes, size_t length, int fd) {
  char control[CMSG_SPACE(sizeof fd)] = {0};
  struct iovec vector = {(void *)bytes, length};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  ssize_t count = sendmsg(connection, &message, MSG_NOSIGNAL);
  if (count < 0) fail("sendmsg");
  return count;
}
