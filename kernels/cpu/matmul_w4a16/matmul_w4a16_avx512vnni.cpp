// SPDX-License-Identifier: Apache-2.0
//
// What      y = x . W^T + bias from 4-bit codes: integer products with the digits of x.
// Layout    a nibble a byte, digits of 8 bits; digits_avx512vnni.h.
// Tile      two rows of W far apart, a step of x at a time: digits.h.
// Numerics  vpdpbusd into 32-bit sums, exact; digits.h.
// Needs     AVX-512 F, BW, VNNI.
// Tail      digits.h: x is zero outside a chunk, the row's last codes from a zero-filled copy.
#include "cpu/matmul_wna16/digits_avx512vnni.h"

namespace esp {

matmul_w4a16_kernel matmul_w4a16_avx512vnni_digits;

void matmul_w4a16_avx512vnni_digits(const packed_operands& o) {
  multiply_packed(nibbles_avx512vnni{}, o);
}

}  // namespace esp
