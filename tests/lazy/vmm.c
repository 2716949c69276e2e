/*
 * A VMM of the tests: maps regions, hands its userfaultfd over as Firecracker does, and then does with the
 * memory what it is told on standard input, a line each. It knows what every page must hold, and counts bytes
 * that are something else.
 *
 *   vmm SOCKET VERSION PIECES END REGION...
 *     VERSION  of the message: 1.1, 1.7, 1.12, dev or nydus
 *     PIECES   in which it is sent: the bytes of each, 0 for all at once
 *     END      what becomes of the connection: keep or close; or track: keep, and memory registered for asynchronous
 *              write protection too
 *     REGION   LENGTH:OFFSET:PAGESIZE
 */
#include "handing.h"
#include <setjmp.h>
#include <time.h>

#define MOST_REGIONS 512

struct region {
  char *at;
  size_t length, offset, page_size;
};
static struct region regions[MOST_REGIONS];
static int region_count;

/* What a page holds: 0 what the image does, 1 zeros, else words made of this number. */
static uint32_t *model;
static pthread_rwlock_t *locks;
static size_t page_count; /* of the memory, by offset */
static int uffd, connection;

static uint32_t image_word(size_t offset) {
  if (offset / PAGE % 7 == 3) return 0; /* some pages of the image are zero */
  return (uint32_t)(offset / 4) * 2654435761u ^ 0x5bd1e995u;
}

static uint32_t expected_word(uint32_t state, size_t offset) {
  if (state == 0) return image_word(offset);
  if (state == 1) return 0;
  return (uint32_t)(offset / 4) * 2246822519u ^ state;
}

static char *address_of(size_t offset) {
  for (int i = 0; i < region_count; i++) {
    struct region *r = &regions[i];
    if (offset >= r->offset && offset < r->offset + r->length) return r->at + (offset - r->offset);
  }
  fprintf(stderr, "no region has offset %zu\n", offset);
  exit(3);
}

static size_t wrong_bytes(const char *bytes, uint32_t state, size_t offset) {
  size_t wrong = 0;
  for (size_t at = 0; at < PAGE; at += 4) {
    uint32_t word = expected_word(state, offset + at);
    uint32_t found = *(volatile uint32_t *)(bytes + at);
    for (int i = 0; i < 4; i++) wrong += (word >> 8 * i & 255) != (found >> 8 * i & 255);
  }
  return wrong;
}

/* Without the model: what one page shows. */
static const char *content(size_t offset) {
  char *at = address_of(offset);
  if (wrong_bytes(at, 1, offset) == 0) return image_word(offset) == 0 ? "both" : "zeros";
  return wrong_bytes(at, 0, offset) == 0 ? "image" : "neither";
}

struct order {
  char what[16];
  size_t offset, length;
};

static __thread sigjmp_buf *on_bus;
static void bus(int signal) {
  if (on_bus == NULL) _exit(7);
  siglongjmp(*on_bus, signal);
}

static void *obey(void *argument) {
  struct order *order = argument;
  sigjmp_buf jump;
  on_bus = &jump;
  if (strcmp(order->what, "touch") == 0) {
    if (sigsetjmp(jump, 1) != 0) say("bus %zu", order->offset);
    else say("touched %zu %s", order->offset, content(order->offset));
  } else {
    if (madvise(address_of(order->offset), order->length, MADV_DONTNEED) < 0) fail("madvise");
    for (size_t page = 0; page < order->length / PAGE; page++) {
      model[order->offset / PAGE + page] = 1;
    }
    say("removed %zu", order->offset);
  }
  free(order);
  return NULL;
}

/*
 * What a signal has done, which a test sends from within a step of the server: SIGUSR1 removes, SIGUSR2 touches.
 */
static struct order armed;

static void *armed_thread(void *signals) {
  for (;;) {
    int number;
    pthread_t thread;
    sigwait(signals, &number);
    struct order *order = malloc(sizeof *order);
    *order = armed;
    strcpy(order->what, number == SIGUSR1 ? "remove" : "touch");
    pthread_create(&thread, NULL, obey, order);
    pthread_detach(thread);
  }
}

static void take_signals(void) {
  static sigset_t signals;
  pthread_t thread;
  sigemptyset(&signals);
  sigaddset(&signals, SIGUSR1);
  sigaddset(&signals, SIGUSR2);
  pthread_sigmask(SIG_BLOCK, &signals, NULL);
  pthread_create(&thread, NULL, armed_thread, &signals);
}

/* A run of random deeds. */
struct runner {
  pthread_t thread;
  uint64_t random;
  long deeds;
  size_t wrong;
};
static volatile int running, stopping;
static volatile long removals;
#define MOST_TIMES 65536
static uint32_t times[MOST_TIMES]; /* of removals, in microseconds */

static uint64_t microseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000ull + now.tv_nsec / 1000;
}

static int compare_times(const void *one, const void *other) {
  uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
  return a < b ? -1 : a > b;
}

static uint64_t next_random(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

static size_t random_page(uint64_t *state) {
  struct region *r = &regions[next_random(state) % region_count];
  return (r->offset + next_random(state) % (r->length / PAGE) * PAGE) / PAGE;
}

static void *run(void *argument) {
  struct runner *runner = argument;
  int pipes[2];
  static __thread char copy[PAGE];
  if (pipe(pipes) < 0) fail("pipe");
  for (long deed = 0; deed < runner->deeds && !stopping; deed++) {
    size_t page = random_page(&runner->random);
    char *at = address_of(page * PAGE);
    switch (next_random(&runner->random) % 4) {
      case 0: /* write all of it */
        pthread_rwlock_wrlock(&locks[page]);
        model[page] = 2 + next_random(&runner->random) % 1000000;
        for (size_t i = 0; i < PAGE; i += 4) {
          *(volatile uint32_t *)(at + i) = expected_word(model[page], page * PAGE + i);
        }
        pthread_rwlock_unlock(&locks[page]);
        break;
      case 1: /* the kernel reads it */
        pthread_rwlock_rdlock(&locks[page]);
        if (write(pipes[1], at, PAGE) != PAGE) fail("write of a page");
        if (read(pipes[0], copy, PAGE) != PAGE) fail("read of a page");
        runner->wrong += wrong_bytes(copy, model[page], page * PAGE);
        pthread_rwlock_unlock(&locks[page]);
        break;
      default:
        pthread_rwlock_rdlock(&locks[page]);
        runner->wrong += wrong_bytes(at, model[page], page * PAGE);
        pthread_rwlock_unlock(&locks[page]);
    }
  }
  close(pipes[0]);
  close(pipes[1]);
  return NULL;
}

/* Inflates without an end, by ranges of the region's pages. */
static void *balloon(void *argument) {
  uint64_t random = 88172645463325252u;
  while (running) {
    struct region *r = &regions[next_random(&random) % region_count];
    size_t pages = r->page_size / PAGE * (1 + next_random(&random) % 8);
    if (pages * PAGE > r->length) continue;
    size_t from = next_random(&random) % (r->length - pages * PAGE + 1) / r->page_size * r->page_size;
    size_t first = (r->offset + from) / PAGE;
    for (size_t page = first; page < first + pages; page++) pthread_rwlock_wrlock(&locks[page]);
    uint64_t before = microseconds();
    if (madvise(r->at + from, pages * PAGE, MADV_DONTNEED) < 0) fail("madvise");
    uint64_t took = microseconds() - before;
    for (size_t page = first; page < first + pages; page++) model[page] = 1;
    for (size_t page = first; page < first + pages; page++) pthread_rwlock_unlock(&locks[page]);
    times[__sync_fetch_and_add(&removals, 1) % MOST_TIMES] = took;
  }
  return argument;
}

static void run_all(uint64_t seed, int threads, long deeds, int balloons) {
  struct runner *runners = calloc(threads, sizeof *runners);
  pthread_t inflating[8];
  size_t wrong = 0;
  running = 1;
  removals = 0;
  for (int i = 0; i < balloons; i++) pthread_create(&inflating[i], NULL, balloon, NULL);
  for (int i = 0; i < threads; i++) {
    runners[i].random = (seed + i) * 6364136223846793005u + 1442695040888963407u;
    runners[i].deeds = deeds;
    pthread_create(&runners[i].thread, NULL, run, &runners[i]);
  }
  for (int i = 0; i < threads; i++) {
    pthread_join(runners[i].thread, NULL);
    wrong += runners[i].wrong;
  }
  running = 0;
  for (int i = 0; i < balloons; i++) pthread_join(inflating[i], NULL);
  free(runners);
  size_t count = removals < MOST_TIMES ? removals : MOST_TIMES;
  qsort(times, count, sizeof *times, compare_times);
  say("ran wrong=%zu removals=%ld median=%u us", wrong, removals, times[count / 2]);
}

static void *run_order(void *argument) {
  unsigned long long seed;
  int threads, balloons;
  long deeds;
  sscanf(argument, "run %llu %d %ld %d", &seed, &threads, &deeds, &balloons);
  run_all(seed, threads, deeds, balloons);
  free(argument);
  return NULL;
}

static void check_all(void) {
  size_t wrong = 0;
  for (int i = 0; i < region_count; i++) {
    for (size_t at = 0; at < regions[i].length; at += PAGE) {
      size_t offset = regions[i].offset + at;
      wrong += wrong_bytes(regions[i].at + at, model[offset / PAGE], offset);
    }
  }
  say("checked wrong=%zu", wrong);
}

/* A character a page, by offset: 0 where it was never changed. */
static void say_changed(void) {
  char *text = malloc(page_count + 1);
  for (size_t page = 0; page < page_count; page++) text[page] = model[page] == 0 ? '0' : '1';
  text[page_count] = 0;
  say("changed %s", text);
  free(text);
}

static void map_regions(int count, char **texts) {
  for (; region_count < count; region_count++) {
    struct region *r = &regions[region_count];
    if (sscanf(texts[region_count], "%zu:%zu:%zu", &r->length, &r->offset, &r->page_size) != 3) exit(2);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    if (r->page_size != PAGE) flags |= MAP_HUGETLB | 21 << 26;
    /* With a gap behind each, so that none adjoins the next. */
    r->at = mmap(NULL, r->length, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (r->at == MAP_FAILED) fail("mmap");
    mmap(NULL, 4 * 1024 * 1024, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (r->page_size == PAGE) madvise(r->at, r->length, MADV_NOHUGEPAGE);
    size_t end = (r->offset + r->length) / PAGE;
    if (end > page_count) page_count = end;
  }
  model = calloc(page_count, sizeof *model);
  locks = calloc(page_count, sizeof *locks);
  for (size_t page = 0; page < page_count; page++) pthread_rwlock_init(&locks[page], NULL);
}

/* Newer than some headers. */
#define FEATURE_WP_ASYNC (1 << 15)

static void open_userfaultfd(int track) {
  uffd = new_userfaultfd(UFFD_FEATURE_EVENT_REMOVE | (track ? FEATURE_WP_ASYNC : 0));
  uint64_t mode = UFFDIO_REGISTER_MODE_MISSING | (track ? UFFDIO_REGISTER_MODE_WP : 0);
  for (int i = 0; i < region_count; i++) register_range(uffd, regions[i].at, regions[i].length, mode);
}

static char *message_of(const char *version) {
  char *text = malloc(MOST_REGIONS * 256);
  size_t end = 0;
  if (strcmp(version, "nydus") == 0) end += sprintf(text + end, "{\"type\": 0, \"regions\": ");
  text[end++] = '[';
  for (int i = 0; i < region_count; i++) {
    struct region *r = &regions[i];
    end += sprintf(text + end, "%s{\"base_host_virt_addr\":%llu,\"size\":%zu,\"offset\":%zu", i ? "," : "",
      (unsigned long long)(uintptr_t)r->at, r->length, r->offset);
    if (strcmp(version, "1.7") == 0 || strcmp(version, "1.12") == 0) {
      end += sprintf(text + end, ",\"page_size_kib\":%zu", r->page_size); /* bytes, whatever it says */
    }
    if (strcmp(version, "1.1") != 0 && strcmp(version, "1.7") != 0) {
      end += sprintf(text + end, ",\"page_size\":%zu", r->page_size);
    }
    if (strcmp(version, "dev") == 0) end += sprintf(text + end, ",\"gpa_start\":0,\"is_guest_memfd\":false");
    text[end++] = '}';
  }
  text[end++] = ']';
  if (strcmp(version, "nydus") == 0) end += sprintf(text + end, ", \"policy\": 1, \"s\": \"}]\\\"{\"}");
  text[end] = 0;
  return text;
}

static void hand_over(const char *path, const char *version, size_t piece) {
  connection = connect_to(path);
  char *text = message_of(version);
  size_t length = strlen(text);
  if (piece == 0) piece = length;
  for (size_t sent = 0; sent < length;) {
    size_t rest = length - sent;
    sent += send_with(connection, text + sent, rest < piece ? rest : piece, sent == 0 ? uffd : -1);
  }
  free(text);
}

int main(int count, char **words) {
  if (count < 6) return 2;
  signal(SIGBUS, bus);
  take_signals();
  map_regions(count - 5, words + 5);
  open_userfaultfd(strcmp(words[4], "track") == 0);
  hand_over(words[1], words[2], atol(words[3]));
  if (strcmp(words[4], "close") == 0) close(connection);
  say("ready");
  char line[256];
  while (fgets(line, sizeof line, stdin) != NULL) {
    struct order *order = calloc(1, sizeof *order);
    pthread_t thread;
    if (sscanf(line, "%15s %zu %zu", order->what, &order->offset, &order->length) < 1) return 2;
    if (strcmp(order->what, "touch") == 0 || strcmp(order->what, "remove") == 0) {
      pthread_create(&thread, NULL, obey, order);
      pthread_detach(thread);
      continue;
    }
    if (strcmp(order->what, "run") == 0) {
      stopping = 0;
      pthread_create(&thread, NULL, run_order, strdup(line));
      pthread_detach(thread);
    } else if (strcmp(order->what, "stop") == 0) {
      stopping = 1;
    } else if (strcmp(order->what, "arm") == 0) {
      armed = *order;
      say("armed");
    } else if (strcmp(order->what, "check") == 0) {
      check_all();
    } else if (strcmp(order->what, "changed") == 0) {
      say_changed();
    } else if (strcmp(order->what, "fork") == 0) {
      pid_t child = fork();
      if (child == 0) for (;;) pause();
      say("forked %d", child);
    }
    free(order);
  }
  _exit(0);
}
