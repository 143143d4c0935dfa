// SPDX-License-Identifier: Apache-2.0
//
// Kernel types of products whose two sides are integers: int8 activations, a scale per token,
// against 8- or 4-bit weights.
#ifndef ESPALIER_INT8_OPERATIONS_H
#define ESPALIER_INT8_OPERATIONS_H

#include <stdint.h>

namespace esp {

// Columns at most: with k = 2^16 the sum of unsigned codes times activations stays within
// 255 * 128 * 65536 = 2139095040 < 2^31, so that an int32 holds every total exactly.
static constexpr int64_t int8_max_columns = 65536;
// Rows of x in one call at most; a multiple of every tile height (5 and 12).
static constexpr int64_t int8_rows = 240;
// Scratch of one call, 64-byte aligned; the tilings assert that they fit.
static constexpr int64_t int8_scratch_bytes = int64_t{1} << 20;

// y[i, r] = x_scales[i] * sum_g scales[r, g] * t[i, r, g] + bias[r], where
// t = sum over the columns c of group g of (q[r, c] - zeros[r, g]) * x[i, c]: an exact int32, then
// rounded once to fp32; groups are summed in order without fused steps. So every variant gives the
// same bits.
struct int8_product {
  int64_t m, n, k;        // m <= int8_rows, 0 < k <= int8_max_columns
  const int8_t* x;        // [m, k] ldx
  int64_t ldx;            //
  const float* x_scales;  // [m]
  const int32_t* x_sums;  // [m, k / group]: the sum of x over every group
  const uint32_t* codes;  // [n, ceil(k * bits / 32)] ldcodes: bit streams of q + 2^(bits-1)
  int64_t ldcodes;
  const float* scales;  // [n, k / group]
  const int8_t* zeros;  // [n, k / group] or null
  int64_t group;        // divides k
  const float* bias;    // [n] or null
  float* y;             // [m, n] ldy
  int64_t ldy;
  void* scratch;  // int8_scratch_bytes
};
using matmul_w8a8_kernel = void(const int8_product* product);
using matmul_w4a8_kernel = void(const int8_product* product);

// One token: *scale = max|x| / 127.5, 2^-23 for a row of zeros; codes[c] =
// round_half_even(clamp(x[c] / *scale, -128, 127)). A row that holds NaN or an infinity has the
// scale NaN and codes 0. Every variant gives the same bits.
using quantize_tokens_kernel = void(int64_t cols, const float* x, int8_t* codes, float* scale);

}  // namespace esp

#endif  // ESPALIER_INT8_OPERATIONS_H
