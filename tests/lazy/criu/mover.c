/*
 * A process of the tests whose memory is missing, handed over as CRIU's restorer hands over what it restores, by
 * a descriptor that tells of forks, moves, unmapping and removal. It does what it is told on standard input, a
 * line each, in a thread of its own; `armed WORDS` does so at SIGUSR1, which a test that waits for nothing can send.
 *
 *   mover SOCKET PAGES     its memory; prints "ready PID ADDRESS"
 *
 *   touch PAGE             prints "touched PAGE HEX", of the first word; PAGE is where the page is now
 *   move PAGE COUNT TO     moves pages; prints "moved"
 *   keep PAGE COUNT TO     the same, and leaves empty memory behind
 *   unmap PAGE COUNT       prints "unmapped"
 *   remove PAGE COUNT      prints "removed"
 *   fork PAGE              its child touches a page; prints "child HEX"
 *   finish                 says that all is restored
 */
#include "../handing.h"
#include <semaphore.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static char *memory; /* of which only the first part is mapped at the start */
static int connection;
static sem_t go;

static uint32_t first_word(size_t page) { return *(volatile uint32_t *)(memory + page * PAGE); }

static void move(size_t page, size_t count, size_t to, int flags) {
  flags |= MREMAP_MAYMOVE | MREMAP_FIXED;
  if (mremap(memory + page * PAGE, count * PAGE, count * PAGE, flags, memory + to * PAGE) == MAP_FAILED) {
    fail("mremap");
  }
  say("moved");
}

static void fork_and_touch(size_t page) {
  int ends[2];
  uint32_t word;
  if (pipe(ends) < 0) fail("pipe");
  pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    word = first_word(page);
    _exit(write(ends[1], &word, sizeof word) == sizeof word ? 0 : 1);
  }
  if (read(ends[0], &word, sizeof word) != sizeof word) fail("read of child");
  waitpid(child, NULL, 0);
  close(ends[0]);
  close(ends[1]);
  say("child %x", word);
}

static void *obey(void *argument) {
  char *line = argument, what[16];
  size_t page = 0, count = 0, to = 0;
  if (strncmp(line, "armed ", 6) == 0) {
    line += 6;
    say("armed");
    while (sem_wait(&go) < 0) {}
  }
  sscanf(line, "%15s %zu %zu %zu", what, &page, &count, &to);
  if (strcmp(what, "touch") == 0) say("touched %zu %x", page, first_word(page));
  else if (strcmp(what, "move") == 0) move(page, count, to, 0);
  else if (strcmp(what, "keep") == 0) move(page, count, to, MREMAP_DONTUNMAP);
  else if (strcmp(what, "unmap") == 0) {
    munmap(memory + page * PAGE, count * PAGE);
    say("unmapped");
  } else if (strcmp(what, "remove") == 0) {
    madvise(memory + page * PAGE, count * PAGE, MADV_DONTNEED);
    say("removed");
  } else if (strcmp(what, "fork") == 0) fork_and_touch(page);
  free(argument);
  return NULL;
}

static void on_signal(int number) {
  (void)number;
  sem_post(&go);
}

static int make_userfaultfd(size_t pages) {
  int fd = new_userfaultfd(UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_UNMAP |
                           UFFD_FEATURE_EVENT_REMOVE);
  register_range(fd, memory, pages * PAGE, UFFDIO_REGISTER_MODE_MISSING);
  return fd;
}

static void hand_over(int fd) {
  int32_t pid = getpid();
  char byte = 0;
  if (send_with(connection, &pid, sizeof pid, -1) != sizeof pid || send_with(connection, &byte, 1, fd) != 1) fail("send");
  close(fd); /* as the restorer does: nobody else has it now */
}

int main(int count, char **arguments) {
  if (count != 3) return 2;
  size_t pages = strtoul(arguments[2], NULL, 10);
  /* Room for all that is moved: four times as much, of which nothing is mapped but the first part. */
  memory = mmap(NULL, pages * 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mmap(memory, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != memory) fail("mmap");
  munmap(memory + pages * PAGE, pages * 3 * PAGE);
  sem_init(&go, 0, 0);
  signal(SIGUSR1, on_signal);
  char line[100];
  say("made %d %zu", getpid(), (size_t)memory);
  if (fgets(line, sizeof line, stdin) == NULL) return 0; /* there are images of it now */
  connection = connect_to(arguments[1]);
  hand_over(make_userfaultfd(pages));
  say("ready");
  while (fgets(line, sizeof line, stdin) != NULL) {
    if (strncmp(line, "finish", 6) == 0) {
      uint32_t word = 0x52535446;
      if (write(connection, &word, sizeof word) != sizeof word) fail("finish");
      close(connection);
      say("finished");
      continue;
    }
    pthread_t thread;
    pthread_create(&thread, NULL, obey, strdup(line));
    pthread_detach(thread);
  }
  return 0;
}
