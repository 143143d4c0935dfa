// SPDX-License-Identifier: Apache-2.0
//
// What      Ranges and codes of a row, 8 columns at a time: quantize_lanes.h over AVX2.
// Layout    a row of weights, groups of consecutive columns.
// Tile      one row.
// Numerics  the bits of the reference; no fused operation.
// Needs     AVX2.
// Tail      quantize_lanes.h.
#include <immintrin.h>

#include "cpu/quantize/quantize_lanes.h"

namespace esp {

quantize_range_kernel quantize_range_avx2;
quantize_nearest_kernel quantize_nearest_avx2;

namespace {

struct vectors_avx2 {
  using f32 = __m256;
  using i32 = __m256i;
  static constexpr int64_t lanes = 8;
  static f32 load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, f32 x) { _mm256_storeu_ps(p, x); }
  static f32 set1(float x) { return _mm256_set1_ps(x); }
  static f32 add(f32 a, f32 b) { return _mm256_add_ps(a, b); }
  static f32 sub(f32 a, f32 b) { return _mm256_sub_ps(a, b); }
  static f32 mul(f32 a, f32 b) { return _mm256_mul_ps(a, b); }
  static f32 div(f32 a, f32 b) { return _mm256_div_ps(a, b); }
  static f32 min(f32 a, f32 b) { return _mm256_min_ps(a, b); }
  static f32 max(f32 a, f32 b) { return _mm256_max_ps(a, b); }
  static f32 magnitude(f32 x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }
  static i32 set1(uint32_t x) { return _mm256_set1_epi32(static_cast<int32_t>(x)); }
  static i32 add(i32 a, i32 b) { return _mm256_add_epi32(a, b); }
  static i32 sub(i32 a, i32 b) { return _mm256_sub_epi32(a, b); }
  static i32 left_23(i32 x) { return _mm256_slli_epi32(x, 23); }
  static i32 right_23(i32 x) { return _mm256_srli_epi32(x, 23); }
  static i32 bits(f32 x) { return _mm256_castps_si256(x); }
  static f32 floats(i32 x) { return _mm256_castsi256_ps(x); }
  static f32 to_f32(i32 x) { return _mm256_cvtepi32_ps(x); }
  static i32 to_i32(f32 x) { return _mm256_cvtps_epi32(x); }
  static void accumulate(double* sums, f32 x) {
    _mm256_storeu_pd(
        sums, _mm256_add_pd(_mm256_loadu_pd(sums), _mm256_cvtps_pd(_mm256_castps256_ps128(x))));
    _mm256_storeu_pd(sums + 4, _mm256_add_pd(_mm256_loadu_pd(sums + 4),
                                             _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1))));
  }
  static void store_codes(int8_t* p, f32 q) {
    const __m256i words = _mm256_cvtps_epi32(q);
    const __m128i shorts =
        _mm_packs_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(shorts, shorts));
  }
};

}  // namespace

void quantize_range_avx2(int64_t cols, int64_t group, const float* w, const range_options* options,
                         float* scales, int8_t* zeros) {
  range_lanes<vectors_avx2>(cols, group, w, *options, scales, zeros);
}

void quantize_nearest_avx2(int64_t cols, const float* w, int32_t bits, float shifter, int64_t group,
                           const float* scales, const int8_t* zeros, int8_t* codes) {
  nearest_lanes<vectors_avx2>(cols, w, bits, shifter, group, scales, zeros, codes);
}

}  // namespace esp
