// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "vendors.h"

namespace {

using namespace bench;

// `espalier bench` opens the vendors, builds this and passes the rest on.
constexpr const char* usage =
    "Usage: espalier bench [--op OP]... [--threads N] [--seconds S] [--json] [--readme FILE]\n"
    "                      [--vendors] [--list]\n"
    "Checks every row of the variant table against its reference, then times it beside the\n"
    "reference, the machine's ceilings and the libraries to beat, in turns, on random data larger\n"
    "than the caches. Prints rates, shares of the ceiling and ratios: medians over the rounds.\n"
    "  --op OP        only operations whose name contains OP; may be given again\n"
    "  --threads N    of the second measurement (default: all processors); the first has one\n"
    "  --seconds S    for each workload and number of threads (default 1; never fewer than 15\n"
    "                 rounds, or 5 of those that take long)\n"
    "  --json         the whole result as one JSON object on standard output\n"
    "  --readme FILE  its lines between <!-- bench:begin --> and <!-- bench:end --> become the\n"
    "                 table, and the JSON goes to tests/bench/results; needs every operation\n"
    "  --vendors      beside OpenBLAS also oneDNN and libtorch (the first time, 120 MB to fetch)\n"
    "  --list         the variant table, and nothing is timed\n"
    "Exit codes: 0 done, 1 failed or a row differs from its reference, 2 wrong usage.\n";

int wrong(const char* what, const char* word) {
  fprintf(stderr, "error: %s %s\ntry: espalier bench --help\n", what, word);
  return 2;
}

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

// "2026-11-25-amd-epyc-family-25-model-1-avx2.json": date, processor, best instruction set.
std::string file_name(const machine& m) {
  const std::string features = esp_cpu_features();
  std::string name = m.date + "-";
  for (char c : m.cpu + " " + features.substr(0, features.find(' '))) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    const bool kept = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z');
    if (kept || name.back() != '-') name += kept ? c : '-';
  }
  return name + ".json";
}

// Of the processor this runs on, where the kernel tells; what sysconf says may be of the whole
// socket.
int64_t cache_bytes() {
  long long kib = 0;
  FILE* f = fopen("/sys/devices/system/cpu/cpu0/cache/index3/size", "r");
  if (f != nullptr && fscanf(f, "%lldK", &kib) != 1) kib = 0;
  if (f != nullptr) fclose(f);
  return kib > 0 ? kib << 10 : sysconf(_SC_LEVEL3_CACHE_SIZE);
}

double load_average() {
  double load = 0;
  return getloadavg(&load, 1) == 1 ? load : -1;
}

bool write_file(const std::string& path, const std::string& content) {
  FILE* out = fopen(path.c_str(), "wb");
  if (out == nullptr) return false;
  const bool written = fwrite(content.data(), 1, content.size(), out) == content.size();
  return fclose(out) == 0 && written;
}

int list() {
  for (int32_t i = 0; i < esp_variant_count(); i++)
    printf("%-20s %-12s %s\n", esp_variant_operation(i), esp_variant_name(i),
           esp_variant_runs(i) != 0 ? "runs here" : "needs other instructions");
  return 0;
}

// What programs may still take, file pages that can go included.
int64_t available_memory() {
  long long kib = 0;
  FILE* f = fopen("/proc/meminfo", "r");
  char line[128];
  while (f != nullptr && kib == 0 && fgets(line, sizeof line, f) != nullptr)
    if (sscanf(line, "MemAvailable: %lld kB", &kib) != 1) kib = 0;
  if (f != nullptr) fclose(f);
  return kib << 10;
}

// More than four last-level caches a pool and room for the largest operand twice; five pools within
// half the memory.
int64_t pool_bytes(int64_t cache) {
  const int64_t memory = available_memory();
  const int64_t wished = std::max<int64_t>(int64_t{512} << 20, 5 * cache);
  const int64_t bytes = std::max<int64_t>(int64_t{64} << 20, std::min(wished, memory / 10));
  if (bytes < wished) fprintf(stderr, "little memory: operands rotate over less than wished\n");
  return bytes / 4096 * 4096;
}

}  // namespace

int main(int count, char** words) {
  const char *blas = nullptr, *onednn = nullptr, *torch = nullptr, *readme = nullptr,
             *results = nullptr;
  bool as_json = false;
  options how;
  std::vector<std::string> parts;  // "--op=x" is "--op x"
  for (int i = 1; i < count; i++) {
    const char* equals = strncmp(words[i], "--", 2) == 0 ? strchr(words[i], '=') : nullptr;
    parts.emplace_back(
        words[i], equals == nullptr ? strlen(words[i]) : static_cast<size_t>(equals - words[i]));
    if (equals != nullptr) parts.emplace_back(equals + 1);
  }
  for (size_t i = 0; i < parts.size(); i++) {
    const char* word = parts[i].c_str();
    const auto is = [&](const char* name) { return strcmp(word, name) == 0; };
    if (is("--help") || is("-h")) return fputs(usage, stdout) < 0;
    if (is("--list")) return list();
    if (is("--json")) {
      as_json = true;
      continue;
    }
    const char* const* known = nullptr;
    constexpr const char* with_value[] = {"--op",   "--threads", "--seconds", "--readme",
                                          "--blas", "--onednn",  "--torch",   "--results"};
    for (const char* const& name : with_value)
      if (is(name)) known = &name;
    if (known == nullptr) return wrong("unknown argument", word);
    if (++i == parts.size()) return wrong("no value for", word);
    const char* value = parts[i].c_str();
    char* end = nullptr;
    switch (known - with_value) {
      case 0:
        how.wanted.push_back(value);
        break;
      case 1:
        how.threads = static_cast<int32_t>(strtol(value, &end, 10));
        if (*end != 0 || how.threads < 1 || how.threads > 1024)
          return wrong("--threads takes a number from 1 to 1024, not", value);
        break;
      case 2:
        how.seconds = strtod(value, &end);
        if (*end != 0 || !(how.seconds > 0)) return wrong("--seconds takes a time, not", value);
        break;
      case 3:
        readme = value;
        break;
      case 4:
        blas = value;
        break;
      case 5:
        onednn = value;
        break;
      case 6:
        torch = value;
        break;
      default:
        results = value;
    }
  }
  if (readme != nullptr && !how.wanted.empty())
    return wrong("the table of --readme needs every operation: without", "--op");
  if (readme != nullptr && !has_markers(readme))
    return wrong("no lines <!-- bench:begin --> and <!-- bench:end --> in", readme);
  if ((blas != nullptr && !open_blas(blas)) || (onednn != nullptr && !open_onednn(onednn)) ||
      (torch != nullptr && !open_torch(torch)))
    return 1;
  machine m;
  m.date = today();
  m.cpu = cpu_name();
  m.compiler = "g++ " __VERSION__;
  m.cache_bytes = cache_bytes();
  m.load_before = load_average();
  how.lines = !as_json;
  const pools data(pool_bytes(m.cache_bytes));
  session run{data, how, nullptr, nullptr, {}, {}, {}};
  if (esp_context_create(1, &run.one) != ESP_OK ||
      (how.threads != 1 && esp_context_create(how.threads, &run.all) != ESP_OK)) {
    fprintf(stderr, "error: %s\n", esp_last_error());
    return 1;
  }
  std::vector<bool> found(how.wanted.size());
  every_workload(data, [&](const workload& w) {
    for (size_t i = 0; i < found.size(); i++)
      found[i] = found[i] || w.name.find(how.wanted[i]) != std::string::npos;
    measure(w, &run);
  });
  for (size_t i = 0; i < found.size(); i++)
    if (!found[i]) return wrong("no operation that is timed is called", how.wanted[i].c_str());
  m.load_after = load_average();

  const std::string result = json(m, run);
  bool ok = !as_json || fwrite(result.data(), 1, result.size(), stdout) == result.size();
  if (!ok) fprintf(stderr, "error: the result could not be written\n");
  if (results != nullptr && !write_file(std::string(results) + "/" + file_name(m), result)) {
    fprintf(stderr, "error: %s/%s could not be written\n", results, file_name(m).c_str());
    ok = false;
  }
  if (readme != nullptr && !write_between_markers(readme, table(m, run))) {
    fprintf(stderr, "error: %s could not be written\n", readme);
    ok = false;
  }
  for (const bench::result& r : run.results) ok = ok && r.status != state::refused;
  esp_context_destroy(run.one);
  if (run.all != nullptr) esp_context_destroy(run.all);
  return ok ? 0 : 1;
}
