/*
 * What systemd does for a service with Restart=always and a descriptor store, as sd_notify(3) and
 * sd_listen_fds(3) have it: for tests of what it keeps, where there is no systemd. tests/systemd has a real one.
 *
 *   manager SOCKET MOST COMMAND...   SOCKET is the service's NOTIFY_SOCKET, a path or @ and an abstract name; MOST
 *                                    are descriptors that are kept
 *
 * Prints "started PID", "ready", "kept NUMBER" when the service asks whether all is done, and "ended". The service
 * has the same standard output. It is ended, and not started again, when standard input ends.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST 512
#define FIRST 3

static struct { int fd; char name[256]; } store[MOST];
static int stored, most;
static pid_t service;

static void fail(const char *what) {
  perror(what);
  exit(3);
}

static void say(const char *format, int number) {
  printf(format, number);
  putchar('\n');
  fflush(stdout);
}

static void start(char **command, const char *path) {
  service = fork();
  if (service != 0) {
    say("started %d", service);
    return;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  /* First out of the way of the numbers that they get. */
  char names[MOST * 64] = "", number[20];
  int high[MOST];
  for (int i = 0; i < stored; i++) high[i] = fcntl(store[i].fd, F_DUPFD_CLOEXEC, FIRST + MOST);
  for (int i = 0; i < stored; i++) {
    dup2(high[i], FIRST + i);
    sprintf(names + strlen(names), "%s%s", i ? ":" : "", store[i].name);
  }
  setenv("NOTIFY_SOCKET", path, 1);
  snprintf(number, sizeof number, "%d", stored);
  setenv("LISTEN_FDS", number, 1);
  snprintf(number, sizeof number, "%d", getpid());
  setenv("LISTEN_PID", number, 1);
  setenv("LISTEN_FDNAMES", names, 1);
  execvp(command[0], command);
  fail(command[0]);
}

static void hear(int notify) {
  char text[4096], control[CMSG_SPACE(16 * sizeof(int))];
  struct iovec vector = {text, sizeof text - 1};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  ssize_t length = recvmsg(notify, &message, MSG_CMSG_CLOEXEC);
  if (length < 0) fail("recvmsg");
  text[length] = 0;
  int fd = -1, keep = 0, forget = 0;
  char name[256] = "";
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (header != NULL && header->cmsg_type == SCM_RIGHTS) memcpy(&fd, CMSG_DATA(header), sizeof fd);
  for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
    if (strcmp(line, "FDSTORE=1") == 0) keep = 1;
    if (strcmp(line, "FDSTOREREMOVE=1") == 0) forget = 1;
    if (strncmp(line, "FDNAME=", 7) == 0) snprintf(name, sizeof name, "%s", line + 7);
    if (strcmp(line, "READY=1") == 0) say("ready", 0);
    if (strcmp(line, "BARRIER=1") == 0) say("kept %d", stored);
  }
  if (keep && stored < most) {
    store[stored].fd = fd;
    strcpy(store[stored++].name, name);
    return;
  }
  for (int i = 0; forget && i < stored;) {
    if (strcmp(store[i].name, name) != 0) i++;
    else {
      close(store[i].fd);
      store[i] = store[--stored];
    }
  }
  if (fd >= 0) close(fd);
}

int main(int count, char **arguments) {
  if (count < 4) return 2;
  most = atoi(arguments[2]);
  if (most > MOST) return 2;
  int notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, arguments[1], sizeof address.sun_path - 1);
  socklen_t length = sizeof address;
  if (arguments[1][0] == '@') {
    length = sizeof address.sun_family + strlen(arguments[1]);
    address.sun_path[0] = 0;
  }
  if (bind(notify, (struct sockaddr *)&address, length) < 0) fail("bind");
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGCHLD);
  sigprocmask(SIG_BLOCK, &signals, NULL);
  int children = signalfd(-1, &signals, SFD_CLOEXEC);
  start(arguments + 3, arguments[1]);
  struct pollfd polls[] = {{.fd = notify, .events = POLLIN}, {.fd = children, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
  while (poll(polls, 3, -1) >= 0) {
    if (polls[0].revents & POLLIN) {
      hear(notify); /* all that the service said comes before its end */
      continue;
    }
    if (polls[1].revents & POLLIN) {
      struct signalfd_siginfo info;
      if (read(children, &info, sizeof info) != sizeof info) fail("signalfd");
      if (waitpid(service, NULL, 0) == service) {
        say("ended", 0);
        start(arguments + 3, arguments[1]);
      }
    }
    char byte;
    if (polls[2].revents != 0 && read(0, &byte, 1) <= 0) break;
  }
  kill(service, SIGKILL);
  waitpid(service, NULL, 0);
  return 0;
}
