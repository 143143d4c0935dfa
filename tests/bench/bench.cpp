// SPDX-License-Identifier: Apache-2.0
//
// bench [--blas LIBRARY] [--json FILE] [--readme FILE] [--seconds S] [words]
//   --blas     an OpenBLAS: serves the library as in a real run, and is the row to beat
//   --json     where the whole result goes; standard output without it
//   --readme   a file whose lines between <!-- bench:begin --> and <!-- bench:end --> become the
//   table
//   --seconds  for each workload and each of the two thread counts; 1 without it, and never
//              fewer than 15 rounds
//   words      only the workloads whose name contains one; the table needs all of them
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "bench.h"

namespace {

using namespace bench;

std::string today() {
  const time_t now = time(nullptr);
  tm utc;
  gmtime_r(&now, &utc);
  char line[16];
  strftime(line, sizeof line, "%Y-%m-%d", &utc);
  return line;
}

std::string cpu_name() {
  std::string fields[3];  // model name, family, model
  const char* keys[] = {"model name", "cpu family", "model\t"};
  FILE* f = fopen("/proc/cpuinfo", "r");
  char line[512];
  while (f != nullptr && fgets(line, sizeof line, f) != nullptr && line[0] != '\n') {
    for (int i = 0; i < 3; i++) {
      const char* colon = strchr(line, ':');
      if (strncmp(line, keys[i], strlen(keys[i])) != 0 || colon == nullptr) continue;
      fields[i] = colon + 2;
      fields[i].erase(fields[i].find_last_not_of(" \n") + 1);
    }
  }
  if (f != nullptr) fclose(f);
  return fields[0] + " (family " + fields[1] + ", model " + fields[2] + ")";
}

double load_average() {
  double load = 0;
  return getloadavg(&load, 1) == 1 ? load : -1;
}

}  // namespace

int main(int count, char** words) {
  const char *blas = nullptr, *json_path = nullptr, *readme = nullptr;
  options how;
  for (int i = 1; i < count; i++) {
    const auto value_of = [&](const char* name) {
      return strcmp(words[i], name) == 0 && i + 1 < count ? words[++i] : nullptr;
    };
    if (const char* v = value_of("--blas")) {
      blas = v;
    } else if (const char* v = value_of("--json")) {
      json_path = v;
    } else if (const char* v = value_of("--readme")) {
      readme = v;
    } else if (const char* v = value_of("--seconds")) {
      how.seconds = atof(v);
    } else if (words[i][0] == '-') {
      fprintf(stderr, "unknown option %s\n", words[i]);
      return 2;
    } else {
      how.wanted.push_back(words[i]);
    }
  }
  if (blas != nullptr && !open_vendor_blas(blas)) return 2;
  if (readme != nullptr && (!how.wanted.empty() || blas == nullptr)) {
    fprintf(stderr, "--readme needs --blas and every workload\n");
    return 2;
  }
  machine m;
  m.date = today();
  m.cpu = cpu_name();
  m.compiler = "g++ " __VERSION__;
  m.blas = blas == nullptr ? "none" : strrchr(blas, '/') == nullptr ? blas : strrchr(blas, '/') + 1;
  m.cache_bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);
  m.load_before = load_average();
  // More than four last-level caches a pool, at least 256 MiB; five pools within half the memory.
  const int64_t memory = static_cast<int64_t>(sysconf(_SC_AVPHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  const int64_t wished = std::max<int64_t>(int64_t{256} << 20, 5 * m.cache_bytes);
  const int64_t bytes = std::max<int64_t>(int64_t{64} << 20, std::min(wished, memory / 10));
  if (bytes < wished) fprintf(stderr, "little memory: operands rotate over less than wished\n");
  const pools data(bytes / 4096 * 4096);
  session run{data, how, nullptr, nullptr, {}, {}, {}};
  if (esp_context_create(1, &run.one) != ESP_OK || esp_context_create(0, &run.all) != ESP_OK) {
    fprintf(stderr, "%s\n", esp_last_error());
    return 1;
  }
  every_workload(data, [&](const workload& w) { measure(w, &run); });
  m.load_after = load_average();

  const std::string result = json(m, run);
  FILE* out = json_path == nullptr ? stdout : fopen(json_path, "wb");
  bool ok = out != nullptr && fwrite(result.data(), 1, result.size(), out) == result.size();
  if (out != nullptr && out != stdout) ok = fclose(out) == 0 && ok;
  if (!ok) fprintf(stderr, "the result could not be written\n");
  if (readme != nullptr && !write_between_markers(readme, table(m, run))) {
    fprintf(stderr, "%s could not be written, or lacks the markers\n", readme);
    ok = false;
  }
  for (const bench::result& r : run.results) ok = ok && r.status != state::refused;
  esp_context_destroy(run.one);
  esp_context_destroy(run.all);
  return ok ? 0 : 1;
}
