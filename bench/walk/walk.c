/* Writes memory in known patterns at a known pace: what bench/patterns has the agent tell apart.

   usage: walk NAME SEED RATE together|threads PATTERN...   (scan, loop, stride, chase, random)

   RATE: pages a second of each pattern. `together`: one thread, bursts of 1 to 12 accesses of a pattern chosen at random;
   `threads`: a thread each. All memory but the scan's, which never comes
   back to a page, is touched first. Runs until it is killed. NAME: what the kernel is to call it. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

enum { PAGE = 4096, PATTERNS_MAX = 4, SLICE_MS = 20 };
static const size_t kScanPages = 1u << 24, kKeptPages = 4096, kOtherPages = 8192;

static uint64_t next_random(uint64_t* state) { /* splitmix64 */
  uint64_t z = (*state += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}
static uint64_t below(uint64_t* state, uint64_t bound) { return next_random(state) % bound; }

struct walk {
  char pattern;
  volatile unsigned char* memory;
  size_t room, pages; /* of the memory, and of those the pattern uses */
  size_t at, step;
  uint32_t* order;
  uint64_t random;
};

static int begin(struct walk* walk, const char* name, uint64_t seed) {
  walk->pattern = name[0] == 's' ? name[1] : name[0]; /* c scan, t stride, l loop, c(hase) below */
  if (strcmp(name, "chase") == 0) walk->pattern = 'h';
  walk->random = seed;
  walk->room = walk->pattern == 'c' ? kScanPages : kOtherPages;
  walk->memory =
      mmap(0, walk->room * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (walk->memory == MAP_FAILED) return -1;
  madvise((void*)walk->memory, walk->room * PAGE, MADV_NOHUGEPAGE);
  if (walk->pattern == 'c') {
    for (; walk->at < kKeptPages; ++walk->at) walk->memory[walk->at * PAGE] = 1;
    return 0;
  }
  for (size_t i = 0; i < walk->room; ++i) walk->memory[i * PAGE] = 1;
  const size_t size = 512 + below(&walk->random, 1536);
  walk->pages = walk->pattern == 't' ? walk->room : size;
  if (walk->pattern == 'r') walk->pages = 2 * size;
  walk->step = 2 + below(&walk->random, 30);
  walk->order = malloc(walk->pages * sizeof *walk->order);
  if (walk->order == NULL) return -1;
  for (size_t i = 0; i < walk->pages; ++i) walk->order[i] = (uint32_t)i;
  for (size_t i = walk->pages - 1; i > 0; --i) {
    const size_t other = below(&walk->random, i + 1);
    const uint32_t kept = walk->order[i];
    walk->order[i] = walk->order[other];
    walk->order[other] = kept;
  }
  walk->at = below(&walk->random, walk->pages);
  return 0;
}

static void go_on(struct walk* walk) {
  size_t page = 0;
  ++walk->at;
  switch (walk->pattern) {
    case 'c': /* scan: what lies 16 MiB behind is given back */
      page = walk->at % walk->room;
      if (page % kKeptPages == 0 && page >= 2 * kKeptPages)
        madvise((void*)(walk->memory + (page - 2 * kKeptPages) * PAGE), kKeptPages * PAGE, MADV_DONTNEED);
      break;
    case 'l':
      page = walk->at % walk->pages;
      break;
    case 't':
      page = walk->at * walk->step % walk->pages;
      break;
    case 'h':
      page = walk->order[walk->at % walk->pages];
      break;
    default:
      page = below(&walk->random, walk->pages);
  }
  walk->memory[page * PAGE + walk->at % PAGE] += 1;
}

struct work {
  struct walk walks[PATTERNS_MAX];
  size_t count;
  double rate;
  uint64_t random;
};

static void* run(void* argument) {
  struct work* work = argument;
  struct timespec begun;
  clock_gettime(CLOCK_MONOTONIC, &begun);
  for (double done = 0;;) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const double seconds = (double)(now.tv_sec - begun.tv_sec) + (double)(now.tv_nsec - begun.tv_nsec) / 1e9;
    const double due = seconds * work->rate * (double)work->count;
    if (due - done > work->rate) done = due - work->rate; /* was held up: what was missed is not made up for */
    while (done < due) {
      struct walk* walk = &work->walks[below(&work->random, work->count)];
      for (uint64_t burst = 1 + below(&work->random, 12); burst > 0; --burst, ++done) go_on(walk);
    }
    const struct timespec pause = {0, SLICE_MS * 1000000l};
    nanosleep(&pause, NULL);
  }
  return NULL;
}

int main(int argc, char** argv) {
  static struct work works[PATTERNS_MAX];
  if (argc < 6 || argc > 5 + PATTERNS_MAX) return 2;
  prctl(PR_SET_NAME, argv[1]);
  const int is_threads = strcmp(argv[4], "threads") == 0;
  const size_t count = (size_t)argc - 5;
  for (size_t i = 0; i < count; ++i) {
    struct work* work = &works[is_threads ? i : 0];
    work->rate = atof(argv[3]);
    work->random = strtoull(argv[2], NULL, 10);
    if (begin(&work->walks[work->count++], argv[5 + i], work->random + 1 + i) != 0) return 1;
  }
  for (size_t i = 1; is_threads && i < count; ++i) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, &works[i]) != 0) return 1;
  }
  run(&works[0]);
  return 0;
}
