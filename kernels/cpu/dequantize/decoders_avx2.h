// SPDX-License-Identifier: Apache-2.0
//
// Decoders of widen_rows.h for AVX2 + FMA: eight codes a vector.
#ifndef ESPALIER_DECODERS_AVX2_H
#define ESPALIER_DECODERS_AVX2_H

#include <immintrin.h>

#include "cpu/dequantize/widen_rows.h"

namespace esp {
namespace {

struct ops_avx2 {
  using vec = __m256;
  static constexpr int64_t lanes = 8;
  static vec zero() { return _mm256_setzero_ps(); }
  static vec set1(float x) { return _mm256_set1_ps(x); }
  static vec load(const float* p) { return _mm256_loadu_ps(p); }
  // All bits in lanes [lo, hi).
  static __m256i mask(int64_t lo, int64_t hi) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i from = _mm256_set1_epi32(static_cast<int>(lo) - 1);
    const __m256i to = _mm256_set1_epi32(static_cast<int>(hi));
    return _mm256_and_si256(_mm256_cmpgt_epi32(lane, from), _mm256_cmpgt_epi32(to, lane));
  }
  static vec load_masked(const float* p, int64_t lo, int64_t hi) {
    return _mm256_maskload_ps(p, mask(lo, hi));
  }
  static void store(float* p, vec x) { _mm256_storeu_ps(p, x); }
  static void store_masked(float* p, int64_t count, vec x) {
    _mm256_maskstore_ps(p, mask(0, count), x);
  }
  static vec add(vec a, vec b) { return _mm256_add_ps(a, b); }
  static vec sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
  static vec mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
  static vec fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
  static float sum(vec x) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    s = _mm_add_ss(s, _mm_movehdup_ps(s));
    return _mm_cvtss_f32(s);
  }
};

// One word, broadcast; lane i shifts its nibble down. The offset 8 stays in (base): taking it out
// of every vector would cost a fifth of the loop, the chunk sums take it out once.
struct nibbles_avx2 : ops_avx2 {
  static constexpr int32_t bits = 4;
  static constexpr int64_t vector_bytes = 4, read_bytes = 4;
  static constexpr float base = 8.0f;
  static vec decode(const uint8_t* p) {
    uint32_t word;
    memcpy(&word, p, sizeof word);
    const __m256i shifts = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
    const __m256i shifted = _mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(word)), shifts);
    return _mm256_cvtepi32_ps(_mm256_and_si256(shifted, _mm256_set1_epi32(15)));
  }
};

struct bytes_avx2 : ops_avx2 {
  static constexpr int32_t bits = 8;
  static constexpr int64_t vector_bytes = 8, read_bytes = 8;
  static constexpr float base = 0.0f;
  static vec decode(const uint8_t* p) {
    const __m256i u = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(u, _mm256_set1_epi32(128)));
  }
};

// Any width: eight codes are `bits` bytes. Lane i takes bytes i*bits/8 and the next, shifts by
// i*bits%8 (at most 7, so that 7 + bits <= 15 bits of the two are enough) and masks.
struct stream_avx2 : ops_avx2 {
  static constexpr int64_t read_bytes = 8;
  static constexpr float base = 0.0f;
  int32_t bits;
  int64_t vector_bytes;
  __m256i choose, shifts, mask_of_code, offset;

  explicit stream_avx2(int32_t width) : bits(width), vector_bytes(width) {
    alignas(32) uint8_t from[32];
    alignas(32) int32_t by[8];
    for (int i = 0; i < 8; i++) {
      const int at = i * width;
      from[4 * i] = static_cast<uint8_t>(at / 8);
      from[4 * i + 1] = static_cast<uint8_t>(at / 8 + 1 < 8 ? at / 8 + 1 : 0x80);
      from[4 * i + 2] = from[4 * i + 3] = 0x80;  // zero
      by[i] = at % 8;
    }
    choose = _mm256_load_si256(reinterpret_cast<const __m256i*>(from));
    shifts = _mm256_load_si256(reinterpret_cast<const __m256i*>(by));
    mask_of_code = _mm256_set1_epi32(static_cast<int>(stream_mask(width)));
    offset = _mm256_set1_epi32(stream_offset(width));
  }
  vec decode(const uint8_t* p) const {
    int64_t stored;
    memcpy(&stored, p, sizeof stored);
    const __m256i pairs = _mm256_shuffle_epi8(_mm256_set1_epi64x(stored), choose);
    const __m256i u = _mm256_and_si256(_mm256_srlv_epi32(pairs, shifts), mask_of_code);
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(u, offset));
  }
};

}  // namespace
}  // namespace esp

#endif  // ESPALIER_DECODERS_AVX2_H
