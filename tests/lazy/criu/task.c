/*
 * What the tests have CRIU dump and restore: a process that knows what each of its pages must hold, and counts
 * bytes that are something else.
 *
 *   task MODE DIRECTORY
 *
 * It makes DIRECTORY/ready when there is something to dump, waits for DIRECTORY/go, does its work, and writes
 * DIRECTORY/result: "wrong=N ..."; why children ended wrongly stands in DIRECTORY/why. MODE is
 *   memory   64 MiB, checked by four threads at random, and by system calls
 *   tree     threads, children and grandchildren, each with pages of its own; forks again at once
 *   churn    threads that map, unmap, move and remove without an end, also before the dump
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096UL
#define MIB (1024UL * 1024)

static const char *directory;

static void fail(const char *what) {
  char path[512];
  snprintf(path, sizeof path, "%s/result", directory);
  FILE *file = fopen(path, "w");
  if (file != NULL) {
    fprintf(file, "failed %s: %s\n", what, strerror(errno));
    fclose(file);
  }
  exit(3);
}

static void put(const char *name, const char *text) {
  char path[512], partial[520];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  snprintf(partial, sizeof partial, "%s.part", path);
  FILE *file = fopen(partial, "w");
  if (file == NULL) exit(4);
  fputs(text, file);
  fclose(file);
  rename(partial, path);
}

static int told_to_go(void) {
  char path[512];
  snprintf(path, sizeof path, "%s/go", directory);
  return access(path, F_OK) == 0;
}

static void wait_for_go(void) {
  while (!told_to_go()) usleep(2000);
}

/* What a page of this state holds; 0: zeros. */
static uint32_t word(uint32_t state, size_t index) {
  return state == 0 ? 0 : (uint32_t)index * 2654435761u ^ state;
}

static void fill(void *at, uint32_t state) {
  for (size_t i = 0; i < PAGE / 4; i++) ((uint32_t *)at)[i] = word(state, i);
}

static size_t wrong_bytes(const void *at, uint32_t state) {
  size_t wrong = 0;
  for (size_t i = 0; i < PAGE / 4; i++) {
    uint32_t found = ((const volatile uint32_t *)at)[i], right = word(state, i);
    for (int b = 0; b < 4; b++) wrong += (found >> 8 * b & 255) != (right >> 8 * b & 255);
  }
  return wrong;
}

/* The kernel reads the page, and not this process. */
static size_t wrong_bytes_by_pipe(const char *at, uint32_t state) {
  static __thread int ends[2] = {-1, -1};
  char copy[PAGE] __attribute__((aligned(8)));
  if (ends[0] < 0 && pipe(ends) < 0) fail("pipe");
  if (write(ends[1], at, PAGE) != (ssize_t)PAGE) fail("write to pipe");
  for (size_t got = 0; got < PAGE;) {
    ssize_t count = read(ends[0], copy + got, PAGE - got);
    if (count <= 0) fail("read from pipe");
    got += count;
  }
  return wrong_bytes(copy, state);
}

static char *map(size_t length) {
  char *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) fail("mmap");
  return at;
}

static uint64_t next(uint64_t *seed) {
  *seed ^= *seed << 13;
  *seed ^= *seed >> 7;
  *seed ^= *seed << 17;
  return *seed;
}

/* ---- memory, and what trees share */

static char *memory;
static size_t page_count;
static uint32_t salt; /* of this process: every third page is its own */
static size_t total_wrong;

static uint32_t page_state(size_t page) {
  if (page % 7 == 3) return 0; /* never touched before the dump */
  return (uint32_t)(page + 1) * 40503u ^ (page % 3 == 1 ? salt : 0);
}

static void *check_part(void *argument) {
  size_t part = (size_t)argument, wrong = 0;
  /* All pages, each thread in another order. */
  for (size_t i = 0; i < page_count; i++) {
    size_t page = (i * 4099 + part * 977) % page_count;
    const char *at = memory + page * PAGE;
    wrong += part % 2 ? wrong_bytes_by_pipe(at, page_state(page)) : wrong_bytes(at, page_state(page));
  }
  __atomic_add_fetch(&total_wrong, wrong, __ATOMIC_SEQ_CST);
  return NULL;
}

static size_t check_all(int threads) {
  pthread_t thread[8];
  total_wrong = 0;
  for (long i = 0; i < threads; i++) {
    if (pthread_create(&thread[i], NULL, check_part, (void *)i) != 0) fail("pthread_create");
  }
  for (int i = 0; i < threads; i++) pthread_join(thread[i], NULL);
  return total_wrong;
}

static void make_memory(size_t length) {
  page_count = length / PAGE;
  memory = map(length);
  for (size_t page = 0; page < page_count; page++) {
    if (page_state(page) != 0) fill(memory + page * PAGE, page_state(page));
  }
}

static void report(size_t wrong, size_t more) {
  char text[100];
  snprintf(text, sizeof text, "wrong=%zu more=%zu\n", wrong, more);
  put("result", text);
}

static void memory_mode(void) {
  make_memory(64 * MIB);
  put("ready", "");
  wait_for_go();
  report(check_all(4), 0);
}

/* ---- tree */

/* Adds a line to DIRECTORY/why, for whoever reads what a test says of "wrong". */
static void tell(const char *what, const char *how, int number) {
  char path[512];
  snprintf(path, sizeof path, "%s/why", directory);
  FILE *file = fopen(path, "a");
  if (file == NULL) exit(4);
  fprintf(file, "%d: %s %s %d\n", getpid(), what, how, number);
  fclose(file);
}

/* Of a fork: 0 where all was right. */
static int status_of(pid_t child) {
  int status;
  if (child < 0) return tell("fork", "errno", errno), 1;
  if (waitpid(child, &status, 0) != child) return tell("waitpid", "errno", errno), 1;
  if (WIFSIGNALED(status)) return tell("child", "signal", WTERMSIG(status)), 1;
  if (WEXITSTATUS(status) != 0) tell("child", "status", WEXITSTATUS(status));
  return WEXITSTATUS(status);
}

static int check_with_late_child(void) {
  pid_t late = fork(); /* while pages are missing */
  if (late == 0) {
    _exit(check_all(1) == 0 ? 0 : 10);
  }
  return (check_all(2) == 0 ? 0 : 20) + (status_of(late) == 0 ? 0 : 1);
}

static int be_child(int depth, uint32_t number) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  salt = number;
  for (size_t page = 1; page < page_count; page += 3) {
    if (page_state(page) != 0) fill(memory + page * PAGE, page_state(page));
  }
  pid_t children[2];
  int count = depth == 0 ? 0 : 2;
  for (int i = 0; i < count; i++) {
    children[i] = fork();
    if (children[i] == 0) _exit(be_child(depth - 1, number * 2 + i));
  }
  char name[40];
  snprintf(name, sizeof name, "ready-%u", number);
  put(name, "");
  wait_for_go();
  int bad = check_with_late_child();
  for (int i = 0; i < count; i++) bad += status_of(children[i]); /* fewer than 20 late ones */
  return bad > 250 ? 250 : bad;
}

static void *idle_thread(void *argument) {
  wait_for_go();
  *(volatile char *)argument += 1;
  return NULL;
}

static void tree_mode(void) {
  pthread_t threads[6];
  static char touched[6];
  make_memory(8 * MIB);
  for (int i = 0; i < 6; i++) pthread_create(&threads[i], NULL, idle_thread, &touched[i]);
  int bad = be_child(2, 1); /* itself, 2 children and 4 grandchildren */
  size_t ended = 0;
  for (int i = 0; i < 6; i++) {
    pthread_join(threads[i], NULL);
    ended += touched[i];
  }
  report(bad, ended);
}

/* ---- churn */

#define SLOTS 16
#define SLOT_PAGES 256UL
#define SLOT_BYTES (SLOT_PAGES * PAGE)
#define CHURNERS 3
#define DEEDS_AFTER 3000

struct churner {
  char *slots[SLOTS];
  uint32_t state[SLOTS][SLOT_PAGES];
  char parts[SLOTS]; /* of more than one range of the kernel's, which cannot be moved at once */
  uint64_t seed;
  size_t wrong, deeds;
};

static struct churner *churners;

static void move_slot(struct churner *c, int slot, int flags) {
  if (c->parts[slot]) return;
  char *to = map(SLOT_BYTES);
  char *from = c->slots[slot];
  if (mremap(from, SLOT_BYTES, SLOT_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED | flags, to) != to) fail("mremap");
  c->slots[slot] = to;
  if (!(flags & MREMAP_DONTUNMAP)) return;
  for (int i = 0; i < 4; i++) { /* what is left behind is empty */
    c->wrong += wrong_bytes(from + next(&c->seed) % SLOT_PAGES * PAGE, 0);
  }
  munmap(from, SLOT_BYTES);
}

static void fork_and_check(struct churner *c) {
  pid_t child = fork();
  if (child == 0) {
    size_t wrong = 0;
    for (int i = 0; i < 100; i++) {
      int slot = next(&c->seed) % SLOTS;
      size_t page = next(&c->seed) % SLOT_PAGES;
      wrong += wrong_bytes(c->slots[slot] + page * PAGE, c->state[slot][page]);
    }
    _exit(wrong == 0 ? 0 : 1);
  }
  if (status_of(child) != 0) c->wrong++;
}

static void deed(struct churner *c) {
  int slot = next(&c->seed) % SLOTS;
  size_t page = next(&c->seed) % SLOT_PAGES, count = 1 + next(&c->seed) % 32;
  if (page + count > SLOT_PAGES) count = SLOT_PAGES - page;
  char *at = c->slots[slot] + page * PAGE;
  uint32_t *state = &c->state[slot][page];
  switch (next(&c->seed) % 64) {
  case 0 ... 3:
    move_slot(c, slot, 0);
    break;
  case 4:
    move_slot(c, slot, MREMAP_DONTUNMAP);
    break;
  case 5: /* unmapped, and mapped anew where it was */
    if (slot < SLOTS / 2) break;
    c->parts[slot] = 1;
    munmap(at, count * PAGE);
    if (mmap(at, count * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
             0) != at) {
      /* Another thread was faster: take new memory for all of it. */
      munmap(c->slots[slot], page * PAGE);
      munmap(at + count * PAGE, (SLOT_PAGES - page - count) * PAGE);
      c->slots[slot] = map(SLOT_BYTES);
      memset(c->state[slot], 0, sizeof c->state[slot]);
      break;
    }
    memset(state, 0, count * 4);
    break;
  case 6 ... 12:
    if (madvise(at, count * PAGE, MADV_DONTNEED) < 0) fail("madvise");
    memset(state, 0, count * 4);
    break;
  case 13:
    if (next(&c->seed) % 16 == 0) fork_and_check(c);
    break;
  case 14 ... 30:
    *state = (uint32_t)next(&c->seed) | 1;
    fill(at, *state);
    break;
  case 31 ... 40:
    c->wrong += wrong_bytes_by_pipe(at, *state);
    break;
  default:
    c->wrong += wrong_bytes(at, *state);
  }
  c->deeds++;
}

static void *churn(void *argument) {
  struct churner *c = argument;
  while (!told_to_go()) deed(c);
  for (int i = 0; i < DEEDS_AFTER; i++) deed(c);
  for (int slot = 0; slot < SLOTS; slot++) {
    for (size_t page = 0; page < SLOT_PAGES; page++) {
      c->wrong += wrong_bytes(c->slots[slot] + page * PAGE, c->state[slot][page]);
    }
  }
  return NULL;
}

static void churn_mode(void) {
  pthread_t threads[CHURNERS];
  churners = (struct churner *)map((sizeof *churners * CHURNERS + PAGE - 1) / PAGE * PAGE);
  for (int i = 0; i < CHURNERS; i++) {
    struct churner *c = &churners[i];
    c->seed = 88172645463325252u + i;
    for (int slot = 0; slot < SLOTS; slot++) {
      c->slots[slot] = map(SLOT_BYTES);
      for (size_t page = 0; page < SLOT_PAGES; page++) {
        c->state[slot][page] = (uint32_t)next(&c->seed) | 1;
        fill(c->slots[slot] + page * PAGE, c->state[slot][page]);
      }
    }
  }
  for (int i = 0; i < CHURNERS; i++) pthread_create(&threads[i], NULL, churn, &churners[i]);
  put("ready", "");
  size_t wrong = 0, deeds = 0;
  for (int i = 0; i < CHURNERS; i++) {
    pthread_join(threads[i], NULL);
    wrong += churners[i].wrong;
    deeds += churners[i].deeds;
  }
  report(wrong, deeds);
}

int main(int count, char **arguments) {
  if (count != 3) return 2;
  directory = arguments[2];
  setsid();
  if (strcmp(arguments[1], "memory") == 0) memory_mode();
  else if (strcmp(arguments[1], "tree") == 0) tree_mode();
  else if (strcmp(arguments[1], "churn") == 0) churn_mode();
  else return 2;
  return 0;
}
