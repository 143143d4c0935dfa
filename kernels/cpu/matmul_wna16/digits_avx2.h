// SPDX-License-Identifier: Apache-2.0
//
// Coders of digits.h for AVX2 + FMA.
#ifndef ESPALIER_DIGITS_AVX2_H
#define ESPALIER_DIGITS_AVX2_H

#include <immintrin.h>

#include "cpu/matmul_wna16/digits.h"

namespace esp {
namespace {

struct coder_avx2 {
  using vec = __m256;
  using words = __m256i;
  using sums = __m256i;
  static constexpr int64_t lanes = 8, halves = 2;
  static vec zero() { return _mm256_setzero_ps(); }
  static sums no_sums() { return _mm256_setzero_si256(); }
  static vec broadcast(const float* p) { return _mm256_broadcast_ss(p); }
  static vec mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
  static vec fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
  static float sum(vec x) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
  }
  static words load(const void* p) { return _mm256_load_si256(static_cast<const __m256i*>(p)); }
  static words load_codes(const void* p) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(p));
  }
  // high * 2^16 + low, each rounded to fp32 (both below 2^31).
  static vec join(__m256i high, __m256i low) {
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(high), _mm256_set1_ps(65536.0f),
                           _mm256_cvtepi32_ps(low));
  }
  // The sum over the groups of scale * (base + zero) * sum.
  static float fold(const float* scales, const int8_t* zeros, float base, const float* sums,
                    int64_t groups) {
    vec total = zero();
    for (int64_t g = 0; g < groups; g += lanes) {
      const __m256i in = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int32_t>(groups - g)),
                                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
      vec offset = _mm256_set1_ps(base);
      if (zeros != nullptr) {
        int64_t eight = 0;
        const int64_t count = least(groups - g, lanes);
        if (count == lanes) {
          memcpy(&eight, zeros + g, lanes);
        } else {
          for (int64_t i = 0; i < count; i++)
            eight |= static_cast<int64_t>(static_cast<uint8_t>(zeros[g + i])) << (8 * i);
        }
        offset = _mm256_add_ps(offset,
                               _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_cvtsi64_si128(eight))));
      }
      const vec scale = _mm256_maskload_ps(scales + g, in);
      total = fma(_mm256_mul_ps(scale, offset), _mm256_maskload_ps(sums + g, in), total);
    }
    return sum(total);
  }
};

// 32 bytes: 64 codes, even columns in the low halves of bytes. Unsigned codes times 8-bit digits in
// 16-bit pair sums: 128 columns put at most eight products into a lane, 8 * 15 * 128 = 15360.
struct nibbles_avx2 : coder_avx2 {
  static constexpr int32_t bits = 4, digit_bytes = 1, fine_digits = 4;
  static constexpr int planes = 2;
  static constexpr int64_t columns = 64, bytes = 32, read_bytes = 32;
  static void decode(const uint8_t* p, words* out) {
    const __m256i stored = load_codes(p), low = _mm256_set1_epi8(15);
    out[0] = _mm256_and_si256(stored, low);
    out[1] = _mm256_and_si256(_mm256_srli_epi16(stored, 4), low);
  }
  static sums add(sums s, words codes, const int8_t* x) {
    return _mm256_add_epi16(s, _mm256_maddubs_epi16(codes, load(x)));
  }
  // high * 256 + low as int32: at most 2 * 15360 * 257.
  static __m256i pair(sums high, sums low) {
    return _mm256_add_epi32(_mm256_madd_epi16(high, _mm256_set1_epi16(256)),
                            _mm256_madd_epi16(low, _mm256_set1_epi16(1)));
  }
  template <int D>
  static vec total(const sums* s) {
    const __m256i low = pair(s[1], s[0]);
    if constexpr (D == 2) return _mm256_cvtepi32_ps(low);
    if constexpr (D == 4) return join(pair(s[3], s[2]), low);
  }
};

// 16-bit codes times 16-bit digits in 32-bit pair sums: 128 columns put at most 16 products into a
// lane, 16 * 255 * 2^15 < 2^27.
struct words_avx2 : coder_avx2 {
  static constexpr int32_t digit_bytes = 2, fine_digits = 2;
  static sums add(sums s, words codes, const int8_t* x) {
    return _mm256_add_epi32(s, _mm256_madd_epi16(codes, load(x)));
  }
  template <int D>
  static vec total(const sums* s) {
    if constexpr (D == 1) return _mm256_cvtepi32_ps(s[0]);
    if constexpr (D == 2) return join(s[1], s[0]);
  }
};

// 32 bytes: 32 codes, even columns in the low bytes of words.
struct bytes_avx2 : words_avx2 {
  static constexpr int32_t bits = 8;
  static constexpr int planes = 2;
  static constexpr int64_t columns = 32, bytes = 32, read_bytes = 32;
  static void decode(const uint8_t* p, words* out) {
    const __m256i stored = load_codes(p);
    out[0] = _mm256_and_si256(stored, _mm256_set1_epi16(255));
    out[1] = _mm256_srli_epi16(stored, 8);
  }
};

// Any width: eight codes are `bits` bytes, one such unit in each half of a vector. Lane i takes
// bytes i*bits/8 and the next, moves the code to the top of its word (a product: there is no
// variable shift of words) and down again.
struct stream_avx2 : words_avx2 {
  static constexpr int planes = 1;
  static constexpr int64_t columns = 16, read_bytes = 16;
  int32_t bits;
  int64_t bytes;
  __m256i choose, up;
  __m128i down;

  explicit stream_avx2(int32_t width) : bits(width), bytes(2 * width) {
    alignas(32) uint8_t from[32];
    alignas(32) uint16_t by[16];
    for (int i = 0; i < 16; i++) {
      const int at = i * width;  // the second unit begins at byte `width`, as all 16 were one
      from[2 * i] = static_cast<uint8_t>(at / 8);
      from[2 * i + 1] = static_cast<uint8_t>(at / 8 + 1 < 16 ? at / 8 + 1 : 0x80);
      by[i] = static_cast<uint16_t>(1 << (16 - width - at % 8));
    }
    choose = load(from);
    up = load(by);
    down = _mm_cvtsi32_si128(16 - width);
  }
  void decode(const uint8_t* p, words* out) const {
    const __m256i units =
        _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    out[0] = _mm256_srl_epi16(_mm256_mullo_epi16(_mm256_shuffle_epi8(units, choose), up), down);
  }
};

}  // namespace
}  // namespace esp

#endif  // ESPALIER_DIGITS_AVX2_H
