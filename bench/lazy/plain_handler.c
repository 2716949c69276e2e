/*
 * A page fault handler as simple as one can be, for bench:lazy: takes one VM's regions, and then polls, reads a
 * message and copies one page from a mapped file, until the VM is gone. What was removed is zero from then on; a
 * page that the kernel refuses while memory is being removed is tried again behind each look for messages.
 *
 *   plain_handler SOCKET FILE
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PAGE 4096UL
#define MOST_REFUSED 64

static int fd;
static uint64_t base;
static char *image, *removed; /* removed: a byte a page */
static uint64_t refused[MOST_REFUSED];
static size_t refused_count;

static void fail(const char *what) {
  perror(what);
  exit(3);
}

/* Returns 0 when the page has to be tried again. */
static int place(uint64_t page) {
  int result;
  if (removed[(page - base) / PAGE]) {
    struct uffdio_zeropage zero = {.range = {page, PAGE}};
    result = ioctl(fd, UFFDIO_ZEROPAGE, &zero);
  } else {
    struct uffdio_copy copy = {.dst = page, .src = (uint64_t)image + (page - base), .len = PAGE};
    result = ioctl(fd, UFFDIO_COPY, &copy);
  }
  if (result == 0 || errno != EAGAIN) return 1;
  return 0;
}

static void answer(uint64_t page) {
  if (place(page)) return;
  if (refused_count == MOST_REFUSED) fail("more refused pages than threads");
  refused[refused_count++] = page;
}

static void answer_refused(void) {
  size_t kept = 0;
  for (size_t i = 0; i < refused_count; i++) {
    if (!place(refused[i])) refused[kept++] = refused[i];
  }
  refused_count = kept;
}

int main(int count, char **arguments) {
  if (count != 3) return 2;
  int file = open(arguments[2], O_RDONLY);
  struct stat status;
  if (file < 0 || fstat(file, &status) < 0) fail("file");
  image = mmap(NULL, status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
  int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, arguments[1], sizeof address.sun_path - 1);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 1) < 0) fail("listen");
  puts("listening");
  fflush(stdout);
  int connection = accept(listener, NULL, NULL);
  char text[4096], control[CMSG_SPACE(sizeof(int))];
  struct iovec vector = {text, sizeof text - 1};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  ssize_t length = recvmsg(connection, &message, 0);
  if (length <= 0) fail("recvmsg");
  text[length] = 0;
  memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
  size_t size;
  if (sscanf(text, "[{\"base_host_virt_addr\":%lu,\"size\":%zu", &base, &size) != 2) fail("regions");
  removed = calloc(size / PAGE, 1);
  struct pollfd polls[] = {{.fd = fd, .events = POLLIN}, {.fd = connection, .events = POLLRDHUP}};
  while (poll(polls, 2, refused_count > 0 ? 0 : -1) >= 0) {
    if (polls[1].revents != 0) break;
    struct uffd_msg told;
    if (read(fd, &told, sizeof told) == sizeof told) {
      if (told.event == UFFD_EVENT_PAGEFAULT) answer(told.arg.pagefault.address & ~(PAGE - 1));
      if (told.event == UFFD_EVENT_REMOVE) {
        memset(removed + (told.arg.remove.start - base) / PAGE, 1, (told.arg.remove.end - told.arg.remove.start) / PAGE);
        continue; /* nothing is placed before all of them are known */
      }
    }
    if (refused_count > 0) answer_refused();
  }
  return 0;
}
