// SPDX-License-Identifier: Apache-2.0
//
// Coders of digits.h for AVX-512 with VNNI.
#ifndef ESPALIER_DIGITS_AVX512VNNI_H
#define ESPALIER_DIGITS_AVX512VNNI_H

#include <immintrin.h>

#include "cpu/matmul_wna16/digits.h"

namespace esp {
namespace {

struct coder_avx512vnni {
  using vec = __m512;
  using words = __m512i;
  using sums = __m512i;
  static constexpr int64_t lanes = 16, halves = 1;
  static vec zero() { return _mm512_setzero_ps(); }
  static sums no_sums() { return _mm512_setzero_si512(); }
  static vec broadcast(const float* p) { return _mm512_set1_ps(*p); }
  static vec mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
  static vec fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
  static float sum(vec x) { return _mm512_reduce_add_ps(x); }
  static words load(const void* p) { return _mm512_loadu_si512(p); }
  // high * 2^16 + low, each rounded to fp32 (both below 2^31).
  static vec join(words high, words low) {
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(high), _mm512_set1_ps(65536.0f),
                           _mm512_cvtepi32_ps(low));
  }
  // The sum over the groups of scale * (base + zero) * sum.
  static float fold(const float* scales, const int8_t* zeros, float base, const float* sums,
                    int64_t groups) {
    vec total = zero();
    for (int64_t g = 0; g < groups; g += lanes) {
      const __mmask16 in =
          static_cast<__mmask16>((1u << static_cast<uint32_t>(least(groups - g, lanes))) - 1u);
      vec offset = _mm512_set1_ps(base);
      if (zeros != nullptr) {
        const __m128i bytes = _mm_maskz_loadu_epi8(in, zeros + g);
        offset = _mm512_add_ps(offset, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)));
      }
      const vec scale = _mm512_maskz_loadu_ps(in, scales + g);
      total = fma(_mm512_mul_ps(scale, offset), _mm512_maskz_loadu_ps(in, sums + g), total);
    }
    return sum(total);
  }
};

// 64 bytes: 128 codes, even columns in the low halves of bytes. Unsigned codes times 8-bit digits
// in 32-bit sums: 128 columns put at most eight products into a lane, 8 * 15 * 128 = 15360.
struct nibbles_avx512vnni : coder_avx512vnni {
  static constexpr int32_t bits = 4, digit_bytes = 1, fine_digits = 4;
  static constexpr int planes = 2;
  static constexpr int64_t columns = 128, bytes = 64, read_bytes = 64;
  static void decode(const uint8_t* p, words* out) {
    const words stored = load(p), low = _mm512_set1_epi8(15);
    out[0] = _mm512_and_si512(stored, low);
    out[1] = _mm512_and_si512(_mm512_srli_epi16(stored, 4), low);
  }
  static sums add(sums s, words codes, const int8_t* x) {
    return _mm512_dpbusd_epi32(s, codes, load(x));
  }
  // high * 256 + low: at most 15360 * 257.
  static words pair(sums high, sums low) {
    return _mm512_add_epi32(_mm512_slli_epi32(high, 8), low);
  }
  template <int D>
  static vec total(const sums* s) {
    const words low = pair(s[1], s[0]);
    if constexpr (D == 2) return _mm512_cvtepi32_ps(low);
    if constexpr (D == 4) return join(pair(s[3], s[2]), low);
  }
};

// 16-bit codes times 16-bit digits in 32-bit pair sums: 128 columns put at most eight products into
// a lane, 8 * 255 * 2^15 < 2^26.
struct words_avx512vnni : coder_avx512vnni {
  static constexpr int32_t digit_bytes = 2, fine_digits = 2;
  static sums add(sums s, words codes, const int8_t* x) {
    return _mm512_dpwssd_epi32(s, codes, load(x));
  }
  template <int D>
  static vec total(const sums* s) {
    if constexpr (D == 1) return _mm512_cvtepi32_ps(s[0]);
    if constexpr (D == 2) return join(s[1], s[0]);
  }
};

// 64 bytes: 64 codes, even columns in the low bytes of words.
struct bytes_avx512vnni : words_avx512vnni {
  static constexpr int32_t bits = 8;
  static constexpr int planes = 2;
  static constexpr int64_t columns = 64, bytes = 64, read_bytes = 64;
  static void decode(const uint8_t* p, words* out) {
    const words stored = load(p);
    out[0] = _mm512_and_si512(stored, _mm512_set1_epi16(255));
    out[1] = _mm512_srli_epi16(stored, 8);
  }
};

// Any width up to 7: eight codes are `bits` bytes, one such unit in each quarter of a vector. A
// quarter takes the eight words from the one its unit begins in, then lane i of it the bytes
// i*bits/8 and the next of the unit, and shifts.
struct stream_avx512vnni : words_avx512vnni {
  static constexpr int planes = 1;
  static constexpr int64_t columns = 32, read_bytes = 32;
  int32_t bits;
  int64_t bytes;
  __m512i quarters, choose, shifts, mask_of_code;

  explicit stream_avx512vnni(int32_t width) : bits(width), bytes(4 * width) {
    alignas(64) uint16_t word[32], by[32];
    alignas(64) uint8_t from[64];
    for (int i = 0; i < 32; i++) {
      const int unit = i / 8 * width;  // its first byte
      const int at = i % 8 * width;    // bit in the unit
      const int first = unit % 2 + at / 8;
      word[i] = static_cast<uint16_t>(unit / 2 + i % 8);
      // Of the 16 bytes of a quarter the unit ends at byte 7 at the latest.
      from[2 * i] = static_cast<uint8_t>(first);
      from[2 * i + 1] = static_cast<uint8_t>(first + 1);
      by[i] = static_cast<uint16_t>(at % 8);
    }
    quarters = _mm512_loadu_si512(word);
    choose = _mm512_loadu_si512(from);
    shifts = _mm512_loadu_si512(by);
    mask_of_code = _mm512_set1_epi16(static_cast<int16_t>(stream_mask(width)));
  }
  void decode(const uint8_t* p, words* out) const {
    const __m512i stored = _mm512_maskz_loadu_epi64(0x0f, p);
    const __m512i units = _mm512_permutexvar_epi16(quarters, stored);
    const __m512i pairs = _mm512_shuffle_epi8(units, choose);
    out[0] = _mm512_and_si512(_mm512_srlv_epi16(pairs, shifts), mask_of_code);
  }
};

}  // namespace
}  // namespace esp

#endif  // ESPALIER_DIGITS_AVX512VNNI_H
