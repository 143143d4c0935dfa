// SPDX-License-Identifier: Apache-2.0
//
// What      y[rows, columns] += A . b over at most 64 columns of a sparse A, whose kept weights of
// a
//           row are one word of its bitmask.
// Layout    b is 64 rows of at most 96 floats: 24 KiB in the first cache. y and b are aligned.
// Tile      One row of y in registers (at most 12 on AVX2, 6 on AVX-512): a kept weight is one
//           broadcast and columns / lanes fused multiply-adds that read b in place.
// Numerics  One fp32 sum an element, in ascending columns, fused: the bits of the reference.
// Needs     The lanes of the file that includes this one.
// Tail      None: bits of columns that do not exist are 0, and of b only rows with a bit are read.
// Roof      One load from b a fused multiply-add, two of each in a cycle: 92 % of the dense peak
// for
//           a weight, 73 of 92 GFLOP/s seen at 50 % zeros. With 90 % a row has six kept weights a
//           block, and loading and storing its sums, the end of the loop that cannot be predicted
//           and bringing b to the first cache take as long as they do: 50 GFLOP/s. The values of
//           256 rows are as many streams, which no prefetcher of the processor follows; hence ours.
#ifndef ESPALIER_SPMM_H
#define ESPALIER_SPMM_H

#include "operations.h"

namespace esp {
namespace {

template <int vectors>
inline __attribute__((always_inline)) void add_weight(float value, const float* b, f32s* sum) {
  const f32s v = every(value);
#pragma GCC unroll 12
  for (int i = 0; i < vectors; i++) sum[i] = fma(v, load(b + i * lanes), sum[i]);
}

template <int64_t columns>
void spmm_rows(const spmm_block& a) {
  constexpr int vectors = columns / lanes;
  for (int64_t r = 0; r < a.rows; r++) {
    if (r < 2 * columns) {
      __builtin_prefetch(a.next + 32 * r, 0, 2);
      __builtin_prefetch(a.next + 32 * r + 16, 0, 2);
    }
    uint64_t mask = a.masks[r];
    if (mask == 0) continue;
    float* const y = a.y + r * columns;
    const float* values = a.values[r];
    f32s sum[vectors];
#pragma GCC unroll 12
    for (int i = 0; i < vectors; i++) sum[i] = load(y + i * lanes);
    do {
      add_weight<vectors>(*values++, a.b + __builtin_ctzll(mask) * columns, sum);
      mask &= mask - 1;
    } while (mask != 0);
    a.values[r] = values;
    __builtin_prefetch(values + 16, 0, 2);
    __builtin_prefetch(values + 32, 0, 2);
#pragma GCC unroll 12
    for (int i = 0; i < vectors; i++) store(y + i * lanes, sum[i]);
  }
}

inline void spmm_block_rows(const spmm_block& a) {
  static_assert(spmm_step == 16 && spmm_columns == 96, "every width has a loop");
  switch (a.columns / spmm_step) {
    case 1:
      return spmm_rows<16>(a);
    case 2:
      return spmm_rows<32>(a);
    case 3:
      return spmm_rows<48>(a);
    case 4:
      return spmm_rows<64>(a);
    case 5:
      return spmm_rows<80>(a);
    default:
      return spmm_rows<96>(a);
  }
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_SPMM_H
