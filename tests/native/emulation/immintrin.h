// SPDX-License-Identifier: Apache-2.0
//
// AVX-512 in scalar loops, so that the AVX-512 kernels run on a CPU without it: their sources are
// compiled a second time with this folder first on the include path (cmake/emulation). The 128- and
// 256-bit types and their AVX2 intrinsics stay the real ones; 512-bit types are structs, and every
// masked or 512-bit intrinsic a kernel uses is one function here and one #define at the end. An
// intrinsic that is missing fails to compile ("target specific option mismatch"): add it.
//
// Masked-off lanes of a load or store do not touch memory. Rounding is to nearest even.
#ifndef ESPALIER_EMULATED_IMMINTRIN_H
#define ESPALIER_EMULATED_IMMINTRIN_H

#include_next <immintrin.h>

#include <math.h>
#include <stdint.h>
#include <string.h>

namespace esp {
namespace emulated {

struct m512 {
  float at[16];
};
struct m512d {
  double at[8];
};
struct m512i {
  uint32_t at[16];
};

// ---- helpers

// The lanes of a register as elements of another type, and back.
template <class T, class V>
struct view {
  T at[sizeof(V) / sizeof(T)];
  explicit view(const V& v) { memcpy(at, &v, sizeof v); }
};
template <class V, class T, size_t n>
inline V pack(const T (&at)[n]) {
  static_assert(sizeof at == sizeof(V), "a register of another size");
  V v;
  memcpy(&v, at, sizeof v);
  return v;
}
template <class V, class T, class F>
inline V make(F f) {
  constexpr int n = static_cast<int>(sizeof(V) / sizeof(T));
  T at[n];
  for (int i = 0; i < n; i++) at[i] = f(i);
  return pack<V>(at);
}
template <class F>
inline m512 floats(F f) {
  return make<m512, float>(f);
}
template <class F>
inline m512d doubles(F f) {
  return make<m512d, double>(f);
}
template <class F>
inline m512i words(F f) {
  return make<m512i, uint32_t>(f);
}
template <class V, class T>
inline V masked_load(uint64_t mask, const void* p, const V& rest) {
  view<T, V> v(rest);
  for (size_t i = 0; i < sizeof(V) / sizeof(T); i++)
    if (mask >> i & 1u) memcpy(&v.at[i], static_cast<const T*>(p) + i, sizeof(T));
  return pack<V>(v.at);
}
template <class V, class T>
inline void masked_store(void* p, uint64_t mask, const V& x) {
  const view<T, V> v(x);
  for (size_t i = 0; i < sizeof(V) / sizeof(T); i++)
    if (mask >> i & 1u) memcpy(static_cast<T*>(p) + i, &v.at[i], sizeof(T));
}
template <class T>
inline bool compares(T a, T b, int predicate) {
  switch (predicate & 15) {  // bit 4 only changes signalling
    case _CMP_EQ_OQ:
      return a == b;
    case _CMP_LT_OS:
      return a < b;
    case _CMP_LE_OS:
      return a <= b;
    case _CMP_UNORD_Q:
      return a != a || b != b;
    case _CMP_NEQ_UQ:
      return !(a == b);
    case _CMP_NLT_US:
      return !(a < b);
    case _CMP_NLE_US:
      return !(a <= b);
    case _CMP_ORD_Q:
      return a == a && b == b;
    case _CMP_NEQ_OQ:
      return a < b || a > b;
    case _CMP_GE_OS:
      return a >= b;
    case _CMP_GT_OS:
      return a > b;
    default:
      return false;
  }
}
inline double rounded(double x, int mode) {
  switch (mode & 3) {
    case 1:
      return floor(x);
    case 2:
      return ceil(x);
    case 3:
      return trunc(x);
    default:
      return nearbyint(x);
  }
}
template <class T>
inline T scaled(T x, T n) {  // x * 2^floor(n), rounded once
  if (n != n || x != x) return x + n;
  const double bounded = n > 5000 ? 5000 : (n < -5000 ? -5000 : floor(static_cast<double>(n)));
  return static_cast<T>(ldexp(static_cast<double>(x), static_cast<int>(bounded)));
}

// ---- fp32

inline m512 mm512_setzero_ps() {
  return floats([](int) { return 0.0f; });
}
inline m512 mm512_set1_ps(float x) {
  return floats([=](int) { return x; });
}
inline m512 mm512_setr_ps(float x0, float x1, float x2, float x3, float x4, float x5, float x6,
                          float x7, float x8, float x9, float x10, float x11, float x12, float x13,
                          float x14, float x15) {
  const float at[16] = {x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15};
  return pack<m512>(at);
}
inline m512 mm512_loadu_ps(const void* p) {
  return masked_load<m512, float>(0xFFFF, p, m512{});
}
inline m512 mm512_maskz_loadu_ps(__mmask16 k, const void* p) {
  return masked_load<m512, float>(k, p, m512{});
}
inline void mm512_storeu_ps(void* p, m512 x) {
  masked_store<m512, float>(p, 0xFFFF, x);
}
inline void mm512_mask_storeu_ps(void* p, __mmask16 k, m512 x) {
  masked_store<m512, float>(p, k, x);
}
inline m512 mm512_add_ps(m512 a, m512 b) {
  return floats([&](int i) { return a.at[i] + b.at[i]; });
}
inline m512 mm512_sub_ps(m512 a, m512 b) {
  return floats([&](int i) { return a.at[i] - b.at[i]; });
}
inline m512 mm512_mul_ps(m512 a, m512 b) {
  return floats([&](int i) { return a.at[i] * b.at[i]; });
}
inline m512 mm512_div_ps(m512 a, m512 b) {
  return floats([&](int i) { return a.at[i] / b.at[i]; });
}
inline m512 mm512_sqrt_ps(m512 x) {
  return floats([&](int i) { return __builtin_sqrtf(x.at[i]); });
}
inline m512 mm512_max_ps(m512 a, m512 b) {
  return floats([&](int i) { return a.at[i] > b.at[i] ? a.at[i] : b.at[i]; });
}
inline m512 mm512_min_ps(m512 a, m512 b) {
  return floats([&](int i) { return a.at[i] < b.at[i] ? a.at[i] : b.at[i]; });
}
inline m512 mm512_fmadd_ps(m512 a, m512 b, m512 c) {
  return floats([&](int i) { return fmaf(a.at[i], b.at[i], c.at[i]); });
}
inline m512 mm512_fnmadd_ps(m512 a, m512 b, m512 c) {
  return floats([&](int i) { return fmaf(-a.at[i], b.at[i], c.at[i]); });
}
inline m512 mm512_abs_ps(m512 a) {
  return floats([&](int i) { return fabsf(a.at[i]); });
}
inline m512 mm512_roundscale_ps(m512 a, int mode) {
  return floats([&](int i) { return static_cast<float>(rounded(a.at[i], mode)); });
}
inline m512 mm512_scalef_ps(m512 a, m512 n) {
  return floats([&](int i) { return scaled(a.at[i], n.at[i]); });
}
inline m512 mm512_mask_blend_ps(__mmask16 k, m512 a, m512 b) {
  return floats([&](int i) { return k >> i & 1 ? b.at[i] : a.at[i]; });
}
inline __mmask16 mm512_cmp_ps_mask(m512 a, m512 b, int predicate) {
  uint32_t k = 0;
  for (int i = 0; i < 16; i++)
    k |= static_cast<uint32_t>(compares(a.at[i], b.at[i], predicate)) << i;
  return static_cast<__mmask16>(k);
}
inline m512 mm512_maskz_expand_ps(__mmask16 k, m512 a) {
  int next = 0;
  return floats([&](int i) { return (k >> i & 1) != 0 ? a.at[next++] : 0.0f; });
}
inline m512 mm512_maskz_compress_ps(__mmask16 k, m512 a) {
  m512 packed{};
  int next = 0;
  for (int i = 0; i < 16; i++)
    if ((k >> i & 1) != 0) packed.at[next++] = a.at[i];
  return packed;
}
inline m512 mm512_permutexvar_ps(m512i index, m512 a) {
  return floats([&](int i) { return a.at[index.at[i] & 15]; });
}
inline float mm512_reduce_add_ps(m512 a) {
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; i++) a.at[i] += a.at[i + half];
  return a.at[0];
}
inline float mm512_reduce_max_ps(m512 a) {
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; i++) a.at[i] = a.at[i] > a.at[i + half] ? a.at[i] : a.at[i + half];
  return a.at[0];
}
inline m512 mm512_castps256_ps512(__m256 a) {
  return masked_load<m512, float>(0xFF, &a, m512{});
}
inline __m256 mm512_castps512_ps256(m512 a) {
  return _mm256_loadu_ps(a.at);
}
inline __m256 mm512_extractf32x8_ps(m512 a, int half) {
  return _mm256_loadu_ps(a.at + 8 * half);
}
inline m512 mm512_insertf32x8(m512 a, __m256 b, int half) {
  _mm256_storeu_ps(a.at + 8 * half, b);
  return a;
}

// ---- fp64

inline m512d mm512_setzero_pd() {
  return doubles([](int) { return 0.0; });
}
inline m512d mm512_set1_pd(double x) {
  return doubles([=](int) { return x; });
}
inline m512d mm512_loadu_pd(const void* p) {
  return masked_load<m512d, double>(0xFF, p, m512d{});
}
inline m512d mm512_maskz_loadu_pd(__mmask8 k, const void* p) {
  return masked_load<m512d, double>(k, p, m512d{});
}
inline void mm512_storeu_pd(void* p, m512d x) {
  masked_store<m512d, double>(p, 0xFF, x);
}
inline void mm512_mask_storeu_pd(void* p, __mmask8 k, m512d x) {
  masked_store<m512d, double>(p, k, x);
}
inline m512d mm512_add_pd(m512d a, m512d b) {
  return doubles([&](int i) { return a.at[i] + b.at[i]; });
}
inline m512d mm512_sub_pd(m512d a, m512d b) {
  return doubles([&](int i) { return a.at[i] - b.at[i]; });
}
inline m512d mm512_mul_pd(m512d a, m512d b) {
  return doubles([&](int i) { return a.at[i] * b.at[i]; });
}
inline m512d mm512_div_pd(m512d a, m512d b) {
  return doubles([&](int i) { return a.at[i] / b.at[i]; });
}
inline m512d mm512_max_pd(m512d a, m512d b) {
  return doubles([&](int i) { return a.at[i] > b.at[i] ? a.at[i] : b.at[i]; });
}
inline m512d mm512_min_pd(m512d a, m512d b) {
  return doubles([&](int i) { return a.at[i] < b.at[i] ? a.at[i] : b.at[i]; });
}
inline m512d mm512_fmadd_pd(m512d a, m512d b, m512d c) {
  return doubles([&](int i) { return fma(a.at[i], b.at[i], c.at[i]); });
}
inline m512d mm512_fnmadd_pd(m512d a, m512d b, m512d c) {
  return doubles([&](int i) { return fma(-a.at[i], b.at[i], c.at[i]); });
}
inline m512d mm512_roundscale_pd(m512d a, int mode) {
  return doubles([&](int i) { return rounded(a.at[i], mode); });
}
inline m512d mm512_scalef_pd(m512d a, m512d n) {
  return doubles([&](int i) { return scaled(a.at[i], n.at[i]); });
}
inline m512d mm512_maskz_mov_pd(__mmask8 k, m512d a) {
  return doubles([&](int i) { return k >> i & 1 ? a.at[i] : 0.0; });
}
inline __mmask8 mm512_cmp_pd_mask(m512d a, m512d b, int predicate) {
  uint32_t k = 0;
  for (int i = 0; i < 8; i++)
    k |= static_cast<uint32_t>(compares(a.at[i], b.at[i], predicate)) << i;
  return static_cast<__mmask8>(k);
}
inline double mm512_reduce_add_pd(m512d a) {
  for (int half = 4; half > 0; half /= 2)
    for (int i = 0; i < half; i++) a.at[i] += a.at[i + half];
  return a.at[0];
}

// ---- conversion

inline m512d mm512_cvtps_pd(__m256 a) {
  const view<float, __m256> v(a);
  return doubles([&](int i) { return static_cast<double>(v.at[i]); });
}
inline __m256 mm512_cvtpd_ps(m512d a) {
  return make<__m256, float>([&](int i) { return static_cast<float>(a.at[i]); });
}
inline m512 mm512_cvtph_ps(__m256i a) {
  m512 wide;
  _mm256_storeu_ps(wide.at, _mm256_cvtph_ps(_mm256_castsi256_si128(a)));
  _mm256_storeu_ps(wide.at + 8, _mm256_cvtph_ps(_mm256_extracti128_si256(a, 1)));
  return wide;
}
inline __m256i mm512_cvtps_ph(m512 a, int) {
  const __m128i low = _mm256_cvtps_ph(_mm256_loadu_ps(a.at), 0);
  const __m128i high = _mm256_cvtps_ph(_mm256_loadu_ps(a.at + 8), 0);
  return _mm256_set_m128i(high, low);
}
inline m512i mm512_cvtps_epi32(m512 a) {
  return words([&](int i) { return static_cast<uint32_t>(_mm_cvtss_si32(_mm_set_ss(a.at[i]))); });
}
inline m512 mm512_cvtepi32_ps(m512i a) {
  return floats([&](int i) { return static_cast<float>(static_cast<int32_t>(a.at[i])); });
}
inline m512i mm512_cvtepu16_epi32(__m256i a) {
  const view<uint16_t, __m256i> v(a);
  return words([&](int i) { return v.at[i]; });
}
inline m512i mm512_cvtepi8_epi32(__m128i a) {
  const view<int8_t, __m128i> v(a);
  return words([&](int i) { return static_cast<uint32_t>(int32_t{v.at[i]}); });
}
inline m512i mm512_cvtepu8_epi32(__m128i a) {
  const view<uint8_t, __m128i> v(a);
  return words([&](int i) { return v.at[i]; });
}
inline __m256i mm512_cvtepi32_epi16(m512i a) {
  return make<__m256i, uint16_t>([&](int i) { return static_cast<uint16_t>(a.at[i]); });
}
inline __m128i mm512_cvtepi32_epi8(m512i a) {
  return make<__m128i, uint8_t>([&](int i) { return static_cast<uint8_t>(a.at[i]); });
}

// ---- integers

inline m512i mm512_castps_si512(m512 a) {
  return pack<m512i>(a.at);
}
inline m512 mm512_castsi512_ps(m512i a) {
  return pack<m512>(a.at);
}
inline m512i mm512_setzero_si512() {
  return words([](int) { return 0u; });
}
inline m512i mm512_set1_epi32(int32_t x) {
  return words([=](int) { return static_cast<uint32_t>(x); });
}
inline m512i mm512_set1_epi64(int64_t x) {
  return make<m512i, int64_t>([=](int) { return x; });
}
inline m512i mm512_set1_epi8(int8_t x) {
  return make<m512i, int8_t>([=](int) { return x; });
}
inline m512i mm512_setr_epi32(int32_t x0, int32_t x1, int32_t x2, int32_t x3, int32_t x4,
                              int32_t x5, int32_t x6, int32_t x7, int32_t x8, int32_t x9,
                              int32_t x10, int32_t x11, int32_t x12, int32_t x13, int32_t x14,
                              int32_t x15) {
  const int32_t at[16] = {x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15};
  return pack<m512i>(at);
}
inline m512i mm512_loadu_si512(const void* p) {
  return masked_load<m512i, uint8_t>(~uint64_t{0}, p, m512i{});
}
inline void mm512_storeu_si512(void* p, m512i x) {
  masked_store<m512i, uint8_t>(p, ~uint64_t{0}, x);
}
inline m512i mm512_maskz_loadu_epi32(__mmask16 k, const void* p) {
  return masked_load<m512i, uint32_t>(k, p, m512i{});
}
inline m512i mm512_maskz_loadu_epi64(__mmask8 k, const void* p) {
  return masked_load<m512i, uint64_t>(k, p, m512i{});
}
inline __m128i mm_maskz_loadu_epi8(__mmask16 k, const void* p) {
  return masked_load<__m128i, uint8_t>(k, p, _mm_setzero_si128());
}
inline m512i mm512_set1_epi16(int16_t x) {
  return make<m512i, uint16_t>([&](int) { return static_cast<uint16_t>(x); });
}
inline m512i mm512_maskz_loadu_epi8(__mmask64 k, const void* p) {
  return masked_load<m512i, uint8_t>(k, p, m512i{});
}
inline void mm512_mask_storeu_epi32(void* p, __mmask16 k, m512i x) {
  masked_store<m512i, uint32_t>(p, k, x);
}
inline m512i mm512_add_epi32(m512i a, m512i b) {
  return words([&](int i) { return a.at[i] + b.at[i]; });
}
inline m512i mm512_sub_epi32(m512i a, m512i b) {
  return words([&](int i) { return a.at[i] - b.at[i]; });
}
inline m512i mm512_and_si512(m512i a, m512i b) {
  return words([&](int i) { return a.at[i] & b.at[i]; });
}
inline m512i mm512_max_epi32(m512i a, m512i b) {
  return words([&](int i) {
    return static_cast<int32_t>(a.at[i]) > static_cast<int32_t>(b.at[i]) ? a.at[i] : b.at[i];
  });
}
// sum + the four products of unsigned bytes of a and signed bytes of b, wrapping.
inline m512i mm512_dpbusd_epi32(m512i sum, m512i a, m512i b) {
  const view<uint8_t, m512i> u(a);
  const view<int8_t, m512i> s(b);
  return words([&](int i) {
    uint32_t dot = sum.at[i];
    for (int j = 4 * i; j < 4 * i + 4; j++)
      dot += static_cast<uint32_t>(int32_t{u.at[j]} * int32_t{s.at[j]});
    return dot;
  });
}
inline __m256i mm512_castsi512_si256(m512i a) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a.at));
}
inline __m256i mm512_extracti64x4_epi64(m512i a, int half) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a.at + 8 * half));
}
inline m512i mm512_or_si512(m512i a, m512i b) {
  return words([&](int i) { return a.at[i] | b.at[i]; });
}
inline m512i mm512_xor_si512(m512i a, m512i b) {
  return words([&](int i) { return a.at[i] ^ b.at[i]; });
}
inline m512i mm512_sub_epi8(m512i a, m512i b) {
  const view<uint8_t, m512i> x(a), y(b);
  return make<m512i, uint8_t>([&](int i) { return static_cast<uint8_t>(x.at[i] - y.at[i]); });
}
inline m512i mm512_slli_epi32(m512i a, unsigned n) {
  return words([&](int i) { return n > 31 ? 0u : a.at[i] << n; });
}
inline m512i mm512_srli_epi32(m512i a, unsigned n) {
  return words([&](int i) { return n > 31 ? 0u : a.at[i] >> n; });
}
inline m512i mm512_srlv_epi32(m512i a, m512i n) {
  return words([&](int i) { return n.at[i] > 31 ? 0u : a.at[i] >> n.at[i]; });
}
inline m512i mm512_srli_epi16(m512i a, unsigned n) {
  const view<uint16_t, m512i> x(a);
  return make<m512i, uint16_t>(
      [&](int i) { return static_cast<uint16_t>(n > 15 ? 0 : x.at[i] >> n); });
}
inline m512i mm512_srlv_epi16(m512i a, m512i n) {
  const view<uint16_t, m512i> x(a), by(n);
  return make<m512i, uint16_t>(
      [&](int i) { return static_cast<uint16_t>(by.at[i] > 15 ? 0 : x.at[i] >> by.at[i]); });
}
inline m512i mm512_permutexvar_epi16(m512i index, m512i a) {
  const view<uint16_t, m512i> x(a), at(index);
  return make<m512i, uint16_t>([&](int i) { return x.at[at.at[i] & 31]; });
}
// sum + the two products of signed words, wrapping.
inline m512i mm512_dpwssd_epi32(m512i sum, m512i a, m512i b) {
  const view<int16_t, m512i> x(a), y(b);
  return words([&](int i) {
    return sum.at[i] + static_cast<uint32_t>(int32_t{x.at[2 * i]} * int32_t{y.at[2 * i]}) +
           static_cast<uint32_t>(int32_t{x.at[2 * i + 1]} * int32_t{y.at[2 * i + 1]});
  });
}
inline m512i mm512_sll_epi64(m512i a, __m128i n) {
  const view<uint64_t, m512i> x(a);
  const uint64_t shift = view<uint64_t, __m128i>(n).at[0];
  return make<m512i, uint64_t>([&](int i) { return shift > 63 ? 0u : x.at[i] << shift; });
}
inline m512i mm512_srl_epi64(m512i a, __m128i n) {
  const view<uint64_t, m512i> x(a);
  const uint64_t shift = view<uint64_t, __m128i>(n).at[0];
  return make<m512i, uint64_t>([&](int i) { return shift > 63 ? 0u : x.at[i] >> shift; });
}
inline m512i mm512_shuffle_epi8(m512i a, m512i index) {
  const view<uint8_t, m512i> x(a), at(index);
  return make<m512i, uint8_t>([&](int i) {
    const uint8_t from = at.at[i];
    return static_cast<uint8_t>(from & 0x80 ? 0 : x.at[(i & 48) | (from & 15)]);
  });
}
inline m512i mm512_mask_blend_epi32(__mmask16 k, m512i a, m512i b) {
  return words([&](int i) { return k >> i & 1 ? b.at[i] : a.at[i]; });
}
inline m512i mm512_mask_set1_epi32(m512i a, __mmask16 k, int32_t x) {
  return words([&](int i) { return k >> i & 1 ? static_cast<uint32_t>(x) : a.at[i]; });
}
inline m512i mm512_mask_set1_epi64(m512i a, __mmask8 k, int64_t x) {
  const view<int64_t, m512i> v(a);
  return make<m512i, int64_t>([&](int i) { return k >> i & 1 ? x : v.at[i]; });
}

// ---- masked AVX-512VL on 256-bit registers

inline __m256i mm256_maskz_loadu_epi16(__mmask16 k, const void* p) {
  return masked_load<__m256i, uint16_t>(k, p, _mm256_setzero_si256());
}
inline void mm256_mask_storeu_epi16(void* p, __mmask16 k, __m256i x) {
  masked_store<__m256i, uint16_t>(p, k, x);
}
inline __mmask16 mm256_cmpeq_epi16_mask(__m256i a, __m256i b) {
  const view<uint16_t, __m256i> x(a), y(b);
  uint32_t k = 0;
  for (int i = 0; i < 16; i++) k |= static_cast<uint32_t>(x.at[i] == y.at[i]) << i;
  return static_cast<__mmask16>(k);
}

}  // namespace emulated
}  // namespace esp

// clang-format off
#define __m512 ::esp::emulated::m512
#define __m512d ::esp::emulated::m512d
#define __m512i ::esp::emulated::m512i

#undef _mm512_setzero_ps
#undef _mm512_set1_ps
#undef _mm512_setr_ps
#undef _mm512_loadu_ps
#undef _mm512_maskz_loadu_ps
#undef _mm512_storeu_ps
#undef _mm512_mask_storeu_ps
#undef _mm512_add_ps
#undef _mm512_sub_ps
#undef _mm512_mul_ps
#undef _mm512_div_ps
#undef _mm512_sqrt_ps
#undef _mm512_max_ps
#undef _mm512_min_ps
#undef _mm512_fmadd_ps
#undef _mm512_fnmadd_ps
#undef _mm512_abs_ps
#undef _mm512_roundscale_ps
#undef _mm512_scalef_ps
#undef _mm512_mask_blend_ps
#undef _mm512_cmp_ps_mask
#undef _mm512_maskz_expand_ps
#undef _mm512_maskz_compress_ps
#undef _mm512_permutexvar_ps
#undef _mm512_reduce_add_ps
#undef _mm512_reduce_max_ps
#undef _mm512_castps256_ps512
#undef _mm512_castps512_ps256
#undef _mm512_extractf32x8_ps
#undef _mm512_insertf32x8
#undef _mm512_setzero_pd
#undef _mm512_set1_pd
#undef _mm512_loadu_pd
#undef _mm512_maskz_loadu_pd
#undef _mm512_storeu_pd
#undef _mm512_mask_storeu_pd
#undef _mm512_add_pd
#undef _mm512_sub_pd
#undef _mm512_mul_pd
#undef _mm512_div_pd
#undef _mm512_max_pd
#undef _mm512_min_pd
#undef _mm512_fmadd_pd
#undef _mm512_fnmadd_pd
#undef _mm512_roundscale_pd
#undef _mm512_scalef_pd
#undef _mm512_maskz_mov_pd
#undef _mm512_cmp_pd_mask
#undef _mm512_reduce_add_pd
#undef _mm512_cvtps_pd
#undef _mm512_cvtpd_ps
#undef _mm512_cvtph_ps
#undef _mm512_cvtps_ph
#undef _mm512_cvtps_epi32
#undef _mm512_cvtepi32_ps
#undef _mm512_cvtepu16_epi32
#undef _mm512_cvtepi8_epi32
#undef _mm512_cvtepu8_epi32
#undef _mm512_cvtepi32_epi16
#undef _mm512_cvtepi32_epi8
#undef _mm512_castps_si512
#undef _mm512_castsi512_ps
#undef _mm512_setzero_si512
#undef _mm512_set1_epi32
#undef _mm512_set1_epi64
#undef _mm512_set1_epi8
#undef _mm512_setr_epi32
#undef _mm512_loadu_si512
#undef _mm512_storeu_si512
#undef _mm512_maskz_loadu_epi32
#undef _mm512_maskz_loadu_epi8
#undef _mm512_mask_storeu_epi32
#undef _mm512_add_epi32
#undef _mm512_sub_epi32
#undef _mm512_and_si512
#undef _mm512_max_epi32
#undef _mm512_dpbusd_epi32
#undef _mm512_castsi512_si256
#undef _mm512_extracti64x4_epi64
#undef _mm512_or_si512
#undef _mm512_xor_si512
#undef _mm512_sub_epi8
#undef _mm512_slli_epi32
#undef _mm512_srli_epi32
#undef _mm512_srlv_epi32
#undef _mm512_srli_epi16
#undef _mm512_srlv_epi16
#undef _mm512_permutexvar_epi16
#undef _mm512_dpwssd_epi32
#undef _mm512_maskz_loadu_epi64
#undef _mm_maskz_loadu_epi8
#undef _mm512_set1_epi16
#undef _mm512_sll_epi64
#undef _mm512_srl_epi64
#undef _mm512_shuffle_epi8
#undef _mm512_mask_blend_epi32
#undef _mm512_mask_set1_epi32
#undef _mm512_mask_set1_epi64
#undef _mm256_maskz_loadu_epi16
#undef _mm256_mask_storeu_epi16
#undef _mm256_cmpeq_epi16_mask

#define _mm512_setzero_ps ::esp::emulated::mm512_setzero_ps
#define _mm512_set1_ps ::esp::emulated::mm512_set1_ps
#define _mm512_setr_ps ::esp::emulated::mm512_setr_ps
#define _mm512_loadu_ps ::esp::emulated::mm512_loadu_ps
#define _mm512_maskz_loadu_ps ::esp::emulated::mm512_maskz_loadu_ps
#define _mm512_storeu_ps ::esp::emulated::mm512_storeu_ps
#define _mm512_mask_storeu_ps ::esp::emulated::mm512_mask_storeu_ps
#define _mm512_add_ps ::esp::emulated::mm512_add_ps
#define _mm512_sub_ps ::esp::emulated::mm512_sub_ps
#define _mm512_mul_ps ::esp::emulated::mm512_mul_ps
#define _mm512_div_ps ::esp::emulated::mm512_div_ps
#define _mm512_sqrt_ps ::esp::emulated::mm512_sqrt_ps
#define _mm512_max_ps ::esp::emulated::mm512_max_ps
#define _mm512_min_ps ::esp::emulated::mm512_min_ps
#define _mm512_fmadd_ps ::esp::emulated::mm512_fmadd_ps
#define _mm512_fnmadd_ps ::esp::emulated::mm512_fnmadd_ps
#define _mm512_abs_ps ::esp::emulated::mm512_abs_ps
#define _mm512_roundscale_ps ::esp::emulated::mm512_roundscale_ps
#define _mm512_scalef_ps ::esp::emulated::mm512_scalef_ps
#define _mm512_mask_blend_ps ::esp::emulated::mm512_mask_blend_ps
#define _mm512_cmp_ps_mask ::esp::emulated::mm512_cmp_ps_mask
#define _mm512_maskz_expand_ps ::esp::emulated::mm512_maskz_expand_ps
#define _mm512_maskz_compress_ps ::esp::emulated::mm512_maskz_compress_ps
#define _mm512_permutexvar_ps ::esp::emulated::mm512_permutexvar_ps
#define _mm512_reduce_add_ps ::esp::emulated::mm512_reduce_add_ps
#define _mm512_reduce_max_ps ::esp::emulated::mm512_reduce_max_ps
#define _mm512_castps256_ps512 ::esp::emulated::mm512_castps256_ps512
#define _mm512_castps512_ps256 ::esp::emulated::mm512_castps512_ps256
#define _mm512_extractf32x8_ps ::esp::emulated::mm512_extractf32x8_ps
#define _mm512_insertf32x8 ::esp::emulated::mm512_insertf32x8
#define _mm512_setzero_pd ::esp::emulated::mm512_setzero_pd
#define _mm512_set1_pd ::esp::emulated::mm512_set1_pd
#define _mm512_loadu_pd ::esp::emulated::mm512_loadu_pd
#define _mm512_maskz_loadu_pd ::esp::emulated::mm512_maskz_loadu_pd
#define _mm512_storeu_pd ::esp::emulated::mm512_storeu_pd
#define _mm512_mask_storeu_pd ::esp::emulated::mm512_mask_storeu_pd
#define _mm512_add_pd ::esp::emulated::mm512_add_pd
#define _mm512_sub_pd ::esp::emulated::mm512_sub_pd
#define _mm512_mul_pd ::esp::emulated::mm512_mul_pd
#define _mm512_div_pd ::esp::emulated::mm512_div_pd
#define _mm512_max_pd ::esp::emulated::mm512_max_pd
#define _mm512_min_pd ::esp::emulated::mm512_min_pd
#define _mm512_fmadd_pd ::esp::emulated::mm512_fmadd_pd
#define _mm512_fnmadd_pd ::esp::emulated::mm512_fnmadd_pd
#define _mm512_roundscale_pd ::esp::emulated::mm512_roundscale_pd
#define _mm512_scalef_pd ::esp::emulated::mm512_scalef_pd
#define _mm512_maskz_mov_pd ::esp::emulated::mm512_maskz_mov_pd
#define _mm512_cmp_pd_mask ::esp::emulated::mm512_cmp_pd_mask
#define _mm512_reduce_add_pd ::esp::emulated::mm512_reduce_add_pd
#define _mm512_cvtps_pd ::esp::emulated::mm512_cvtps_pd
#define _mm512_cvtpd_ps ::esp::emulated::mm512_cvtpd_ps
#define _mm512_cvtph_ps ::esp::emulated::mm512_cvtph_ps
#define _mm512_cvtps_ph ::esp::emulated::mm512_cvtps_ph
#define _mm512_cvtps_epi32 ::esp::emulated::mm512_cvtps_epi32
#define _mm512_cvtepi32_ps ::esp::emulated::mm512_cvtepi32_ps
#define _mm512_cvtepu16_epi32 ::esp::emulated::mm512_cvtepu16_epi32
#define _mm512_cvtepi8_epi32 ::esp::emulated::mm512_cvtepi8_epi32
#define _mm512_cvtepu8_epi32 ::esp::emulated::mm512_cvtepu8_epi32
#define _mm512_cvtepi32_epi16 ::esp::emulated::mm512_cvtepi32_epi16
#define _mm512_cvtepi32_epi8 ::esp::emulated::mm512_cvtepi32_epi8
#define _mm512_castps_si512 ::esp::emulated::mm512_castps_si512
#define _mm512_castsi512_ps ::esp::emulated::mm512_castsi512_ps
#define _mm512_setzero_si512 ::esp::emulated::mm512_setzero_si512
#define _mm512_set1_epi32 ::esp::emulated::mm512_set1_epi32
#define _mm512_set1_epi64 ::esp::emulated::mm512_set1_epi64
#define _mm512_set1_epi8 ::esp::emulated::mm512_set1_epi8
#define _mm512_setr_epi32 ::esp::emulated::mm512_setr_epi32
#define _mm512_loadu_si512 ::esp::emulated::mm512_loadu_si512
#define _mm512_storeu_si512 ::esp::emulated::mm512_storeu_si512
#define _mm512_maskz_loadu_epi32 ::esp::emulated::mm512_maskz_loadu_epi32
#define _mm512_maskz_loadu_epi8 ::esp::emulated::mm512_maskz_loadu_epi8
#define _mm512_mask_storeu_epi32 ::esp::emulated::mm512_mask_storeu_epi32
#define _mm512_add_epi32 ::esp::emulated::mm512_add_epi32
#define _mm512_sub_epi32 ::esp::emulated::mm512_sub_epi32
#define _mm512_and_si512 ::esp::emulated::mm512_and_si512
#define _mm512_max_epi32 ::esp::emulated::mm512_max_epi32
#define _mm512_dpbusd_epi32 ::esp::emulated::mm512_dpbusd_epi32
#define _mm512_castsi512_si256 ::esp::emulated::mm512_castsi512_si256
#define _mm512_extracti64x4_epi64 ::esp::emulated::mm512_extracti64x4_epi64
#define _mm512_or_si512 ::esp::emulated::mm512_or_si512
#define _mm512_xor_si512 ::esp::emulated::mm512_xor_si512
#define _mm512_sub_epi8 ::esp::emulated::mm512_sub_epi8
#define _mm512_slli_epi32 ::esp::emulated::mm512_slli_epi32
#define _mm512_srli_epi32 ::esp::emulated::mm512_srli_epi32
#define _mm512_srlv_epi32 ::esp::emulated::mm512_srlv_epi32
#define _mm512_srli_epi16 ::esp::emulated::mm512_srli_epi16
#define _mm512_srlv_epi16 ::esp::emulated::mm512_srlv_epi16
#define _mm512_permutexvar_epi16 ::esp::emulated::mm512_permutexvar_epi16
#define _mm512_dpwssd_epi32 ::esp::emulated::mm512_dpwssd_epi32
#define _mm512_maskz_loadu_epi64 ::esp::emulated::mm512_maskz_loadu_epi64
#define _mm_maskz_loadu_epi8 ::esp::emulated::mm_maskz_loadu_epi8
#define _mm512_set1_epi16 ::esp::emulated::mm512_set1_epi16
#define _mm512_sll_epi64 ::esp::emulated::mm512_sll_epi64
#define _mm512_srl_epi64 ::esp::emulated::mm512_srl_epi64
#define _mm512_shuffle_epi8 ::esp::emulated::mm512_shuffle_epi8
#define _mm512_mask_blend_epi32 ::esp::emulated::mm512_mask_blend_epi32
#define _mm512_mask_set1_epi32 ::esp::emulated::mm512_mask_set1_epi32
#define _mm512_mask_set1_epi64 ::esp::emulated::mm512_mask_set1_epi64
#define _mm256_maskz_loadu_epi16 ::esp::emulated::mm256_maskz_loadu_epi16
#define _mm256_mask_storeu_epi16 ::esp::emulated::mm256_mask_storeu_epi16
#define _mm256_cmpeq_epi16_mask ::esp::emulated::mm256_cmpeq_epi16_mask
// clang-format on

#endif  // ESPALIER_EMULATED_IMMINTRIN_H
