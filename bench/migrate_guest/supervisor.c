/* /init of the guest of bench/migrate --workload, and of its redis: starts /workload, passes on what it says, and tells twice a
   second how the guest fares.

   Kernel command line: settle=SECONDS (the workload has got going after so long, unless it says READY before), args=A,B,C (what
   /workload is called with).

   A workload that prints lines "T …" as migrate_guest.c does tells by itself. For any other a request is a sleep of 5 ms, and its
   latency how much longer it took: what a program that only waits for the clock would see. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CLASSES = 24, ARGUMENTS = 16 };
static volatile int is_ready, tells_itself;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static const char* option(const char* line, const char* name, char* value) {
  const char* at = strstr(line, name);
  if (at == NULL || sscanf(at + strlen(name), "%1023s", value) != 1) return "";
  return value;
}

static void prepare(char* line, size_t size) {
  mount("proc", "/proc", "proc", 0, NULL);
  mount("dev", "/dev", "devtmpfs", 0, NULL);
  mount("tmp", "/tmp", "tmpfs", 0, NULL);
  const int console = open("/dev/console", O_RDWR);
  for (int i = 0; console >= 0 && i < 3; ++i) dup2(console, i);
  const int file = open("/proc/cmdline", O_RDONLY);
  const ssize_t got = file < 0 ? 0 : read(file, line, size - 1);
  line[got > 0 ? got : 0] = 0;
  const int any = socket(AF_INET, SOCK_DGRAM, 0);
  struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
  if (ioctl(any, SIOCSIFFLAGS, &request) != 0) printf("no loopback\n");
  close(any);
}

static FILE* start_workload(char* arguments) {
  int ends[2];
  if (pipe(ends) != 0) return NULL;
  char* list[ARGUMENTS + 2] = {"/workload"};
  int count = 1;
  for (char* word = strtok(arguments, ","); word && count <= ARGUMENTS; word = strtok(NULL, ",")) list[count++] = word;
  if (fork() == 0) {
    dup2(ends[1], 1);
    dup2(ends[1], 2);
    close(ends[0]);
    execv(list[0], list);
    printf("FAILED: /workload cannot be run\n");
    _exit(1);
  }
  close(ends[1]);
  return fdopen(ends[0], "r");
}

static void* pass_on(void* output) {
  char said[4096];
  while (fgets(said, sizeof said, output)) {
    if (strncmp(said, "READY", 5) == 0) is_ready = 1;
    if (strncmp(said, "T ", 2) == 0) tells_itself = is_ready = 1;
    fputs(said, stdout);
    fflush(stdout);
  }
  printf("FAILED: the workload has ended\n");
  fflush(stdout);
  return NULL;
}

int main(void) {
  static char line[2048], settle[1024], arguments[1024];
  prepare(line, sizeof line);
  const double settle_s = atof(option(line, "settle=", settle));
  option(line, "args=", arguments);
  FILE* const output = start_workload(arguments);
  pthread_t passing;
  if (output == NULL || pthread_create(&passing, NULL, pass_on, output) != 0) printf("FAILED: no thread\n");
  uint64_t requests = 0, of_class[CLASSES] = {0};
  const double began = now();
  double told = began;
  for (;;) {
    const double before = now();
    const struct timespec pause = {0, 5000000};
    nanosleep(&pause, NULL);
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
    const double t = now();
    if (tells_itself) continue;
    if (!is_ready && t - began > settle_s && settle_s > 0) is_ready = 1;
    const double us = (t - before - 5e-3) * 1e6;
    int class = 0;
    while (class + 1 < CLASSES && us >= (double)(2ul << class)) ++class;
    ++of_class[class];
    ++requests;
    if (t - told < 0.5 || !is_ready) continue;
    told = t;
    printf("T %.3f %llu 0", t - began, (unsigned long long)requests);
    for (int i = 0; i < CLASSES; ++i) printf(" %llu", (unsigned long long)of_class[i]);
    printf("\n");
    fflush(stdout);
    memset(of_class, 0, sizeof of_class);
  }
}
