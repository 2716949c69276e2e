/*
 * Lets CRIU's page server work for a root without CAP_SYS_RESOURCE: it has a new pipe made as large as any may
 * be, which fails for such a root, where 1 MiB holds all that is put into it as long as larger ones cannot be
 * had. Pipes that it makes larger step by step fail as they do, and it goes on with another. Loaded in front of
 * the C library.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>

#define MOST (1L << 20)
#define NEW (16L * 4096) /* bytes of a pipe that nobody made larger */

static int limited(const char *name, int fd, int command, long argument) {
  int (*real)(int, int, ...) = (int (*)(int, int, ...))dlsym(RTLD_NEXT, name);
  if (command == F_SETPIPE_SZ && argument > MOST && real(fd, F_GETPIPE_SZ) == NEW) argument = MOST;
  return real(fd, command, argument);
}

int fcntl(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  long argument = va_arg(list, long);
  va_end(list);
  return limited("fcntl", fd, command, argument);
}

int fcntl64(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  long argument = va_arg(list, long);
  va_end(list);
  return limited("fcntl64", fd, command, argument);
}
