// SPDX-License-Identifier: Apache-2.0
//
// What      sums[c] += x[t, c]^2 in fp64: the diagonal of sum x x^T. Internal to each
//           instruction-set file that includes it, after its lanes.
// Layout    x [tokens, columns], row-major.
// Tile      four rows at a time pass over the sums, which stay in the nearest cache that holds
// them. Numerics  fp64 products of two fp32 values are exact; they are added in order of rows: the
// bits of
//           the reference.
// Tail      the last columns one by one.
#ifndef ESPALIER_COLUMN_SQUARES_H
#define ESPALIER_COLUMN_SQUARES_H

#include <stdint.h>
#include <string.h>

namespace esp {
namespace {

template <int R>
inline void add_squares(int64_t cols, const float* x, int64_t ldx, double* sums) {
  int64_t c = 0;
  for (; c + lanes <= cols; c += lanes) {
    f64s low, high;
    memcpy(&low, sums + c, sizeof low);
    memcpy(&high, sums + c + lanes64, sizeof high);
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) {
      const f32s value = load(x + r * ldx + c);
      const f64s a = low_half(value), b = high_half(value);
      low = add(low, multiply(a, a));
      high = add(high, multiply(b, b));
    }
    memcpy(sums + c, &low, sizeof low);
    memcpy(sums + c + lanes64, &high, sizeof high);
  }
  for (; c < cols; c++) {
    for (int r = 0; r < R; r++) {
      const double value = static_cast<double>(x[r * ldx + c]);
      sums[c] += value * value;
    }
  }
}

inline void column_squares(int64_t tokens, int64_t cols, const float* x, int64_t ldx,
                           double* sums) {
  int64_t t = 0;
  for (; t + 4 <= tokens; t += 4) add_squares<4>(cols, x + t * ldx, ldx, sums);
  for (; t < tokens; t++) add_squares<1>(cols, x + t * ldx, ldx, sums);
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_COLUMN_SQUARES_H
