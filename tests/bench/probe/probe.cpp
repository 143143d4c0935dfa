// SPDX-License-Identifier: Apache-2.0
//
// probe: the ceilings of the bench, one at a time, for a program that measures something else and
// wants a ceiling of the same moment. It answers every line of standard input
//
//     read|copy|update|fp32|fp64|int8 THREADS SECONDS
//
// with one number: 1e9 bytes or operations a second. One thread is timed by its processor time, so
// that a busy machine does not show; several by the clock on the wall.
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../bench.h"

namespace {

using bench::ceiling;

constexpr int64_t pool_bytes = int64_t{512} << 20;  // more than any last-level cache

double seconds_of(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

ceiling ceiling_of(const char* name) {
  for (int32_t c = 0; c < bench::ceilings; c++) {
    const char* const title = bench::name_of(static_cast<ceiling>(c));
    const size_t length = strlen(name);
    if (length > 0 && strncmp(title, name, length) == 0 && title[length] == ' ')
      return static_cast<ceiling>(c);
  }
  return ceiling::none;
}

}  // namespace

int main() {
  const bench::pools data(pool_bytes);
  char name[16];
  int threads = 0;
  double seconds = 0;
  int64_t turn = 0;
  while (scanf("%15s %d %lf", name, &threads, &seconds) == 3) {
    const ceiling which = ceiling_of(name);
    if (which == ceiling::none || threads < 1) {
      fprintf(stderr, "no ceiling %s of %d threads\n", name, threads);
      return 2;
    }
    const clockid_t clock = threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
    bench::probe(which, threads, data, turn++);
    const double begin = seconds_of(clock);
    double work = 0, taken = 0;
    do {
      work += bench::probe(which, threads, data, turn++);
      taken = seconds_of(clock) - begin;
    } while (taken < seconds);
    printf("%.6g\n", work / taken * 1e-9);
    fflush(stdout);
  }
  return 0;
}
