/* /workload of the guest that bench/migrate's pattern redis moves: a redis-server with a load on it, in one guest.

   Arguments: the MiB of values that are asked for all the time, the MiB of the others.

   Values of 1000 bytes that do not pack. Of 20 requests 19 go to the first ones, scattered over redis's memory as its allocator
   put them; every fifth writes. Each value holds its number, how often it was written and their sum: an answer that is stale or
   not a value counts as bad. One request at a time; lines as migrate_guest.c prints them. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { VALUE = 1000, CLASSES = 24, AT_ONCE = 64 };
struct value {
  uint64_t number, writes, sum;
  char noise[VALUE - 24];
};
static const uint64_t kSalt = 0x9e3779b97f4a7c15ull;
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

static int server;
static char in[1 << 16];
static size_t in_begin, in_end;

static void give_up(const char* why) {
  printf("FAILED: %s\n", why);
  fflush(stdout);
  for (;;) sleep(1);
}
static void put(const char* bytes, size_t count) {
  while (count > 0) {
    const ssize_t done = write(server, bytes, count);
    if (done <= 0) give_up("redis takes no requests");
    bytes += done;
    count -= (size_t)done;
  }
}
static void take(char* bytes, size_t count) {
  while (count > 0) {
    if (in_begin == in_end) {
      const ssize_t got = read(server, in, sizeof in);
      if (got <= 0) give_up("redis does not answer");
      in_begin = 0;
      in_end = (size_t)got;
    }
    const size_t some = count < in_end - in_begin ? count : in_end - in_begin;
    memcpy(bytes, in + in_begin, some);
    in_begin += some;
    bytes += some;
    count -= some;
  }
}
static void take_line(char* line, size_t size) {
  size_t used = 0;
  for (char c = 0; c != '\n'; line[used] = 0) {
    take(&c, 1);
    if (used + 1 < size) line[used++] = c;
  }
}

static void start_redis(void) {
  if (fork() == 0) {
    char* const arguments[] = {"/usr/bin/redis-server", "--save", "", "--appendonly", "no", "--bind", "127.0.0.1",
                               "--loglevel", "warning", "--daemonize", "no", NULL};
    execv(arguments[0], arguments);
    _exit(1);
  }
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(6379)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (int i = 0; i < 600; ++i) {
    server = socket(AF_INET, SOCK_STREAM, 0);
    const int one = 1;
    setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(server, (struct sockaddr*)&address, sizeof address) == 0) return;
    close(server);
    usleep(100000);
  }
  give_up("redis cannot be reached");
}

static void ask_set(const struct value* value) {
  static char request[VALUE + 128];
  char key[32];
  const int length = snprintf(key, sizeof key, "key:%llu", (unsigned long long)value->number);
  int used = snprintf(request, sizeof request, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n", length, key, VALUE);
  memcpy(request + used, value, VALUE);
  used += VALUE;
  memcpy(request + used, "\r\n", 2);
  put(request, (size_t)used + 2);
}
static int is_set(void) {
  char line[64];
  take_line(line, sizeof line);
  return strncmp(line, "+OK", 3) == 0;
}
static int get(uint64_t number, struct value* value) {
  char request[128], key[32], line[64];
  const int length = snprintf(key, sizeof key, "key:%llu", (unsigned long long)number);
  put(request, (size_t)snprintf(request, sizeof request, "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", length, key));
  take_line(line, sizeof line);
  if (strncmp(line, "$1000", 5) != 0) return 0;
  take((char*)value, VALUE);
  take_line(line, sizeof line);
  return 1;
}

static struct value made(uint64_t number, uint64_t writes) {
  struct value value = {.number = number, .writes = writes, .sum = number ^ (writes * kSalt)};
  for (size_t i = 0; i + 8 <= sizeof value.noise; i += 8) {
    const uint64_t word = noise();
    memcpy(value.noise + i, &word, 8);
  }
  return value;
}

int main(int argc, char** argv) {
  const uint64_t hot = strtoull(argc > 1 ? argv[1] : "24", NULL, 10) * (1 << 20) / VALUE;
  const uint64_t all = hot + strtoull(argc > 2 ? argv[2] : "100", NULL, 10) * (1 << 20) / VALUE;
  uint32_t* const writes = calloc(all, sizeof *writes);
  start_redis();
  /* Hot ones among the others, so that they lie scattered. */
  uint64_t* const order = malloc(all * sizeof *order);
  for (uint64_t i = 0; i < all; ++i) order[i] = i;
  for (uint64_t i = all - 1; i > 0; --i) {
    const uint64_t j = noise() % (i + 1), kept = order[i];
    order[i] = order[j];
    order[j] = kept;
  }
  for (uint64_t i = 0; i < all; i += AT_ONCE) {
    uint64_t count = 0;
    for (; count < AT_ONCE && i + count < all; ++count) {
      const struct value value = made(order[i + count], 0);
      ask_set(&value);
    }
    while (count-- > 0)
      if (!is_set()) give_up("redis refuses a value");
  }
  free(order);
  printf("READY %llu values, %llu of them hot\n", (unsigned long long)all, (unsigned long long)hot);
  fflush(stdout);

  uint64_t requests = 0, bad = 0, of_class[CLASSES] = {0};
  const double began = now();
  double told = began;
  for (;;) {
    const uint64_t number = noise() % 20 != 0 ? noise() % hot : noise() % all;
    const double before = now();
    if (noise() % 5 == 0) {
      const struct value value = made(number, ++writes[number]);
      ask_set(&value);
      bad += !is_set();
    } else {
      struct value value;
      const int is_there = get(number, &value);
      bad += !is_there || value.number != number || value.writes != writes[number] ||
             value.sum != (value.number ^ (value.writes * kSalt));
    }
    const double t = now();
    const double us = (t - before) * 1e6;
    int class = 0;
    while (class + 1 < CLASSES && us >= (double)(2ul << class)) ++class;
    ++of_class[class];
    ++requests;
    if (t - told < 0.5) continue;
    told = t;
    printf("T %.3f %llu %llu", t - began, (unsigned long long)requests, (unsigned long long)bad);
    for (int i = 0; i < CLASSES; ++i) printf(" %llu", (unsigned long long)of_class[i]);
    printf("\n");
    fflush(stdout);
    memset(of_class, 0, sizeof of_class);
  }
}
