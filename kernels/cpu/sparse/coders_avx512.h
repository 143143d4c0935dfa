// SPDX-License-Identifier: Apache-2.0
//
// Coders of sparse_rows.h for AVX-512 (F, BW, DQ, VL): the values of the sixteen columns of two
// bytes of places are widened where they lie and sent to their lanes by vexpandps under the mask.
// The places of 2:4 become a mask by a table of 256 bytes.
#ifndef ESPALIER_CODERS_AVX512_H
#define ESPALIER_CODERS_AVX512_H

#include <immintrin.h>
#include <string.h>

#include "cpu/lanes_avx512.h"
#include "espalier.h"
#include "layout/sparse.h"
#include "operations.h"

namespace esp {
namespace {

constexpr int64_t prefetch_bytes = 1024;  // ahead of the values: 50 ns at 20 GB/s

struct mask_table {
  uint8_t at[256];
  constexpr mask_table() : at{} {
    for (int32_t places = 0; places < 256; places++)
      at[places] = sparse_mask_of_places(static_cast<uint8_t>(places), 2);
  }
};
constexpr mask_table mask_of_places;

// The kept columns of step `step` of a word of places.
template <bool of_four>
inline uint32_t mask_of_step(uint64_t word, int step) {
  const uint32_t places = static_cast<uint32_t>(word >> (16 * step)) & 0xFFFFu;
  if (!of_four) return places;
  return static_cast<uint32_t>(mask_of_places.at[places & 0xFF]) |
         static_cast<uint32_t>(mask_of_places.at[places >> 8]) << 8;
}
template <bool of_four>
inline int64_t kept_of(uint32_t mask) {
  return of_four ? 8 : __builtin_popcount(mask);
}

struct byte_cursor {
  const uint8_t* p;
  const uint8_t* end;
  byte_cursor() = default;
  byte_cursor(const uint8_t* values, const uint8_t* values_end) : p(values), end(values_end) {}
  void prefetch() const {
    __builtin_prefetch(p + prefetch_bytes);
    __builtin_prefetch(p + prefetch_bytes + 64);
  }
  // How many values of `bytes` bytes there are from here, at most 16.
  int64_t there(int64_t bytes) const {
    const int64_t count = (end - p) / bytes;
    return count < 0 ? 0 : count > 16 ? 16 : count;
  }
};

// The same for every coder of numbers: W has the element and load, load_tail of lanes_avx512.h.
template <bool of_four, class W>
struct number_avx512 {
  static constexpr bool numbers = true;
  static constexpr float unit = 1.0f;
  using cursor = byte_cursor;
  static uint32_t places(uint64_t word, int step) { return mask_of_step<of_four>(word, step); }
  template <bool careful, int step>
  static inline __attribute__((always_inline)) f32s expand(uint32_t mask, cursor* c) {
    const f32s values = careful ? W::tail(c->p, c->there(W::bytes)) : W::whole(c->p);
    c->p += W::bytes * kept_of<of_four>(mask);
    return _mm512_maskz_expand_ps(static_cast<__mmask16>(mask), values);
  }
};

struct bf16_values {
  static constexpr int64_t bytes = 2;
  static const uint16_t* at(const uint8_t* p) { return reinterpret_cast<const uint16_t*>(p); }
  static f32s whole(const uint8_t* p) { return load_bf16(at(p)); }
  static f32s tail(const uint8_t* p, int64_t count) { return load_bf16_tail(at(p), count); }
};
struct f16_values {
  static constexpr int64_t bytes = 2;
  static const uint16_t* at(const uint8_t* p) { return reinterpret_cast<const uint16_t*>(p); }
  static f32s whole(const uint8_t* p) { return load_f16(at(p)); }
  static f32s tail(const uint8_t* p, int64_t count) { return load_f16_tail(at(p), count); }
};
struct f32_values {
  static constexpr int64_t bytes = 4;
  static const float* at(const uint8_t* p) { return reinterpret_cast<const float*>(p); }
  static f32s whole(const uint8_t* p) { return load(at(p)); }
  static f32s tail(const uint8_t* p, int64_t count) { return load_tail(at(p), count); }
};

template <bool of_four>
struct int8_avx512 {
  static constexpr bool numbers = false;
  static constexpr float unit = 1.0f;
  using cursor = byte_cursor;
  static uint32_t places(uint64_t word, int step) { return mask_of_step<of_four>(word, step); }
  template <bool careful, int step>
  static inline __attribute__((always_inline)) f32s expand(uint32_t mask, cursor* c) {
    const __m128i codes = careful ? _mm_maskz_loadu_epi8(tail_mask(c->there(1)), c->p)
                                  : _mm_loadu_si128(reinterpret_cast<const __m128i*>(c->p));
    c->p += kept_of<of_four>(mask);
    return _mm512_maskz_expand_ps(static_cast<__mmask16>(mask),
                                  _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes)));
  }
};

struct nibble_cursor {
  const uint8_t* base;
  int64_t nibble;
  const uint8_t* end;
  nibble_cursor() = default;
  nibble_cursor(const uint8_t* values, const uint8_t* values_end)
      : base(values), nibble(0), end(values_end) {}
  void prefetch() const { __builtin_prefetch(base + (nibble >> 1) + prefetch_bytes); }
};

// Sixteen nibbles: lane i shifts its own down, and the nibble (vpermps looks at no more) picks its
// value of sixteen.
template <bool of_four>
struct int4_avx512 {
  static constexpr bool numbers = false;
  static constexpr float unit = 1.0f;
  using cursor = nibble_cursor;
  static uint32_t places(uint64_t word, int step) { return mask_of_step<of_four>(word, step); }
  template <bool careful, int step>
  static inline __attribute__((always_inline)) f32s expand(uint32_t mask, cursor* c) {
    const uint8_t* const p = c->base + (c->nibble >> 1);
    uint64_t stream = 0, more = 0;
    if (careful) {
      for (int64_t i = 0; i < 9 && i < c->end - p; i++)
        (i < 8 ? stream : more) |= static_cast<uint64_t>(p[i]) << (8 * (i & 7));
    } else {
      memcpy(&stream, p, sizeof stream);
      more = p[8];
    }
    if (!of_four && (c->nibble & 1) != 0) stream = stream >> 4 | more << 60;
    c->nibble += kept_of<of_four>(mask);
    const __m512i shifts =
        _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
    const __m512 values = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
    const __m512i both = _mm512_mask_set1_epi32(_mm512_set1_epi32(static_cast<int32_t>(stream)),
                                                0xFF00, static_cast<int32_t>(stream >> 32));
    return _mm512_maskz_expand_ps(static_cast<__mmask16>(mask),
                                  _mm512_permutexvar_ps(_mm512_srlv_epi32(both, shifts), values));
  }
};

// Calls f(coder) for the coder of a matrix.
template <bool of_four, class F>
inline void with_dtype(int32_t dtype, F f) {
  switch (dtype) {
    case ESP_F32:
      return f(number_avx512<of_four, f32_values>());
    case ESP_F16:
      return f(number_avx512<of_four, f16_values>());
    case ESP_BF16:
      return f(number_avx512<of_four, bf16_values>());
    case ESP_I8:
      return f(int8_avx512<of_four>());
    default:
      return f(int4_avx512<of_four>());
  }
}
template <class F>
inline void with_coder(const sparse_weights& w, F f) {
  if (w.pattern == ESP_SPARSE_24) {
    with_dtype<true>(w.dtype, f);
  } else {
    with_dtype<false>(w.dtype, f);
  }
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_CODERS_AVX512_H
