/* /init of the guest that bench/migrate moves: visits a working set in a known pattern for ever, checks what it finds, and
   tells twice a second how it fares.

   Kernel command line: pat=sequential|strided|scattered|chase|shifting|read_mostly ws=MIB cold=MIB think=N fill=noise|text
   write=count|page

   Each page begins with its number, how often it was written, and the sum of both with a salt: a page that is lost or stale
   is found at the next visit. `write=count` changes those 24 bytes and 8 more; `write=page` changes all of the page. What is
   not in the working set is cold: filled, never visited again. A request is 16 visits; a line on the console is

     T <seconds> <requests> <bad pages> <requests by the binary logarithm of their microseconds, 24 of them> */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, CLASSES = 24, VISITS = 16 };
enum pattern { SEQUENTIAL, STRIDED, SCATTERED, CHASE, SHIFTING, READ_MOSTLY, PATTERNS };
static const char* const kNames[PATTERNS] = {"sequential", "strided", "scattered", "chase", "shifting", "read_mostly"};
static const uint64_t kSalt = 0x9e3779b97f4a7c15ull;

struct head {
  uint64_t number, writes, sum;
  uint64_t next; /* of chase: the page to visit next */
};

static uint64_t seed = 88172645463325252ull;
static uint64_t noise(void) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  return seed ^= seed << 17;
}
static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
static const char* option(const char* line, const char* name, const char* otherwise) {
  static char values[8][64];
  static int used;
  const char* at = line;
  const size_t length = strlen(name);
  while ((at = strstr(at, name)) != NULL) {
    if ((at == line || at[-1] == ' ') && at[length] == '=') {
      char* value = values[used++ % 8];
      sscanf(at + length + 1, "%63s", value);
      return value;
    }
    at += length;
  }
  return otherwise;
}

static char* memory;
static size_t pages, set_pages, *order;
static uint64_t bad;
static int writes_all;

static struct head* page_at(size_t page) { return (struct head*)(memory + page * PAGE); }
static void check(const struct head* head, size_t page) {
  if (head->number != page || head->sum != (head->number ^ (head->writes * kSalt))) ++bad;
}
static void write_page(struct head* head) {
  ++head->writes;
  head->sum = head->number ^ (head->writes * kSalt);
  uint64_t* const words = (uint64_t*)head;
  if (!writes_all) {
    words[4 + head->writes % 4] = head->writes;
    return;
  }
  for (size_t i = 4; i < PAGE / 8; ++i) words[i] = noise();
}

/* Text: any part of a megabyte of words that was made once. */
static void fill(int is_text) {
  static const char* const kWords[] = {"user=", "GET /index", "session", " 200 OK ", "{\"id\":", "null,", "0.0.0.0 ", "the "};
  static char text[(1 << 20) + PAGE];
  for (size_t i = 0; is_text && i + 32 < sizeof text;)
    i += (size_t)snprintf(text + i, 32, "%s%u", kWords[noise() % 8], (unsigned)(noise() % 1000));
  for (size_t page = 0; page < pages; ++page) {
    uint64_t* const words = (uint64_t*)(memory + page * PAGE);
    if (is_text)
      memcpy(words, text + noise() % (1 << 20), PAGE);
    else
      for (size_t i = 0; i < PAGE / 8; ++i) words[i] = noise();
    *page_at(page) = (struct head){.number = page, .sum = page};
  }
}

/* Scattered: clusters of `cluster` neighbours, in an order that is random once and stays. */
static void make_order(enum pattern pattern) {
  order = malloc(pages * sizeof *order);
  const size_t cluster = pattern == CHASE ? 1 : 4;
  if (pattern == SEQUENTIAL || pattern == STRIDED) {
    for (size_t i = 0; i < set_pages; ++i) order[i] = pattern == SEQUENTIAL ? i : i * 5 % pages;
    return;
  }
  const size_t clusters = pages / cluster;
  size_t* const all = malloc(clusters * sizeof *all);
  for (size_t i = 0; i < clusters; ++i) all[i] = i;
  for (size_t i = clusters - 1; i > 0; --i) {
    const size_t j = noise() % (i + 1), kept = all[i];
    all[i] = all[j];
    all[j] = kept;
  }
  for (size_t i = 0; i < clusters * cluster; ++i) order[i] = all[i / cluster] * cluster + i % cluster;
  for (size_t i = 0; i < set_pages; ++i) page_at(order[i])->next = order[(i + 1) % set_pages];
  free(all);
}

static void mount_all(void) {
  mount("proc", "/proc", "proc", 0, NULL);
  mount("dev", "/dev", "devtmpfs", 0, NULL);
  const int console = open("/dev/console", O_RDWR);
  if (console >= 0)
    for (int i = 0; i < 3; ++i) dup2(console, i);
}

int main(void) {
  mount_all();
  char line[2048] = "";
  const int file = open("/proc/cmdline", O_RDONLY);
  if (file < 0 || read(file, line, sizeof line - 1) < 0) return 1;
  const char* const name = option(line, "pat", "scattered");
  enum pattern pattern = SCATTERED;
  for (int i = 0; i < PATTERNS; ++i)
    if (strcmp(name, kNames[i]) == 0) pattern = (enum pattern)i;
  const size_t mib = 1 << 20;
  set_pages = strtoul(option(line, "ws", "24"), NULL, 10) * mib / PAGE;
  pages = set_pages + strtoul(option(line, "cold", "100"), NULL, 10) * mib / PAGE;
  const unsigned long think = strtoul(option(line, "think", "2000"), NULL, 10);
  writes_all = strcmp(option(line, "write", "count"), "page") == 0;
  memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    printf("FAILED: no memory\n");
    return 1;
  }
  fill(strcmp(option(line, "fill", "noise"), "text") == 0);
  make_order(pattern);
  printf("READY %zu pages, %zu in the set\n", pages, set_pages);
  fflush(stdout);

  uint64_t visits = 0, requests = 0, of_class[CLASSES] = {0};
  size_t at = 0, chased = order[0], first = 0;
  const double began = now();
  double told = began, request_began = began;
  for (;;) {
    const size_t page = pattern == CHASE ? chased : order[(first + at) % pages];
    struct head* const head = page_at(page);
    check(head, page);
    chased = head->next;
    if (pattern != READ_MOSTLY || noise() % 32 == 0) write_page(head);
    for (volatile unsigned long i = 0; i < think; ++i) {
    }
    if (++at == set_pages) {
      at = 0;
      if (pattern == SHIFTING) first = (first + set_pages / 64) % (pages - set_pages); /* 1.6 % a pass */
    }
    if (++visits % VISITS != 0) continue;
    const double t = now();
    const double us = (t - request_began) * 1e6;
    int class = 0;
    while (class + 1 < CLASSES && us >= (double)(2ul << class)) ++class;
    ++of_class[class];
    ++requests;
    request_began = t;
    if (t - told < 0.5) continue;
    told = t;
    printf("T %.3f %llu %llu", t - began, (unsigned long long)requests, (unsigned long long)bad);
    for (int i = 0; i < CLASSES; ++i) printf(" %llu", (unsigned long long)of_class[i]);
    printf("\n");
    fflush(stdout);
    memset(of_class, 0, sizeof of_class);
    request_began = now();
  }
}
