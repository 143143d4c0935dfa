// SPDX-License-Identifier: Apache-2.0
//
// The bench: what every row of the variant table is worth on the machine it runs on.
//
//   workloads.cpp   what is timed: one call of the C ABI per entry, its work in bytes or FLOP, its
//                   outputs with the tolerance that admits a row
//   ceiling*.cpp    what the machine can do at most: reading, copying, fused multiply-adds
//   measure.cpp     rows of one workload against each other and against the ceiling, interleaved
//   report.cpp      JSON, and the table of README.md
//   bench.cpp       arguments
//
// Absolute times mean little on shared machines. All rows of a workload therefore take turns, the
// ceiling among them; a ratio is taken within a round, and the report gives the median of the
// rounds' ratios and their quartiles. Data is random and rotates over more than four last-level
// caches. A row whose output differs from the reference's on the very data to be timed is not
// timed.
#ifndef ESPALIER_BENCH_H
#define ESPALIER_BENCH_H

#include <stdint.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "espalier.h"

namespace bench {

// ---- data

// Random operands, made once. A slice of `count` elements for turn 0, 1, ... walks through the
// whole pool, so that it comes from memory; the same turn gives the same slice.
class pools {
 public:
  explicit pools(int64_t bytes);  // of each pool
  int64_t bytes() const { return bytes_; }
  const float* floats(int64_t count, int64_t turn) const;   // uniform in [-1, 1)
  const uint16_t* bf16(int64_t count, int64_t turn) const;  // the floats, rounded
  const uint16_t* f16(int64_t count, int64_t turn) const;   // the floats, rounded
  const uint32_t* bits(int64_t count, int64_t turn) const;  // uniform words
  template <class T>
  T* sink(int64_t count, int64_t turn) const {  // where outputs go
    return static_cast<T*>(slice(sink_, count * static_cast<int64_t>(sizeof(T)), turn));
  }
  // Every sink holds floats of [-1, 1), for operations in place.
  void refill_sink() const;

 private:
  void* slice(void* pool, int64_t bytes, int64_t turn) const;
  int64_t bytes_;
  void *floats_, *bf16_, *f16_, *bits_, *sink_;
};

// ---- workloads

// copy counts bytes read and bytes written; update the same for operations in place.
enum class ceiling : int32_t { read, copy, update, fp32, fp64, int8, none };
constexpr int32_t ceilings = 6;
const char* name_of(ceiling c);
const char* unit_of(ceiling c);

enum class element : int32_t { f32, f64, bytes };

// One output of turn 0. tolerance 0 asks for the same bits; otherwise |y - reference| <= tolerance
// *
// (|reference| + rms of the reference).
struct output {
  void* address;
  int64_t count;
  element type;
  double tolerance;
};

// A library to beat: the same result from the same operands by one of its calls.
struct vendor_row {
  std::string name;
  std::function<void(int64_t turn)> run;
};

struct workload {
  std::vector<const char*> operations;  // pinned together; empty: nothing to choose
  std::string name;                     // what the table calls it
  std::string shape;
  ceiling limit = ceiling::none;
  double work = 0;  // of one call: bytes moved at least, or FLOP
  std::function<esp_status(esp_context*, int64_t turn)> run;
  std::function<void()> prepare;  // before every call, not timed; may be empty
  std::function<void()> restore;  // before a call that is checked; timed calls do without
  vendor_row vendor;              // run empty: none
  bool brief = true;              // stands in the table of README.md, too
  std::vector<output> outputs;
};

// OpenBLAS, opened once more by the bench for the rows to beat.
struct blas {
  void (*sgemm)(int, int, int, int, int, int, float, const float*, int, const float*, int, float,
                float*, int) = nullptr;
  void (*sgemv)(int, int, int, int, float, const float*, int, const float*, int, float, float*,
                int) = nullptr;
  void (*set_threads)(int) = nullptr;
};
const blas& vendor_blas();
bool open_vendor_blas(const char* path);

// Makes the workloads one after the other; a workload's memory lives while it is visited.
void every_workload(const pools& data, const std::function<void(const workload&)>& visit);

// Those of int8 activations, which every_workload visits too; int8_workloads.cpp.
void int8_workloads(const pools& data, const std::function<void(const workload&)>& visit);

// Those of sparse weights, which every_workload visits too; sparse_workloads.cpp.
void sparse_workloads(const pools& data, const std::function<void(const workload&)>& visit);

// ---- ceilings

// One probe with `threads` threads; returns the bytes or FLOP it did.
double probe(ceiling c, int32_t threads, const pools& data, int64_t turn);

// Parts of a probe in their instruction set; ceiling_<isa>.cpp.
struct probe_kernels {
  uint64_t (*read)(const void* p, int64_t bytes);  // bytes % 256 == 0
  void (*copy)(const void* from, void* to, int64_t bytes);
  void (*update)(void* p, int64_t bytes);
  float (*fp32)(int64_t steps);  // steps * fp32_flop_per_step
  double (*fp64)(int64_t steps);
  double fp32_flop_per_step;
  double fp64_flop_per_step;
};
// Products of int8 with int8 (or wider) summed exactly in int32, at the rate of registers;
// ceiling_int8_<isa>.cpp.
struct int8_probe {
  int32_t (*run)(int64_t steps);
  double op_per_step;
};
extern const int8_probe int8_scalar, int8_avx2, int8_avx512vnni;
extern const probe_kernels probe_scalar, probe_avx2, probe_avx512;

// ---- measurement

struct quartiles {
  double low = 0, median = 0, high = 0;
};

struct timing {
  int64_t rounds = 0;
  double seconds = 0;  // median of one call
  quartiles ratio;     // time of the first row / time of this row, round by round
  quartiles share;     // rate of this row / rate of the ceiling, round by round
  double rate = 0;     // work / seconds
};

enum class state : int32_t { measured, cannot_run, refused };

struct result {
  std::string operation, shape, row, isa;
  ceiling limit = ceiling::none;
  bool brief = true;
  state status = state::measured;
  std::string reason;  // of a refusal
  timing one_thread, all_threads;
};

struct options {
  double seconds = 1.0;  // for each workload and each of the two thread counts
  int64_t rounds_least = 15, rounds_most = 31;
  std::vector<std::string> wanted;  // workloads whose name contains one; empty: all
};

// One run of the bench: what it has measured so far.
struct session {
  const pools& data;
  options how;
  esp_context* one = nullptr;  // one thread
  esp_context* all = nullptr;  // one thread a processor
  std::vector<result> results;
  std::vector<double> rates_one[ceilings], rates_all[ceilings];  // of the probes, by ceiling
};

// Checks and times the rows of a workload.
void measure(const workload& w, session* run);

quartiles quartiles_of(std::vector<double> values);

// ---- report

struct machine {
  std::string date, cpu, compiler, blas;
  int64_t cache_bytes = 0;
  double load_before = 0, load_after = 0;  // runnable tasks, one-minute average
};

std::string json(const machine& m, const session& run);
std::string table(const machine& m, const session& run);
// Replaces what stands between the markers of the file; false when it has none.
bool write_between_markers(const char* path, const std::string& text);

}  // namespace bench

#endif  // ESPALIER_BENCH_H
