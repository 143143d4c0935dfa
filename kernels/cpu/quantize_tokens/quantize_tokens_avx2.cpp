// SPDX-License-Identifier: Apache-2.0
//
// What      int8 codes of one token and their scale.
// Tile      a row, 32 columns at a time.
// Numerics  int8_operations.h: largest magnitude as an integer, true divisions, half to even.
// Needs     AVX2.
// Tail      column by column.
#include <immintrin.h>

#include "layout/token.h"
#include "operations.h"

namespace esp {

quantize_tokens_kernel quantize_tokens_avx2;

namespace {

inline __m256i magnitudes(const float* p) {
  return _mm256_and_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
                          _mm256_set1_epi32(0x7fffffff));
}

inline __m256i codes_of(const float* p, __m256 scale) {
  const __m256 quotient = _mm256_div_ps(_mm256_loadu_ps(p), scale);
  const __m256 low = _mm256_set1_ps(-128.0f), high = _mm256_set1_ps(127.0f);
  return _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(quotient, low), high));
}

}  // namespace

void quantize_tokens_avx2(int64_t cols, const float* x, int8_t* codes, float* scale) {
  __m256i most8 = _mm256_setzero_si256();
  int64_t c = 0;
  for (; c + 8 <= cols; c += 8) most8 = _mm256_max_epi32(most8, magnitudes(x + c));
  alignas(32) uint32_t lanes[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), most8);
  uint32_t most = 0;
  for (uint32_t lane : lanes) most = lane > most ? lane : most;
  for (; c < cols; c++) {
    const uint32_t magnitude = bits_of(x[c]) & 0x7fffffffu;
    most = magnitude > most ? magnitude : most;
  }
  *scale = token_scale(most);
  if (most >= token_not_finite) {
    for (c = 0; c < cols; c++) codes[c] = 0;
    return;
  }
  const __m256 divisor = _mm256_set1_ps(*scale);
  // Packing works within halves; this puts the dwords of bytes back in order.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  for (c = 0; c + 32 <= cols; c += 32) {
    const __m256i a = _mm256_packs_epi32(codes_of(x + c, divisor), codes_of(x + c + 8, divisor));
    const __m256i b =
        _mm256_packs_epi32(codes_of(x + c + 16, divisor), codes_of(x + c + 24, divisor));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + c),
                        _mm256_permutevar8x32_epi32(_mm256_packs_epi16(a, b), order));
  }
  for (; c < cols; c++)
    codes[c] = static_cast<int8_t>(round_half_even(clamp(x[c] / *scale, -128.0f, 127.0f)));
}

}  // namespace esp
