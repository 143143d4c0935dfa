// SPDX-License-Identifier: Apache-2.0
//
// What      y = x . W^T + bias from 8-bit codes: integer products with the digits of x.
// Layout    a byte a word, digits of 16 bits; digits_avx2.h.
// Tile      two rows of W far apart, half a step of x at a time: digits.h.
// Numerics  vpmaddwd into 32-bit sums, exact; digits.h.
// Needs     AVX2, FMA.
// Tail      digits.h: x is zero outside a chunk, the row's last codes from a zero-filled copy.
#include "cpu/matmul_wna16/digits_avx2.h"

namespace esp {

matmul_w8a16_kernel matmul_w8a16_avx2_digits;

void matmul_w8a16_avx2_digits(const packed_operands& o) {
  multiply_packed(bytes_avx2{}, o);
}

}  // namespace esp
