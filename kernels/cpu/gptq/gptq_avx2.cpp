// SPDX-License-Identifier: Apache-2.0
//
// What      Preview and rounding of one block of GPTQ columns: gptq_lanes.h over AVX2.
// Layout    gptq_lanes.h; a strip is 16 rows, four vectors of 4 doubles.
// Tile      64 rows, at most 128 columns.
// Numerics  the bits of the reference; no fused operation.
// Needs     AVX2.
// Tail      none.
#include <immintrin.h>

#include "cpu/gptq/gptq_lanes.h"

namespace esp {

gptq_preview_kernel gptq_preview_avx2;
gptq_columns_kernel gptq_columns_avx2;

namespace {

struct vectors_avx2 {
  using f64 = __m256d;
  using f32 = __m256;
  static constexpr int64_t lanes = 8;
  static f64 load(const double* p) { return _mm256_loadu_pd(p); }
  static f32 load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(double* p, f64 x) { _mm256_storeu_pd(p, x); }
  static void store(float* p, f32 x) { _mm256_storeu_ps(p, x); }
  static f64 set1(double x) { return _mm256_set1_pd(x); }
  static f32 set1(float x) { return _mm256_set1_ps(x); }
  static f64 add(f64 a, f64 b) { return _mm256_add_pd(a, b); }
  static f32 add(f32 a, f32 b) { return _mm256_add_ps(a, b); }
  static f64 sub(f64 a, f64 b) { return _mm256_sub_pd(a, b); }
  static f32 sub(f32 a, f32 b) { return _mm256_sub_ps(a, b); }
  static f64 mul(f64 a, f64 b) { return _mm256_mul_pd(a, b); }
  static f32 mul(f32 a, f32 b) { return _mm256_mul_ps(a, b); }
  static f64 div(f64 a, f64 b) { return _mm256_div_pd(a, b); }
  static f32 div(f32 a, f32 b) { return _mm256_div_ps(a, b); }
  static f32 min(f32 a, f32 b) { return _mm256_min_ps(a, b); }
  static f32 max(f32 a, f32 b) { return _mm256_max_ps(a, b); }
  static f32 round(f32 x) {
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static f64 wide_low(f32 x) { return _mm256_cvtps_pd(_mm256_castps256_ps128(x)); }
  static f64 wide_high(f32 x) { return _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1)); }
  static f32 narrow(f64 low, f64 high) {
    return _mm256_set_m128(_mm256_cvtpd_ps(high), _mm256_cvtpd_ps(low));
  }
  static void store_codes(int8_t* p, f32 q) {
    const __m256i words = _mm256_cvtps_epi32(q);
    const __m128i shorts =
        _mm_packs_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(shorts, shorts));
  }
};

}  // namespace

void gptq_preview_avx2(const gptq_panels* panels, int64_t first, int64_t last, float* low,
                       float* high) {
  preview_lanes<vectors_avx2>(*panels, first, last, low, high);
}

void gptq_columns_avx2(const gptq_panels* panels, int64_t first, int64_t last, int32_t bits,
                       const int32_t* groups, const float* scales, const float* zeros,
                       float* values, int8_t* codes) {
  round_lanes<vectors_avx2>(*panels, first, last, bits, groups, scales, zeros, values, codes);
}

}  // namespace esp
