// SPDX-License-Identifier: Apache-2.0
//
// Decoders of widen_rows.h for AVX-512 (F, BW): sixteen codes a vector.
#ifndef ESPALIER_DECODERS_AVX512_H
#define ESPALIER_DECODERS_AVX512_H

#include <immintrin.h>

#include "cpu/dequantize/widen_rows.h"

namespace esp {
namespace {

struct ops_avx512 {
  using vec = __m512;
  static constexpr int64_t lanes = 16;
  static vec zero() { return _mm512_setzero_ps(); }
  static vec set1(float x) { return _mm512_set1_ps(x); }
  static vec load(const float* p) { return _mm512_loadu_ps(p); }
  // Bits [lo, hi), 0 <= lo < hi <= 16.
  static __mmask16 mask(int64_t lo, int64_t hi) {
    return static_cast<__mmask16>(((1u << hi) - 1u) & ~((1u << lo) - 1u));
  }
  static vec load_masked(const float* p, int64_t lo, int64_t hi) {
    return _mm512_maskz_loadu_ps(mask(lo, hi), p);
  }
  static void store(float* p, vec x) { _mm512_storeu_ps(p, x); }
  static void store_masked(float* p, int64_t count, vec x) {
    _mm512_mask_storeu_ps(p, mask(0, count), x);
  }
  static vec add(vec a, vec b) { return _mm512_add_ps(a, b); }
  static vec sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
  static vec mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
  static vec fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
  static float sum(vec x) { return _mm512_reduce_add_ps(x); }
};

// Two words, one in each half; lane i shifts its nibble down, and the nibble (vpermps looks at no
// more) picks its value of sixteen: no mask, no conversion, no offset left over.
struct nibbles_avx512 : ops_avx512 {
  static constexpr int32_t bits = 4;
  static constexpr int64_t vector_bytes = 8, read_bytes = 8;
  static constexpr float base = 0.0f;
  static vec decode(const uint8_t* p) {
    uint32_t words[2];
    memcpy(words, p, sizeof words);
    const __m512i shifts =
        _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
    const __m512 values = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
    const __m512i both = _mm512_mask_set1_epi32(_mm512_set1_epi32(static_cast<int>(words[0])),
                                                0xff00, static_cast<int>(words[1]));
    return _mm512_permutexvar_ps(_mm512_srlv_epi32(both, shifts), values);
  }
};

struct bytes_avx512 : ops_avx512 {
  static constexpr int32_t bits = 8;
  static constexpr int64_t vector_bytes = 16, read_bytes = 16;
  static constexpr float base = 0.0f;
  static vec decode(const uint8_t* p) {
    const __m128i u = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    // Flipping the top bit turns q + 128 into q.
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_xor_si128(u, _mm_set1_epi8(-128))));
  }
};

// Any width: eight codes are `bits` bytes, one such unit in each half. Lane i takes bytes i*bits/8
// and the next, shifts by i*bits%8 (at most 7, so that 7 + bits <= 15 bits of the two are enough).
struct stream_avx512 : ops_avx512 {
  static constexpr int64_t read_bytes = 16;
  static constexpr float base = 0.0f;
  int32_t bits;
  int64_t vector_bytes;
  __m512i choose, shifts, mask_of_code, offset;

  explicit stream_avx512(int32_t width) : bits(width), vector_bytes(2 * width) {
    alignas(64) uint8_t from[64];
    alignas(64) int32_t by[16];
    for (int i = 0; i < 16; i++) {
      const int at = i % 8 * width;
      from[4 * i] = static_cast<uint8_t>(at / 8);
      from[4 * i + 1] = static_cast<uint8_t>(at / 8 + 1 < 8 ? at / 8 + 1 : 0x80);
      from[4 * i + 2] = from[4 * i + 3] = 0x80;  // zero
      by[i] = at % 8;
    }
    choose = _mm512_loadu_si512(from);
    shifts = _mm512_loadu_si512(by);
    mask_of_code = _mm512_set1_epi32(static_cast<int>(stream_mask(width)));
    offset = _mm512_set1_epi32(stream_offset(width));
  }
  vec decode(const uint8_t* p) const {
    int64_t low, high;
    memcpy(&low, p, sizeof low);
    memcpy(&high, p + bits, sizeof high);  // p + 8 + bits <= p + 16
    const __m512i units = _mm512_mask_set1_epi64(_mm512_set1_epi64(low), 0xf0, high);
    const __m512i pairs = _mm512_shuffle_epi8(units, choose);
    const __m512i u = _mm512_and_si512(_mm512_srlv_epi32(pairs, shifts), mask_of_code);
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(u, offset));
  }
};

}  // namespace
}  // namespace esp

#endif  // ESPALIER_DECODERS_AVX512_H
