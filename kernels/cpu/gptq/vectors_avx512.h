// SPDX-License-Identifier: Apache-2.0
//
// The vector type that gptq_lanes.h and prune_lanes.h are written over, in AVX-512 F, DQ; internal
// to each instruction-set file that includes it.
#ifndef ESPALIER_GPTQ_VECTORS_AVX512_H
#define ESPALIER_GPTQ_VECTORS_AVX512_H

#include <immintrin.h>
#include <stdint.h>

namespace esp {
namespace {

struct vectors_avx512 {
  using f64 = __m512d;
  using f32 = __m512;
  static constexpr int64_t lanes = 16;
  static f64 load(const double* p) { return _mm512_loadu_pd(p); }
  static f32 load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(double* p, f64 x) { _mm512_storeu_pd(p, x); }
  static void store(float* p, f32 x) { _mm512_storeu_ps(p, x); }
  static f64 set1(double x) { return _mm512_set1_pd(x); }
  static f32 set1(float x) { return _mm512_set1_ps(x); }
  static f64 add(f64 a, f64 b) { return _mm512_add_pd(a, b); }
  static f32 add(f32 a, f32 b) { return _mm512_add_ps(a, b); }
  static f64 sub(f64 a, f64 b) { return _mm512_sub_pd(a, b); }
  static f32 sub(f32 a, f32 b) { return _mm512_sub_ps(a, b); }
  static f64 mul(f64 a, f64 b) { return _mm512_mul_pd(a, b); }
  static f32 mul(f32 a, f32 b) { return _mm512_mul_ps(a, b); }
  static f64 div(f64 a, f64 b) { return _mm512_div_pd(a, b); }
  static f32 div(f32 a, f32 b) { return _mm512_div_ps(a, b); }
  static f32 min(f32 a, f32 b) { return _mm512_min_ps(a, b); }
  static f32 max(f32 a, f32 b) { return _mm512_max_ps(a, b); }
  static f64 wide_low(f32 x) { return _mm512_cvtps_pd(_mm512_castps512_ps256(x)); }
  static f64 wide_high(f32 x) { return _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1)); }
  static f32 narrow(f64 low, f64 high) {
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low)), _mm512_cvtpd_ps(high),
                              1);
  }
  static void store_codes(int8_t* p, f32 q) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(q)));
  }
  static f32 abs(f32 x) { return _mm512_abs_ps(x); }
  static f32 where_less(f32 a, f32 b, f32 x) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), _mm512_setzero_ps(), x);
  }
};

}  // namespace
}  // namespace esp

#endif  // ESPALIER_GPTQ_VECTORS_AVX512_H
