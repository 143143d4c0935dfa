// SPDX-License-Identifier: Apache-2.0
//
// The vector of an AVX2 kernel: 8 fp32 or 4 fp64 lanes. The kernels of this folder are written once
// (<group>.h) over these names; lanes_avx512.h gives the same names with 16 and 8 lanes. A file
// includes exactly one of the two. Everything has internal linkage.
//
// `count` of a tail is in [0, lanes]; lanes beyond it are 0 and their memory is not touched.
#ifndef ESPALIER_LANES_AVX2_H
#define ESPALIER_LANES_AVX2_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

namespace esp {
namespace {

constexpr int64_t lanes = 8;
constexpr int64_t lanes64 = 4;
// Rows and vectors of a register block: 4 * 2 accumulators of 16 registers.
constexpr int64_t registers = 16;

using f32s = __m256;
using f64s = __m256d;

// ---- fp32

inline f32s zeros() {
  return _mm256_setzero_ps();
}
inline f32s every(float x) {
  return _mm256_set1_ps(x);
}
inline f32s load(const float* p) {
  return _mm256_loadu_ps(p);
}
inline void store(float* p, f32s x) {
  _mm256_storeu_ps(p, x);
}
inline __m256i tail_mask(int64_t count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int32_t>(count)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline f32s load_tail(const float* p, int64_t count) {
  return _mm256_maskload_ps(p, tail_mask(count));
}
inline void store_tail(float* p, f32s x, int64_t count) {
  _mm256_maskstore_ps(p, tail_mask(count), x);
}
inline f32s add(f32s a, f32s b) {
  return _mm256_add_ps(a, b);
}
inline f32s subtract(f32s a, f32s b) {
  return _mm256_sub_ps(a, b);
}
inline f32s multiply(f32s a, f32s b) {
  return _mm256_mul_ps(a, b);
}
inline f32s divide(f32s a, f32s b) {
  return _mm256_div_ps(a, b);
}
inline f32s square_root(f32s x) {
  return _mm256_sqrt_ps(x);
}
// a * b + c and c - a * b, rounded once.
inline f32s fma(f32s a, f32s b, f32s c) {
  return _mm256_fmadd_ps(a, b, c);
}
inline f32s fnma(f32s a, f32s b, f32s c) {
  return _mm256_fnmadd_ps(a, b, c);
}
// The second operand when either is NaN.
inline f32s larger(f32s a, f32s b) {
  return _mm256_max_ps(a, b);
}
inline f32s smaller(f32s a, f32s b) {
  return _mm256_min_ps(a, b);
}
inline f32s magnitude(f32s x) {
  return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}
// a where x < 0, else b.
inline f32s where_negative(f32s x, f32s a, f32s b) {
  return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_LT_OQ));
}
// The first `count` lanes of x, the others `rest`.
inline f32s keep(f32s x, int64_t count, f32s rest) {
  return _mm256_blendv_ps(rest, x, _mm256_castsi256_ps(tail_mask(count)));
}
inline f32s nearest_integer(f32s x) {
  return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// x * 2^n for integers |n| <= 252 in n, correct through subnormal results: two factors.
inline f32s scale_by_power(f32s x, f32s n) {
  const __m256i whole = _mm256_cvtps_epi32(n);
  const __m256i half = _mm256_srai_epi32(whole, 1);
  const __m256i rest = _mm256_sub_epi32(whole, half);
  const __m256i bias = _mm256_set1_epi32(127);
  const f32s first = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
  const f32s second = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
  return _mm256_mul_ps(_mm256_mul_ps(x, first), second);
}
inline float sum(f32s x) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
inline float maximum(f32s x) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
// Eight lanes with the same sum.
inline __m256 fold_to_eight(f32s x) {
  return x;
}
// Bit i is set when lane i of a equals lane i of b.
inline uint32_t equal_lanes(f32s a, f32s b) {
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_EQ_OQ)));
}
// Bit i is set when lane i is NaN or infinite.
inline uint32_t nonfinite_lanes(f32s x) {
  const f32s infinity = _mm256_castsi256_ps(_mm256_set1_epi32(0x7F800000));
  return static_cast<uint32_t>(
      _mm256_movemask_ps(_mm256_cmp_ps(magnitude(x), infinity, _CMP_NLT_UQ)));
}

// ---- 16-bit formats

inline f32s widen_bf16(__m128i codes) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(codes), 16));
}
inline __m128i codes_tail(const uint16_t* p, int64_t count) {
  alignas(16) uint16_t copy[8] = {};
  for (int64_t i = 0; i < count; i++) copy[i] = p[i];
  return _mm_load_si128(reinterpret_cast<const __m128i*>(copy));
}
inline void store_codes_tail(uint16_t* p, __m128i codes, int64_t count) {
  alignas(16) uint16_t copy[8];
  _mm_store_si128(reinterpret_cast<__m128i*>(copy), codes);
  for (int64_t i = 0; i < count; i++) p[i] = copy[i];
}
inline __m128i codes(const uint16_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}
inline void store_codes(uint16_t* p, __m128i codes) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), codes);
}
inline f32s load_bf16(const uint16_t* p) {
  return widen_bf16(codes(p));
}
inline f32s load_bf16_tail(const uint16_t* p, int64_t count) {
  return widen_bf16(codes_tail(p, count));
}
inline f32s load_f16(const uint16_t* p) {
  return _mm256_cvtph_ps(codes(p));
}
inline f32s load_f16_tail(const uint16_t* p, int64_t count) {
  return _mm256_cvtph_ps(codes_tail(p, count));
}
inline __m128i narrow_f16(f32s x) {
  return _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// To nearest even: add 0x7FFF and the last kept bit, drop 16 bits. A NaN is made quiet instead.
inline __m128i narrow_bf16(f32s x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i last = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(last, _mm256_set1_epi32(0x7FFF)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x00400000));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  const __m256i high = _mm256_srli_epi32(_mm256_blendv_epi8(up, quiet, nan), 16);
  return _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
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
// Bit i is set when all bits of `exponent` are set in code i of `lanes` codes.
inline uint32_t full_exponents(__m128i codes, uint16_t exponent) {
  const __m128i mask = _mm_set1_epi16(static_cast<int16_t>(exponent));
  const __m128i full = _mm_cmpeq_epi16(_mm_and_si128(codes, mask), mask);
  return static_cast<uint32_t>(_mm_movemask_epi8(_mm_packs_epi16(full, _mm_setzero_si128())));
}

// ---- fp64

inline f64s zeros64() {
  return _mm256_setzero_pd();
}
inline f64s every64(double x) {
  return _mm256_set1_pd(x);
}
// The first and the last lanes64 lanes, widened.
inline f64s low_half(f32s x) {
  return _mm256_cvtps_pd(_mm256_castps256_ps128(x));
}
inline f64s high_half(f32s x) {
  return _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1));
}
inline f32s join(f64s low, f64s high) {
  return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps(low)), _mm256_cvtpd_ps(high),
                              1);
}
inline f64s add(f64s a, f64s b) {
  return _mm256_add_pd(a, b);
}
inline f64s subtract(f64s a, f64s b) {
  return _mm256_sub_pd(a, b);
}
inline f64s multiply(f64s a, f64s b) {
  return _mm256_mul_pd(a, b);
}
inline f64s fma(f64s a, f64s b, f64s c) {
  return _mm256_fmadd_pd(a, b, c);
}
inline f64s fnma(f64s a, f64s b, f64s c) {
  return _mm256_fnmadd_pd(a, b, c);
}
inline f64s larger(f64s a, f64s b) {
  return _mm256_max_pd(a, b);
}
inline f64s smaller(f64s a, f64s b) {
  return _mm256_min_pd(a, b);
}
// x where w is not 0 (NaN counts as not 0), else 0.
inline f64s where_nonzero(f64s w, f64s x) {
  return _mm256_and_pd(_mm256_cmp_pd(w, _mm256_setzero_pd(), _CMP_NEQ_UQ), x);
}
inline f64s nearest_integer(f64s x) {
  return _mm256_round_pd(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// x * 2^n for integers |n| <= 2044 in n, correct through subnormal results: two factors.
inline f64s scale_by_power(f64s x, f64s n) {
  const __m128i whole = _mm256_cvtpd_epi32(n);
  const __m128i half = _mm_srai_epi32(whole, 1);
  const __m128i bias = _mm_set1_epi32(1023);
  const __m256i first = _mm256_cvtepi32_epi64(_mm_add_epi32(half, bias));
  const __m256i second = _mm256_cvtepi32_epi64(_mm_add_epi32(_mm_sub_epi32(whole, half), bias));
  return _mm256_mul_pd(_mm256_mul_pd(x, _mm256_castsi256_pd(_mm256_slli_epi64(first, 52))),
                       _mm256_castsi256_pd(_mm256_slli_epi64(second, 52)));
}
inline double sum(f64s x) {
  const __m128d s = _mm_add_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd(x, 1));
  return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_LANES_AVX2_H
