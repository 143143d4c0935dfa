// SPDX-License-Identifier: Apache-2.0
//
// What      y = x . W^T + bias, W in 8-bit codes.
// Layout    a byte a column, eight a vector.
// Tile      1 to 4 rows of W by 1 to 8 rows of x at a time: packed_rows.h.
// Numerics  packed_rows.h; only a zero is folded.
// Needs     AVX2, FMA.
// Tail      packed_rows.h: masked x, codes from a zero-filled copy.
#include "cpu/matmul_wna16/decoders_avx2.h"

namespace esp {

matmul_w8a16_kernel matmul_w8a16_avx2;

void matmul_w8a16_avx2(int64_t m, int64_t n, int64_t k, const float* x, int64_t ldx,
                       const float* sums, const uint32_t* codes, int64_t ldcodes,
                       const float* scales, const int8_t* zeros, int64_t group, const float* bias,
                       float* y, int64_t ldy) {
  const packed_product p{
      k, x, ldx, sums, packed_chunks(k, group), codes, ldcodes, scales, zeros, group, bias, y, ldy};
  multiply_packed(bytes_avx2{}, p, m, n);
}

}  // namespace esp
