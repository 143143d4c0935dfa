// SPDX-License-Identifier: Apache-2.0
//
// What      y = x . W^T + bias and W itself, W in codes of 2 to 8 bits.
// Layout    eight codes are exactly `bits` bytes; decoders_avx512.h.
// Tile      1 to 4 rows of W by 1 to 8 rows of x at a time: packed_rows.h; dequantize row by row.
// Numerics  packed_rows.h; dequantize rounds one product: the bits of the reference.
// Needs     AVX-512 F, BW.
// Tail      packed_rows.h: masked x and w, codes from a zero-filled copy.
#include "cpu/matmul_wna16/decoders_avx512.h"

namespace esp {

matmul_wna16_kernel matmul_wna16_avx512;
dequantize_kernel dequantize_avx512;

void matmul_wna16_avx512(int32_t bits, int64_t m, int64_t n, int64_t k, const float* x, int64_t ldx,
                         const float* sums, const uint32_t* codes, int64_t ldcodes,
                         const float* scales, const int8_t* zeros, int64_t group, const float* bias,
                         float* y, int64_t ldy) {
  const packed_product p{
      k, x, ldx, sums, packed_chunks(k, group), codes, ldcodes, scales, zeros, group, bias, y, ldy};
  multiply_packed(stream_avx512(bits), p, m, n);
}

void dequantize_avx512(int32_t bits, int64_t n, int64_t k, const uint32_t* codes, int64_t ldcodes,
                       const float* scales, const int8_t* zeros, int64_t group,
                       const int32_t* group_index, float* w, int64_t ldw) {
  if (bits == 4) {
    widen_rows(nibbles_avx512{}, n, k, codes, ldcodes, scales, zeros, group, group_index, w, ldw);
  } else if (bits == 8) {
    widen_rows(bytes_avx512{}, n, k, codes, ldcodes, scales, zeros, group, group_index, w, ldw);
  } else {
    widen_rows(stream_avx512(bits), n, k, codes, ldcodes, scales, zeros, group, group_index, w,
               ldw);
  }
}

}  // namespace esp
