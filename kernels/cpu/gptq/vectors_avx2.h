// SPDX-License-Identifier: Apache-2.0
//
// The vector type that gptq_lanes.h and prune_lanes.h are written over, in AVX2; internal to each
// instruction-set file that includes it.
#ifndef ESPALIER_GPTQ_VECTORS_AVX2_H
#define ESPALIER_GPTQ_VECTORS_AVX2_H

#include <immintrin.h>
#include <stdint.h>

namespace esp {
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
  static f32 abs(f32 x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }
  static f32 where_less(f32 a, f32 b, f32 x) {
    return _mm256_and_ps(_mm256_cmp_ps(a, b, _CMP_LT_OQ), x);
  }
};

}  // namespace
}  // namespace esp

#endif  // ESPALIER_GPTQ_VECTORS_AVX2_H
