// SPDX-License-Identifier: Apache-2.0
//
// What      int8 codes of one token and their scale.
// Tile      a row, 16 columns at a time.
// Numerics  int8_operations.h: largest magnitude as an integer, true divisions, half to even.
// Needs     AVX-512 F.
// Tail      masked loads, bytes from a copy.
#include <immintrin.h>

#include "layout/token.h"
#include "operations.h"

namespace esp {

quantize_tokens_kernel quantize_tokens_avx512;

namespace {

inline __mmask16 first_lanes(int64_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xffffu : (1u << count) - 1u);
}

}  // namespace

void quantize_tokens_avx512(int64_t cols, const float* x, int8_t* codes, float* scale) {
  __m512i most16 = _mm512_setzero_si512();
  for (int64_t c = 0; c < cols; c += 16) {
    const __m512i bits = _mm512_castps_si512(_mm512_maskz_loadu_ps(first_lanes(cols - c), x + c));
    most16 = _mm512_max_epi32(most16, _mm512_and_si512(bits, _mm512_set1_epi32(0x7fffffff)));
  }
  alignas(64) uint32_t lanes[16];
  _mm512_storeu_si512(lanes, most16);
  uint32_t most = 0;
  for (uint32_t lane : lanes) most = lane > most ? lane : most;
  *scale = token_scale(most);
  if (most >= token_not_finite) {
    for (int64_t c = 0; c < cols; c++) codes[c] = 0;
    return;
  }
  const __m512 divisor = _mm512_set1_ps(*scale);
  const __m512 low = _mm512_set1_ps(-128.0f), high = _mm512_set1_ps(127.0f);
  for (int64_t c = 0; c < cols; c += 16) {
    const __mmask16 some = first_lanes(cols - c);
    const __m512 quotient = _mm512_div_ps(_mm512_maskz_loadu_ps(some, x + c), divisor);
    const __m128i bytes =
        _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(quotient, low), high)));
    if (cols - c >= 16) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + c), bytes);
    } else {
      alignas(16) int8_t last[16];
      _mm_store_si128(reinterpret_cast<__m128i*>(last), bytes);
      for (int64_t j = 0; j < cols - c; j++) codes[c + j] = last[j];
    }
  }
}

}  // namespace esp
