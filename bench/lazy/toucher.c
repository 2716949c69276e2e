/*
 * A process whose memory is to arrive on demand, for bench:lazy.
 *
 *   toucher criu DIRECTORY MIB THREADS   for CRIU: fills memory, makes DIRECTORY/ready, waits for DIRECTORY/go,
 *                                        reads all of it at random, writes DIRECTORY/result
 *   toucher vmm SOCKET MIB THREADS [HOW] as Firecracker does: hands over missing memory, prints "ready", and at a
 *                                        line on standard input reads all of it at random, and prints the result
 *
 *   HOW  balloon  beside it a thread removes pages of a quarter more memory without an end, and reads every fourth
 *        at-once  it reads at once, waiting for no line, and begins before it hands over
 *        both     both
 *
 * The result is "BEGIN END WRONG P50 P99 TOUCHES REMOVALS P50": nanoseconds since 1970, pages that held something
 * else, nanoseconds of a touch, touches, removals, nanoseconds of one. Each thread has pages of its own.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL
#define MOST_THREADS 64
#define MOST_REMOVALS 65536

static char *memory;
static size_t pages, threads;
static size_t spare; /* pages behind those, which the balloon has */
static int at_once;
static uint32_t *latencies;
static uint32_t removal_times[MOST_REMOVALS];
static size_t removals, wrong;
static int over;

static void fail(const char *what) {
  perror(what);
  exit(3);
}

static uint64_t now(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return (uint64_t)time.tv_sec * 1000000000u + time.tv_nsec;
}

static uint32_t word(size_t page) { return (uint32_t)(page + 1) * 2654435761u; }

static void *touch(void *argument) {
  size_t thread = (size_t)argument, count = pages / threads, found = 0;
  for (size_t i = 0; i < count; i++) {
    /* 7919 is a prime: all pages, none twice. */
    size_t page = thread * count + i * 7919 % count;
    uint64_t before = now(CLOCK_MONOTONIC);
    uint32_t value = *(volatile uint32_t *)(memory + page * PAGE);
    latencies[thread * count + i] = now(CLOCK_MONOTONIC) - before;
    found += value != word(page);
  }
  __atomic_add_fetch(&wrong, found, __ATOMIC_SEQ_CST);
  return NULL;
}

/* Inflates and deflates without an end. */
static void *balloon(void *argument) {
  uint64_t random = 88172645463325252u;
  do {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    size_t count = 1 + random % 8;
    char *first = memory + (pages + (random >> 8) % (spare - count + 1)) * PAGE;
    uint64_t before = now(CLOCK_MONOTONIC);
    if (madvise(first, count * PAGE, MADV_DONTNEED) < 0) fail("madvise");
    removal_times[removals++ % MOST_REMOVALS] = now(CLOCK_MONOTONIC) - before;
    if (removals % 4 == 0 && *(volatile uint32_t *)first != 0) __atomic_add_fetch(&wrong, 1, __ATOMIC_SEQ_CST);
  } while (!__atomic_load_n(&over, __ATOMIC_RELAXED));
  return argument;
}

static int by_size(const void *one, const void *other) {
  uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
  return a < b ? -1 : a > b;
}

static void touch_all(char *text, uint64_t begin) {
  pthread_t thread[MOST_THREADS], inflating;
  if (spare > 0) pthread_create(&inflating, NULL, balloon, NULL);
  for (size_t i = 0; i < threads; i++) pthread_create(&thread[i], NULL, touch, (void *)i);
  for (size_t i = 0; i < threads; i++) pthread_join(thread[i], NULL);
  uint64_t end = now(CLOCK_REALTIME);
  __atomic_store_n(&over, 1, __ATOMIC_RELAXED);
  if (spare > 0) pthread_join(inflating, NULL);
  size_t count = pages / threads * threads, removed = removals < MOST_REMOVALS ? removals : MOST_REMOVALS;
  qsort(latencies, count, sizeof *latencies, by_size);
  qsort(removal_times, removed, sizeof *removal_times, by_size);
  sprintf(text, "%lu %lu %zu %u %u %zu %zu %u", begin, end, wrong, latencies[count / 2], latencies[count * 99 / 100],
    count, removals, removal_times[removed / 2]);
}

static void for_criu(const char *directory) {
  char path[512], partial[520], text[200];
  setsid();
  for (size_t page = 0; page < pages; page++) {
    for (size_t i = 0; i < PAGE / 4; i++) ((uint32_t *)(memory + page * PAGE))[i] = word(page);
  }
  snprintf(path, sizeof path, "%s/ready", directory);
  close(open(path, O_CREAT | O_WRONLY, 0600));
  snprintf(path, sizeof path, "%s/go", directory);
  while (access(path, F_OK) != 0) usleep(1000);
  touch_all(text, now(CLOCK_REALTIME));
  snprintf(path, sizeof path, "%s/result", directory);
  snprintf(partial, sizeof partial, "%s.part", path);
  FILE *file = fopen(partial, "w");
  fputs(text, file);
  fclose(file);
  rename(partial, path);
}

static void for_vmm(const char *path) {
  uint64_t begin = now(CLOCK_REALTIME);
  int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
  struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_EVENT_REMOVE};
  struct uffdio_register range = {.range = {(uint64_t)memory, (pages + spare) * PAGE}, .mode = UFFDIO_REGISTER_MODE_MISSING};
  if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0 || ioctl(fd, UFFDIO_REGISTER, &range) < 0) fail("userfaultfd");
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  int connection = socket(AF_UNIX, SOCK_STREAM, 0);
  if (connect(connection, (struct sockaddr *)&address, sizeof address) < 0) fail("connect");
  char text[300], control[CMSG_SPACE(sizeof fd)] = {0};
  int length = snprintf(text, sizeof text, "[{\"base_host_virt_addr\":%lu,\"size\":%lu,\"offset\":0,\"page_size\":4096,\"page_size_kib\":4096}]", (uint64_t)memory, (pages + spare) * PAGE);
  struct iovec vector = {text, length};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  memcpy(CMSG_DATA(header), &fd, sizeof fd);
  if (sendmsg(connection, &message, 0) != length) fail("sendmsg");
  /* Served from here on: the first touch has waited for whoever serves to begin. */
  if (*(volatile uint32_t *)memory != word(0)) fail("first page");
  if (!at_once) {
    puts("ready");
    fflush(stdout);
    if (fgets(text, sizeof text, stdin) == NULL) exit(0);
    begin = now(CLOCK_REALTIME);
  }
  touch_all(text, begin);
  puts(text);
  fflush(stdout);
}

int main(int count, char **arguments) {
  if (count != 5 && count != 6) return 2;
  const char *how = count == 6 ? arguments[5] : "";
  int both = strcmp(how, "both") == 0;
  pages = strtoul(arguments[3], NULL, 10) * 256;
  threads = strtoul(arguments[4], NULL, 10);
  if (both || strcmp(how, "balloon") == 0) spare = pages / 4;
  at_once = both || strcmp(how, "at-once") == 0;
  memory = mmap(NULL, (pages + spare) * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) fail("mmap");
  madvise(memory, (pages + spare) * PAGE, MADV_NOHUGEPAGE);
  latencies = calloc(pages, sizeof *latencies);
  memset(latencies, 1, pages * sizeof *latencies);
  if (strcmp(arguments[1], "criu") == 0) for_criu(arguments[2]);
  else for_vmm(arguments[2]);
  return 0;
}
