// SPDX-License-Identifier: Apache-2.0
//
// What      The kept fp32 weights of a dense row.
// Layout    layout/sparse.h.
// Tile      Sixteen columns: compressed in a register (to memory it is far slower) and stored
//           under a mask.
// Numerics  exact.
// Needs     AVX-512 F.
// Tail      Masked.
#include <immintrin.h>

#include "operations.h"

namespace esp {

sparse_collect_f32_kernel sparse_collect_f32_avx512;

void sparse_collect_f32_avx512(int64_t cols, const uint8_t* bitmask, const float* w, float* kept) {
  for (int64_t c = 0; c < cols; c += 16) {
    const uint32_t high = c + 8 < cols ? bitmask[c / 8 + 1] : 0u;
    const __mmask16 mask = static_cast<__mmask16>(bitmask[c / 8] | high << 8);
    const int32_t count = __builtin_popcount(mask);
    const __m512 row = _mm512_maskz_loadu_ps(mask, w + c);
    _mm512_mask_storeu_ps(kept, static_cast<__mmask16>((1u << count) - 1u),
                          _mm512_maskz_compress_ps(mask, row));
    kept += count;
  }
}

}  // namespace esp
