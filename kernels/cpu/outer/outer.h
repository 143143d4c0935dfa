// SPDX-License-Identifier: Apache-2.0
//
// What      c -= or += a^T b of two strips of 16: the product under the Gram matrix, the Cholesky
//           factor and the GPTQ pull (performance.md 2.3). Internal to each instruction-set file
//           that includes it, after its lanes.
// Layout    a strip is [depth, 16]: what is multiplied together lies together, no stride but one.
// Tile      16 x 16 of c. Rows of c go six, five and five at a time (all 16 where a row is one
//           vector) against two vectors: with 16 registers 6 * 2 sums, two vectors of b and one
//           broadcast of a, and never fewer than the 8 sums that two pipes of latency 4 need.
// Numerics  one fused multiply-add after the other in order of depth, the same bits in every
//           variant. fp32: at most outer_chunk products, then the sum goes to fp64: it is off by at
//           most outer_chunk * 2^-24 sum|a||b|. fp64: depth * 2^-53 sum|a||b|.
// Tail      none: strips are padded with zeros.
#ifndef ESPALIER_OUTER_H
#define ESPALIER_OUTER_H

#include <stdint.h>

#include "operations.h"

namespace esp {
namespace {

// Rows first .. first + R - 1 of a tile in fp32, columns at .. at + V * lanes - 1.
template <int R, int V>
inline void sums_f32(int64_t depth, const float* a, const float* b, double* c, int64_t ldc) {
  f32s sum[R][V];
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) sum[r][v] = zeros();
  }
  for (int64_t k = 0; k < depth; k++, a += outer_width, b += outer_width) {
    f32s right[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) right[v] = load(b + v * lanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      const f32s left = every(a[r]);
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) sum[r][v] = fma(left, right[v], sum[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) {
      double* const to = c + r * ldc + v * lanes;
      store64(to, add(load64(to), low_half(sum[r][v])));
      store64(to + lanes64, add(load64(to + lanes64), high_half(sum[r][v])));
    }
  }
}

template <int R>
inline void sums_f64(int64_t depth, const double* a, const double* b, double* c, int64_t ldc) {
  f64s sum[R][2];
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) {
    sum[r][0] = load64(c + r * ldc);
    sum[r][1] = load64(c + r * ldc + lanes64);
  }
  for (int64_t k = 0; k < depth; k++, a += outer_width, b += outer_width) {
    const f64s right0 = load64(b), right1 = load64(b + lanes64);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      const f64s left = every64(a[r]);
      sum[r][0] = fnma(left, right0, sum[r][0]);
      sum[r][1] = fnma(left, right1, sum[r][1]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) {
    store64(c + r * ldc, sum[r][0]);
    store64(c + r * ldc + lanes64, sum[r][1]);
  }
}

inline void outer_add_f32(int64_t depth, const float* a, const float* b, double* c, int64_t ldc) {
  for (int64_t k = 0; k < depth;
       k += outer_chunk, a += outer_chunk * outer_width, b += outer_chunk * outer_width) {
    const int64_t count = depth - k < outer_chunk ? depth - k : outer_chunk;
    if (lanes == outer_width) {
      sums_f32<16, 1>(count, a, b, c, ldc);
    } else {
      sums_f32<6, 2>(count, a, b, c, ldc);
      sums_f32<5, 2>(count, a + 6, b, c + 6 * ldc, ldc);
      sums_f32<5, 2>(count, a + 11, b, c + 11 * ldc, ldc);
    }
  }
}

inline void outer_take_f64(int64_t depth, const double* a, const double* b, double* c,
                           int64_t ldc) {
  for (int64_t j = 0; j < outer_width; j += 2 * lanes64) {
    sums_f64<6>(depth, a, b + j, c + j, ldc);
    sums_f64<5>(depth, a + 6, b + j, c + 6 * ldc + j, ldc);
    sums_f64<5>(depth, a + 11, b + j, c + 11 * ldc + j, ldc);
  }
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_OUTER_H
