// SPDX-License-Identifier: Apache-2.0
//
// What      y[rows, 96] += A . b over at most 64 columns of a sparse A, whose kept weights of a row
//           are one word of its bitmask.
// Layout    b is 64 rows of 96 floats: 24 KiB in the first cache. y and b are aligned.
// Tile      One row of y in registers (12 on AVX2, 6 on AVX-512): a kept
//           weight is one broadcast and 96 / lanes fused multiply-adds that read b in place.
// Numerics  One fp32 sum an element, in ascending columns, fused: the bits of the reference.
// Needs     The lanes of the file that includes this one.
// Tail      None: bits of columns that do not exist are 0, and of b only rows with a bit are read.
#ifndef ESPALIER_SPMM_H
#define ESPALIER_SPMM_H

#include "operations.h"

namespace esp {
namespace {

constexpr int spmm_vectors = spmm_columns / lanes;

inline __attribute__((always_inline)) void add_weight(float value, const float* b, f32s* sum) {
  const f32s v = every(value);
#pragma GCC unroll 12
  for (int i = 0; i < spmm_vectors; i++) sum[i] = fma(v, load(b + i * lanes), sum[i]);
}

inline void spmm_rows(const spmm_block& a) {
  for (int64_t r = 0; r < a.rows; r++) {
    uint64_t mask = a.masks[r * a.ldmasks];
    if (mask == 0) continue;
    float* const y = a.y + r * spmm_columns;
    const float* values = a.values[r];
    f32s sum[spmm_vectors];
#pragma GCC unroll 12
    for (int i = 0; i < spmm_vectors; i++) sum[i] = load(y + i * lanes);
    do {
      add_weight(*values++, a.b + __builtin_ctzll(mask) * spmm_columns, sum);
      mask &= mask - 1;
    } while (mask != 0);
    a.values[r] = values;
#pragma GCC unroll 12
    for (int i = 0; i < spmm_vectors; i++) store(y + i * lanes, sum[i]);
  }
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_SPMM_H
