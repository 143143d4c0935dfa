// SPDX-License-Identifier: Apache-2.0
#include "harness.h"

#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

namespace cases {
namespace {

constexpr uint8_t slack_byte = 0xA5;
constexpr uint8_t poison_byte = 0xD7;  // as fp32 -4.7e14: far outside any expected value
constexpr int32_t thread_counts[] = {1, 2, 3};
constexpr int64_t printed_failures = 40;

struct entry {
  const char* name;
  void (*body)();
};

struct run_state {
  std::vector<entry> entries;
  std::vector<std::string> skipped;  // "operation row (isa)"
  int64_t passed = 0;
  int64_t failed = 0;
  uint64_t seed = 1;
  bool at_start = false;  // where buffers touch their guard page
  const char* running = "";
  bool running_failed = false;
  char label[256] = "";
  esp_context* contexts[3] = {};
};

// The one object of the test program; function-local, so that registrations find it made.
run_state& state() {
  static run_state s;
  return s;
}

void report_failure(const std::string& text) {
  if (state().failed++ < printed_failures) {
    printf("FAILED %s [%s]: %s\n", state().running, state().at_start ? "start" : "end",
           text.c_str());
    fflush(stdout);
  }
}

std::string formatted(const char* text, va_list arguments) {
  char line[1024];
  vsnprintf(line, sizeof line, text, arguments);
  return line;
}

[[maybe_unused]] void on_fault(int) {
  const char* parts[] = {"FAULT in ", state().running, " ", state().label, "\n"};
  for (const char* part : parts) {
    if (write(2, part, strlen(part)) < 0) break;
  }
  _exit(2);
}

void say_label(const std::string& text) {
  snprintf(state().label, sizeof state().label, "%s", text.c_str());
}

}  // namespace

// ---- memory

guarded_bytes::guarded_bytes(int64_t bytes) : bytes_(bytes) {
  const int64_t page = sysconf(_SC_PAGESIZE);
  room_ = std::max<int64_t>(1, (bytes + page - 1) / page) * page;
  void* map = mmap(nullptr, static_cast<size_t>(room_ + 2 * page), PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  map_ = static_cast<uint8_t*>(map);
  if (map == MAP_FAILED ||
      mprotect(map_ + page, static_cast<size_t>(room_), PROT_READ | PROT_WRITE) != 0) {
    fprintf(stderr, "no memory for a guarded buffer of %lld bytes\n",
            static_cast<long long>(bytes));
    exit(2);
  }
  memset(map_ + page, slack_byte, static_cast<size_t>(room_));
  data_ = map_ + page + (state().at_start ? 0 : room_ - bytes);
  memset(data_, 0, static_cast<size_t>(bytes));
}

guarded_bytes::~guarded_bytes() {
  const int64_t page = sysconf(_SC_PAGESIZE);
  int64_t stray = 0;
  for (uint8_t* p = map_ + page; p < map_ + page + room_; p++) {
    if ((p < data_ || p >= data_ + bytes_) && *p != slack_byte) stray++;
  }
  if (stray > 0)
    expect(false, "%s: %lld bytes written outside a buffer of %lld", state().label,
           static_cast<long long>(stray), static_cast<long long>(bytes_));
  munmap(map_, static_cast<size_t>(room_ + 2 * page));
}

bool at_start() {
  return state().at_start;
}

// ---- inputs

const char* name_of(inputs kind) {
  switch (kind) {
    case inputs::uniform:
      return "uniform";
    case inputs::heavy_tailed:
      return "heavy-tailed";
    case inputs::all_min:
      return "all-min";
    case inputs::all_max:
      return "all-max";
  }
  return "?";
}

generator::generator(uint64_t seed)
    : state_(seed * 0x9E3779B97F4A7C15u ^ state().seed * 0xD1B54A32D192ED03u) {}

uint64_t generator::next() {
  uint64_t z = state_ += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

int64_t generator::below(int64_t n) {
  return static_cast<int64_t>(next() % static_cast<uint64_t>(n));
}

double generator::uniform(double lo, double hi) {
  return lo + (hi - lo) * (static_cast<double>(next() >> 11) * 0x1p-53);
}

double generator::heavy_tailed() {
  double sum = -6.0;  // twelve uniforms: variance 1
  for (int i = 0; i < 12; i++) sum += uniform(0.0, 1.0);
  return sum * (below(16) == 0 ? uniform(1.0, 100.0) : 1.0);
}

void fill(float* x, int64_t n, inputs kind, uint64_t seed, double range) {
  generator g(seed);
  for (int64_t i = 0; i < n; i++) {
    double value = 0.0;
    switch (kind) {
      case inputs::uniform:
        value = g.uniform(-range, range);
        break;
      case inputs::heavy_tailed:
        value = std::clamp(g.heavy_tailed(), -100.0, 100.0) * range;
        break;
      case inputs::all_min:
        value = -range;
        break;
      case inputs::all_max:
        value = range;
        break;
    }
    x[i] = static_cast<float>(value);
  }
}

// ---- facts

std::string format(const char* text, ...) {
  va_list arguments;
  va_start(arguments, text);
  std::string line = formatted(text, arguments);
  va_end(arguments);
  return line;
}

void expect(bool ok, const char* text, ...) {
  if (ok) return;
  va_list arguments;
  va_start(arguments, text);
  if (!state().running_failed) report_failure(formatted(text, arguments));
  va_end(arguments);
  state().running_failed = true;  // one CASE fails once
}

void expect_status(esp_status status, esp_status actual, const char* op) {
  expect(status == actual, "%s: status %d, expected %d (%s)", op, actual, status, esp_last_error());
  if (status != ESP_OK) {
    const std::string prefix = std::string(op) + ": ";
    expect(strncmp(esp_last_error(), prefix.c_str(), prefix.size()) == 0,
           "message \"%s\" does not start with \"%s\"", esp_last_error(), prefix.c_str());
  }
}

esp_context* context(int32_t threads) {
  esp_context*& slot = state().contexts[threads - 1];
  if (slot == nullptr && esp_context_create(threads, &slot) != ESP_OK) {
    fprintf(stderr, "%s\n", esp_last_error());
    exit(2);
  }
  return slot;
}

void skip(const char* what) {
  std::vector<std::string>& skipped = state().skipped;
  if (std::find(skipped.begin(), skipped.end(), what) == skipped.end()) skipped.push_back(what);
}

namespace detail {
namespace {

// "" when the outputs agree, else a sentence about the worst element.
std::string difference(const void* actual, const void* reference, int64_t count, int64_t width,
                       const std::vector<double>* expected, const bound& limit, raw_value value) {
  if (expected == nullptr && !limit) {
    const uint8_t* a = static_cast<const uint8_t*>(actual);
    const uint8_t* b = static_cast<const uint8_t*>(reference);
    for (int64_t i = 0; i < count; i++) {
      if (memcmp(a + i * width, b + i * width, static_cast<size_t>(width)) != 0)
        return format("element %lld is %.9g, the reference has %.9g (bits differ)",
                      static_cast<long long>(i), value(a, i), value(b, i));
    }
    return "";
  }
  int64_t worst = -1;
  double excess = 0.0;
  for (int64_t i = 0; i < count; i++) {
    const double got = value(actual, i);
    const double want =
        expected != nullptr ? (*expected)[static_cast<size_t>(i)] : value(reference, i);
    if (got == want || (isnan(got) && isnan(want))) continue;
    const double allowed = limit ? limit(i) : 0.0;
    const double ratio = isfinite(got) && isfinite(want)
                             ? (allowed > 0.0 ? fabs(got - want) / allowed : HUGE_VAL)
                             : HUGE_VAL;
    if (ratio > 1.0 && (worst < 0 || ratio > excess)) {
      worst = i;
      excess = ratio;
    }
  }
  if (worst < 0) return "";
  const double want =
      expected != nullptr ? (*expected)[static_cast<size_t>(worst)] : value(reference, worst);
  return format("element %lld is %.9g, expected %.9g, |difference| %.3g, allowed %.3g",
                static_cast<long long>(worst), value(actual, worst), want,
                fabs(value(actual, worst) - want), limit ? limit(worst) : 0.0);
}

// Runs one row with every thread count; returns "" or what went wrong.
std::string run_row(const char* operation, const char* row, const buffer<uint8_t>& out,
                    const raw_call& run) {
  for (int32_t threads : thread_counts) {
    esp_context* ctx = context(threads);
    if (esp_variant_pin(ctx, operation, row) != ESP_OK) return esp_last_error();
    buffer<uint8_t> again(out.size());
    memset(again, poison_byte, static_cast<size_t>(out.size()));
    const esp_status status = run(ctx, again.data());
    esp_variant_pin(ctx, operation, nullptr);
    if (status != ESP_OK) return format("status %d, %s", status, esp_last_error());
    if (threads == thread_counts[0]) {
      memcpy(out, again, static_cast<size_t>(out.size()));
    } else if (memcmp(out, again, static_cast<size_t>(out.size())) != 0) {
      return format("%d threads give other bytes than 1", threads);
    }
  }
  return "";
}

}  // namespace

void every_row(const char* operation, const std::string& label, int64_t count, int64_t width,
               const std::vector<double>* expected, const bound& limit, raw_value value,
               const raw_call& run) {
  buffer<uint8_t> reference(count * width);
  say_label(std::string(operation) + " reference " + label);
  const std::string broken = run_row(operation, "reference", reference, run);
  std::string problem = !broken.empty() || expected == nullptr
                            ? broken
                            : difference(reference, nullptr, count, width, expected, limit, value);
  if (problem.empty()) {
    state().passed++;
  } else {
    report_failure(std::string(operation) + " reference " + label + ": " + problem);
  }
  if (!broken.empty()) return;
  for (int32_t i = 0; i < esp_variant_count(); i++) {
    const char* row = esp_variant_name(i);
    if (strcmp(esp_variant_operation(i), operation) != 0 || strcmp(row, "reference") == 0) continue;
    if (esp_variant_runs(i) == 0) {
      skip((std::string(operation) + " " + row + " (needs " + esp_variant_isa(i) + ")").c_str());
      continue;
    }
    say_label(std::string(operation) + " " + row + " " + label);
    buffer<uint8_t> actual(count * width);
    problem = run_row(operation, row, actual, run);
    if (problem.empty())
      problem = difference(actual, reference, count, width, expected, limit, value);
    if (problem.empty()) {
      state().passed++;
    } else {
      report_failure(std::string(operation) + " " + row + " " + label + ": " + problem);
    }
  }
}

}  // namespace detail

registration::registration(const char* name, void (*body)()) {
  state().entries.push_back({name, body});
}

}  // namespace cases

int main(int count, char** words) {
  using namespace cases;
  std::vector<const char*> wanted;
  for (int i = 1; i < count; i++) {
    if (strcmp(words[i], "--blas") == 0 && i + 1 < count) {
      if (esp_blas_open(words[++i]) != ESP_OK) {
        fprintf(stderr, "%s\n", esp_last_error());
        return 2;
      }
    } else if (strcmp(words[i], "--seed") == 0 && i + 1 < count) {
      state().seed = strtoull(words[++i], nullptr, 10);
    } else {
      wanted.push_back(words[i]);
    }
  }
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  signal(SIGSEGV, on_fault);
  signal(SIGBUS, on_fault);
#endif
  std::sort(state().entries.begin(), state().entries.end(),
            [](const entry& a, const entry& b) { return strcmp(a.name, b.name) < 0; });
  printf("instruction sets %s, seed %llu\n", esp_cpu_features(),
         static_cast<unsigned long long>(state().seed));
  for (const entry& e : state().entries) {
    if (!wanted.empty() && std::none_of(wanted.begin(), wanted.end(), [&](const char* w) {
          return strstr(e.name, w) != nullptr;
        }))
      continue;
    for (bool at_start : {false, true}) {
      state().at_start = at_start;
      state().running = e.name;
      state().running_failed = false;
      e.body();
      if (!state().running_failed) state().passed++;
    }
  }
  for (esp_context* ctx : state().contexts) esp_context_destroy(ctx);
  for (const std::string& row : state().skipped) printf("skipped %s\n", row.c_str());
  printf("cases %lld passed, %lld failed, %lld skipped\n", static_cast<long long>(state().passed),
         static_cast<long long>(state().failed), static_cast<long long>(state().skipped.size()));
  return state().failed == 0 ? 0 : 1;
}
