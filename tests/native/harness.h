// SPDX-License-Identifier: Apache-2.0
//
// The native case lists: one file <group>_cases.cpp per group of operations, run by one main.
//
//   CASE(rms_norm) {                                   // registers itself; runs twice, with
//   buffers
//     for (int64_t cols : {1, 7, 8, 9, 576}) {         // flush against a guard page at the end and
//       buffer<float> x(3 * cols);                     // at the start
//       fill(x, inputs::heavy_tailed, 42);
//       against_reference<float>("rms_norm", format("cols=%lld", cols), 3 * cols, bound,
//         [&](esp_context* ctx, float* y) { return esp_rms_norm(ctx, 3, cols, x, cols, ...); });
//     }
//   }
//
// against_reference   runs the call once per runnable row of the operation (pinned) and compares
//                     with the `reference` row: |y[i] - reference[i]| <= bound(i), or the same bits
//                     when no bound is given. Every row is run with 1, 2 and 3 threads, which must
//                     give the same bytes. Each row counts as one case.
// against_definition  the same with values the test computed itself in fp64, reference included.
// expect              any other fact; the CASE that states it fails when it does not hold.
// buffer<T>           n elements against an inaccessible page (reading or writing past that end
//                     faults); the slack on the other side is checked for stray writes.
//
// A row that this CPU (or ESPALIER_ISA) cannot run is one skip. The end of the run prints
// "cases N passed, N failed, N skipped"; the exit status is 0 only when none failed.
// Arguments: [--blas LIBRARY] [--seed N] [words: run only the CASEs whose name contains one].
#ifndef ESPALIER_HARNESS_H
#define ESPALIER_HARNESS_H

#include <stdint.h>
#include <string.h>

#include <functional>
#include <string>
#include <vector>

#include "espalier.h"

namespace cases {

// ---- memory

// Zeroed bytes whose end (or start, see at_start()) touches a PROT_NONE page.
class guarded_bytes {
 public:
  explicit guarded_bytes(int64_t bytes);
  ~guarded_bytes();
  guarded_bytes(const guarded_bytes&) = delete;
  guarded_bytes& operator=(const guarded_bytes&) = delete;
  void* data() const { return data_; }

 private:
  uint8_t* map_;
  uint8_t* data_;
  int64_t bytes_;
  int64_t room_;  // accessible bytes between the two guard pages
};

template <class T>
class buffer {
 public:
  explicit buffer(int64_t count)
      : count_(count), memory_(count * static_cast<int64_t>(sizeof(T))) {}
  T* data() const { return static_cast<T*>(memory_.data()); }
  int64_t size() const { return count_; }
  int64_t bytes() const { return count_ * static_cast<int64_t>(sizeof(T)); }
  operator T*() const { return data(); }
  T* begin() const { return data(); }
  T* end() const { return data() + count_; }

 private:
  int64_t count_;
  guarded_bytes memory_;
};

// Whether buffers touch their guard page with the start, in the second run of a CASE.
bool at_start();

// ---- inputs

// all_min and all_max give the lower and upper end of the range to every element.
enum class inputs { uniform, heavy_tailed, all_min, all_max };
constexpr inputs every_input[] = {inputs::uniform, inputs::heavy_tailed, inputs::all_min,
                                  inputs::all_max};
const char* name_of(inputs kind);

// splitmix64; the run's --seed is mixed in, so that the same number means the same data in one run.
class generator {
 public:
  explicit generator(uint64_t seed);
  uint64_t next();
  int64_t below(int64_t n);              // in [0, n)
  double uniform(double lo, double hi);  // in [lo, hi)
  double heavy_tailed();                 // normal times a rare factor of up to 100

 private:
  uint64_t state_;
};

// uniform in [-range, range); heavy_tailed clamped to 100 * range.
void fill(float* x, int64_t n, inputs kind, uint64_t seed, double range = 1.0);
inline void fill(const buffer<float>& x, inputs kind, uint64_t seed, double range = 1.0) {
  fill(x.data(), x.size(), kind, seed, range);
}
// Integers in [lo, hi]; heavy_tailed favours both ends.
template <class T>
void fill_integers(T* x, int64_t n, int64_t lo, int64_t hi, inputs kind, uint64_t seed) {
  generator g(seed);
  for (int64_t i = 0; i < n; i++) {
    int64_t value = lo + g.below(hi - lo + 1);
    if (kind == inputs::heavy_tailed && g.below(2) == 0) value = g.below(2) == 0 ? lo : hi;
    if (kind == inputs::all_min) value = lo;
    if (kind == inputs::all_max) value = hi;
    x[i] = static_cast<T>(value);
  }
}

// ---- facts

std::string format(const char* text, ...) __attribute__((format(printf, 1, 2)));

// Fails the running CASE (and goes on) unless ok.
void expect(bool ok, const char* text, ...) __attribute__((format(printf, 2, 3)));
// The call must give `status`, and a message that starts with "op: " unless it is OK.
void expect_status(esp_status status, esp_status actual, const char* op);

// Counts what cannot be tested here, once, as a skip.
void skip(const char* what);

// A context with 1, 2 or 3 threads and no pins, owned by the harness.
esp_context* context(int32_t threads = 1);

// The largest |y[i] - reference[i]| that passes; an empty function asks for the same bits.
using bound = std::function<double(int64_t)>;
inline bound within(double limit) {
  return [limit](int64_t) { return limit; };
}

namespace detail {
// Runs every row as described at the top. `bytes` of output per run; `width` = sizeof(T).
// expected == nullptr: the reference row's output.
using raw_call = std::function<esp_status(esp_context*, void*)>;
using raw_value = double (*)(const void*, int64_t);
void every_row(const char* operation, const std::string& label, int64_t count, int64_t width,
               const std::vector<double>* expected, const bound& limit, raw_value value,
               const raw_call& run);
template <class T>
double value(const void* p, int64_t i) {
  return static_cast<double>(static_cast<const T*>(p)[i]);
}
}  // namespace detail

// The output handed to `run` is a guarded buffer of `count` elements, filled with a poison that a
// forgotten element would show.
template <class T>
void against_reference(const char* operation, const std::string& label, int64_t count,
                       const bound& limit, const std::function<esp_status(esp_context*, T*)>& run) {
  detail::every_row(operation, label, count, sizeof(T), nullptr, limit, &detail::value<T>,
                    [&run](esp_context* ctx, void* out) { return run(ctx, static_cast<T*>(out)); });
}

template <class T>
void against_definition(const char* operation, const std::string& label,
                        const std::vector<double>& expected, const bound& limit,
                        const std::function<esp_status(esp_context*, T*)>& run) {
  detail::every_row(operation, label, static_cast<int64_t>(expected.size()), sizeof(T), &expected,
                    limit, &detail::value<T>,
                    [&run](esp_context* ctx, void* out) { return run(ctx, static_cast<T*>(out)); });
}

// ---- registration

struct registration {
  registration(const char* name, void (*body)());
};

#define CASE(name)                                                           \
  static void case_##name();                                                 \
  static const ::cases::registration registered_##name{#name, &case_##name}; \
  static void case_##name()

}  // namespace cases

#endif  // ESPALIER_HARNESS_H
