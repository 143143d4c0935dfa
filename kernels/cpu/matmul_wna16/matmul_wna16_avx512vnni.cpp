// SPDX-License-Identifier: Apache-2.0
//
// What      y = x . W^T + bias from 2-, 3-, 5-, 6- or 7-bit codes: integer products with the digits
// of x. Layout    a code a word, digits of 16 bits; digits_avx512vnni.h. Tile      two rows of W
// far apart, a step of x at a time: digits.h. Numerics  vpdpwssd into 32-bit sums, exact; digits.h.
// Needs     AVX-512 F, BW, VNNI.
// Tail      digits.h: x is zero outside a chunk, the row's last codes from a zero-filled copy.
#include "cpu/matmul_wna16/digits_avx512vnni.h"

namespace esp {

matmul_wna16_kernel matmul_wna16_avx512vnni_digits;

void matmul_wna16_avx512vnni_digits(const packed_operands& o) {
  multiply_packed(stream_avx512vnni(o.bits), o);
}

}  // namespace esp
