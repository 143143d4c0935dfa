// SPDX-License-Identifier: Apache-2.0
//
// What      W itself from its codes of 2 to 8 bits.
// Layout    eight codes are exactly `bits` bytes; decoders_avx512.h.
// Tile      row by row: widen_rows.h.
// Numerics  one product rounded once: the bits of the reference.
// Needs     AVX-512 F, BW.
// Tail      widen_rows.h: masked w, codes from a zero-filled copy.
#include "cpu/dequantize/decoders_avx512.h"

namespace esp {

dequantize_kernel dequantize_avx512;

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
