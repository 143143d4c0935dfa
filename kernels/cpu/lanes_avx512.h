// SPDX-License-Identifier: Apache-2.0
//
// The vector of an AVX-512 kernel (F, BW, DQ, VL): 16 fp32 or 8 fp64 lanes, under the names of
// lanes_avx2.h, which says what each of them means. Tails are masked.
#ifndef ESPALIER_LANES_AVX512_H
#define ESPALIER_LANES_AVX512_H

#include <immintrin.h>
#include <stdint.h>

namespace esp {
namespace {

constexpr int64_t lanes = 16;
constexpr int64_t lanes64 = 8;
constexpr int64_t registers = 32;

using f32s = __m512;
using f64s = __m512d;

// ---- fp32

inline f32s zeros() {
  return _mm512_setzero_ps();
}
inline f32s every(float x) {
  return _mm512_set1_ps(x);
}
inline f32s load(const float* p) {
  return _mm512_loadu_ps(p);
}
inline void store(float* p, f32s x) {
  _mm512_storeu_ps(p, x);
}
inline __mmask16 tail_mask(int64_t count) {
  return static_cast<__mmask16>((1u << count) - 1u);
}
inline f32s load_tail(const float* p, int64_t count) {
  return _mm512_maskz_loadu_ps(tail_mask(count), p);
}
inline void store_tail(float* p, f32s x, int64_t count) {
  _mm512_mask_storeu_ps(p, tail_mask(count), x);
}
inline f32s add(f32s a, f32s b) {
  return _mm512_add_ps(a, b);
}
inline f32s subtract(f32s a, f32s b) {
  return _mm512_sub_ps(a, b);
}
inline f32s multiply(f32s a, f32s b) {
  return _mm512_mul_ps(a, b);
}
inline f32s divide(f32s a, f32s b) {
  return _mm512_div_ps(a, b);
}
inline f32s square_root(f32s x) {
  return _mm512_sqrt_ps(x);
}
inline f32s fma(f32s a, f32s b, f32s c) {
  return _mm512_fmadd_ps(a, b, c);
}
inline f32s fnma(f32s a, f32s b, f32s c) {
  return _mm512_fnmadd_ps(a, b, c);
}
inline f32s larger(f32s a, f32s b) {
  return _mm512_max_ps(a, b);
}
inline f32s smaller(f32s a, f32s b) {
  return _mm512_min_ps(a, b);
}
inline f32s magnitude(f32s x) {
  return _mm512_abs_ps(x);
}
inline f32s where_negative(f32s x, f32s a, f32s b) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ), b, a);
}
inline f32s keep(f32s x, int64_t count, f32s rest) {
  return _mm512_mask_blend_ps(tail_mask(count), rest, x);
}
inline f32s nearest_integer(f32s x) {
  return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline f32s scale_by_power(f32s x, f32s n) {
  return _mm512_scalef_ps(x, n);
}
inline float sum(f32s x) {
  return _mm512_reduce_add_ps(x);
}
inline float maximum(f32s x) {
  return _mm512_reduce_max_ps(x);
}
inline __m256 fold_to_eight(f32s x) {
  return _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
}
inline uint32_t equal_lanes(f32s a, f32s b) {
  return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}
inline uint32_t nonfinite_lanes(f32s x) {
  const f32s infinity = _mm512_castsi512_ps(_mm512_set1_epi32(0x7F800000));
  return _mm512_cmp_ps_mask(_mm512_abs_ps(x), infinity, _CMP_NLT_UQ);
}

// ---- 16-bit formats

inline f32s widen_bf16(__m256i codes) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(codes), 16));
}
inline __m256i codes(const uint16_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
inline __m256i codes_tail(const uint16_t* p, int64_t count) {
  return _mm256_maskz_loadu_epi16(tail_mask(count), p);
}
inline void store_codes(uint16_t* p, __m256i codes) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), codes);
}
inline void store_codes_tail(uint16_t* p, __m256i codes, int64_t count) {
  _mm256_mask_storeu_epi16(p, tail_mask(count), codes);
}
inline f32s load_bf16(const uint16_t* p) {
  return widen_bf16(codes(p));
}
inline f32s load_bf16_tail(const uint16_t* p, int64_t count) {
  return widen_bf16(codes_tail(p, count));
}
inline f32s load_f16(const uint16_t* p) {
  return _mm512_cvtph_ps(codes(p));
}
inline f32s load_f16_tail(const uint16_t* p, int64_t count) {
  return _mm512_cvtph_ps(codes_tail(p, count));
}
inline __m256i narrow_f16(f32s x) {
  return _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline __m256i narrow_bf16(f32s x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i last = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(last, _mm512_set1_epi32(0x7FFF)));
  const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x00400000));
  const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_mask_blend_epi32(nan, up, quiet), 16));
}
inline void store_bf16(uint16_t* p, f32s x) {
  store_codes(p, narrow_bf16(x));
}
inline void store_bf16_tail(uint16_t* p, f32s x, int64_t count) {
  store_codes_tail(p, narrow_bf16(x), count);
}
inline void store_f16(uint16_t* p, f32s x) {
  store_codes(p, narrow_f16(x));
}
inline void store_f16_tail(uint16_t* p, f32s x, int64_t count) {
  store_codes_tail(p, narrow_f16(x), count);
}
inline uint32_t full_exponents(__m256i codes, uint16_t exponent) {
  const __m256i mask = _mm256_set1_epi16(static_cast<int16_t>(exponent));
  return _mm256_cmpeq_epi16_mask(_mm256_and_si256(codes, mask), mask);
}

// ---- fp64

inline f64s zeros64() {
  return _mm512_setzero_pd();
}
inline f64s every64(double x) {
  return _mm512_set1_pd(x);
}
inline f64s low_half(f32s x) {
  return _mm512_cvtps_pd(_mm512_castps512_ps256(x));
}
inline f64s high_half(f32s x) {
  return _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1));
}
inline f32s join(f64s low, f64s high) {
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low)), _mm512_cvtpd_ps(high), 1);
}
inline f64s add(f64s a, f64s b) {
  return _mm512_add_pd(a, b);
}
inline f64s subtract(f64s a, f64s b) {
  return _mm512_sub_pd(a, b);
}
inline f64s multiply(f64s a, f64s b) {
  return _mm512_mul_pd(a, b);
}
inline f64s fma(f64s a, f64s b, f64s c) {
  return _mm512_fmadd_pd(a, b, c);
}
inline f64s fnma(f64s a, f64s b, f64s c) {
  return _mm512_fnmadd_pd(a, b, c);
}
inline f64s larger(f64s a, f64s b) {
  return _mm512_max_pd(a, b);
}
inline f64s smaller(f64s a, f64s b) {
  return _mm512_min_pd(a, b);
}
inline f64s where_nonzero(f64s w, f64s x) {
  return _mm512_maskz_mov_pd(_mm512_cmp_pd_mask(w, _mm512_setzero_pd(), _CMP_NEQ_UQ), x);
}
inline f64s nearest_integer(f64s x) {
  return _mm512_roundscale_pd(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline f64s scale_by_power(f64s x, f64s n) {
  return _mm512_scalef_pd(x, n);
}
inline double sum(f64s x) {
  return _mm512_reduce_add_pd(x);
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_LANES_AVX512_H
