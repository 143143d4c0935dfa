// SPDX-License-Identifier: Apache-2.0
//
// The probes of one instruction set, in terms of a vector type `vf` (fp32), `vd` (fp64) and `vi`
// (64-bit integers) of the file that includes this one, and its `fused` multiply-add.
#include "bench.h"

namespace bench {
namespace {

// Independent chains: more than latency (4) times ports (2) of a fused multiply-add, and with the
// two operands no more than 16 registers.
constexpr int chains = 12;

// Four streams at once, as a kernel over four rows has: one prefetcher alone does not fill the bus.
constexpr int streams = 4;
constexpr int64_t line = 64;

uint64_t read_all(const void* p, int64_t bytes) {
  const char* at = static_cast<const char*>(p);
  const int64_t part = bytes / streams / line * line;
  constexpr int vectors = static_cast<int>(line / static_cast<int64_t>(sizeof(vi)));
  vi sum[streams] = {};
  for (int64_t i = 0; i < part; i += line) {
    for (int j = 0; j < streams; j++) {
      const vi* from = reinterpret_cast<const vi*>(at + j * part + i);
      for (int v = 0; v < vectors; v++) sum[j] ^= from[v];
    }
  }
  uint64_t folded = 0;
  for (int j = 0; j < streams; j++) {
    for (size_t lane = 0; lane < sizeof(vi) / 8; lane++)
      folded ^= static_cast<uint64_t>(sum[j][lane]);
  }
  return folded;
}

// With ordinary stores, as the kernels write: every line written is read first.
void copy_all(const void* from, void* to, int64_t bytes) {
  const char* a = static_cast<const char*>(from);
  char* b = static_cast<char*>(to);
  const int64_t part = bytes / streams / line * line;
  constexpr int vectors = static_cast<int>(line / static_cast<int64_t>(sizeof(vi)));
  for (int64_t i = 0; i < part; i += line) {
    for (int j = 0; j < streams; j++) {
      const vi* x = reinterpret_cast<const vi*>(a + j * part + i);
      vi* y = reinterpret_cast<vi*>(b + j * part + i);
      for (int v = 0; v < vectors; v++) y[v] = x[v];
    }
  }
}

void update_all(void* p, int64_t bytes) {
  vi* a = static_cast<vi*>(p);
  const vi one = vi{} + 1;  // flips the last bit of every second float: they stay as they are
  for (int64_t i = 0; i < bytes / static_cast<int64_t>(sizeof(vi)); i++) a[i] ^= one;
}

// a = a * b + c stays near 1.
template <class V, class T>
T multiply_add(int64_t steps) {
  V a[chains];
  V b = {}, c = {};
  b += T(0.999);
  c += T(0.001);
  for (int j = 0; j < chains; j++) a[j] = b + T(j);
  for (int64_t i = 0; i < steps; i++) {
#pragma GCC unroll 12
    for (int j = 0; j < chains; j++) a[j] = fused(a[j], b, c);
  }
  T sum = 0;
  for (int j = 0; j < chains; j++) sum += a[j][0];
  return sum;
}

float fp32_steps(int64_t steps) {
  return multiply_add<vf, float>(steps);
}
double fp64_steps(int64_t steps) {
  return multiply_add<vd, double>(steps);
}

constexpr double flop_per_step_of(double lanes) {
  return 2.0 * chains * lanes;
}

}  // namespace
}  // namespace bench
