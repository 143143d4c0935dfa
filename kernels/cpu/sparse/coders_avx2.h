// SPDX-License-Identifier: Apache-2.0
//
// Coders of sparse_rows.h for AVX2: the values of the eight columns of one byte of places go to
// their lanes by one byte shuffle, whose control is found in a table under that byte. The tables
// widen on the way: a bf16 goes to the upper half of its lane, an int8 to the top byte.
#ifndef ESPALIER_CODERS_AVX2_H
#define ESPALIER_CODERS_AVX2_H

#include <immintrin.h>

#include "cpu/lanes_avx2.h"
#include "espalier.h"
#include "layout/sparse.h"
#include "operations.h"

namespace esp {
namespace {

constexpr int64_t prefetch_bytes = 1024;  // ahead of the values: 50 ns at 20 GB/s
constexpr uint8_t nothing = 0x80;         // a control byte that gives 0

// Which of the (at most eight) values of a byte of places column c takes, 8 for none.
constexpr int32_t value_of_column(bool of_four, int32_t places, int32_t c) {
  const uint8_t mask = of_four ? sparse_mask_of_places(static_cast<uint8_t>(places), 2)
                               : static_cast<uint8_t>(places);
  if ((mask >> c & 1) == 0) return 8;
  int32_t before = 0;
  if (of_four) {
    // Twice the same place is not of the form; what it gives stays in bounds.
    before = c >= 4 ? 2 : 0;
    for (int32_t d = c & 4; d < c; d++) before += mask >> d & 1;
  } else {
    for (int32_t d = 0; d < c; d++) before += mask >> d & 1;
  }
  return before;
}

// Controls of a table: `lane` bytes a column, of which the last `width` take a value `width` wide.
template <int32_t lane, int32_t width>
struct control_table {
  alignas(32) uint8_t at[256][8 * lane];
  constexpr explicit control_table(bool of_four) : at{} {
    for (int32_t places = 0; places < 256; places++) {
      for (int32_t c = 0; c < 8; c++) {
        const int32_t value = value_of_column(of_four, places, c);
        for (int32_t b = 0; b < lane; b++) {
          const int32_t byte = b - (lane - width);
          at[places][c * lane + b] =
              value == 8 || byte < 0 ? nothing : static_cast<uint8_t>(value * width + byte);
        }
      }
    }
  }
};

// Reads `bytes` at p; with care those behind end are zeros.
template <bool careful, int64_t bytes>
inline __m128i values_at(const uint8_t* p, const uint8_t* end) {
  if (careful && end - p < bytes) {
    alignas(16) uint8_t copy[16] = {};
    for (int64_t i = 0; i < end - p; i++) copy[i] = p[i];
    return _mm_load_si128(reinterpret_cast<const __m128i*>(copy));
  }
  if (bytes == 16) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  if (bytes == 8) return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  int32_t word;
  memcpy(&word, p, sizeof word);
  return _mm_cvtsi32_si128(word);
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
};

// A step of places as the offset of its row in a table of 2^shift bytes a row; the bits that count
// kept weights are the same.
template <int shift>
inline uint64_t row_of_places(uint64_t word, int step) {
  const int by = (64 + 8 * step - shift) % 64;  // turned, not shifted: one instruction, no copy
  return (word >> by | word << (64 - by)) & (uint64_t{0xFF} << shift);
}
template <bool of_four>
inline int64_t kept_of(uint64_t row) {
  return of_four ? 4 : __builtin_popcountll(row);
}
inline __m256i control(const uint8_t* table, uint64_t row) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(table + row));
}

template <bool of_four>
struct bf16_avx2 {
  static constexpr control_table<4, 2> table{of_four};
  static constexpr bool numbers = true;
  static constexpr float unit = 1.0f;
  using cursor = byte_cursor;
  static uint64_t places(uint64_t word, int step) { return row_of_places<5>(word, step); }
  template <bool careful, int step>
  static inline __attribute__((always_inline)) f32s expand(uint64_t row, cursor* c) {
    const __m256i both = of_four
                             ? _mm256_broadcastq_epi64(values_at<careful, 8>(c->p, c->end))
                             : _mm256_broadcastsi128_si256(values_at<careful, 16>(c->p, c->end));
    c->p += 2 * kept_of<of_four>(row);
    return _mm256_castsi256_ps(_mm256_shuffle_epi8(both, control(table.at[0], row)));
  }
};

template <bool of_four>
struct f16_avx2 {
  static constexpr control_table<2, 2> table{of_four};
  static constexpr bool numbers = true;
  static constexpr float unit = 1.0f;
  using cursor = byte_cursor;
  static uint64_t places(uint64_t word, int step) { return row_of_places<4>(word, step); }
  template <bool careful, int step>
  static inline __attribute__((always_inline)) f32s expand(uint64_t row, cursor* c) {
    const __m128i all = values_at < careful, of_four ? 8 : 16 > (c->p, c->end);
    c->p += 2 * kept_of<of_four>(row);
    return _mm256_cvtph_ps(
        _mm_shuffle_epi8(all, _mm_load_si128(reinterpret_cast<const __m128i*>(table.at[0] + row))));
  }
};

// A permutation of lanes instead: the index of a column without a value is negative.
template <bool of_four>
struct f32_avx2 {
  static constexpr control_table<1, 1> table{of_four};
  static constexpr bool numbers = true;
  static constexpr float unit = 1.0f;
  using cursor = byte_cursor;
  static uint64_t places(uint64_t word, int step) { return row_of_places<3>(word, step); }
  template <bool careful, int step>
  static inline __attribute__((always_inline)) f32s expand(uint64_t row, cursor* c) {
    const __m128i low = values_at<careful, 16>(c->p, c->end);
    const __m128i high = of_four ? _mm_setzero_si128() : upper<careful>(c->p + 16, c->end);
    c->p += 4 * kept_of<of_four>(row);
    const __m256i index =
        _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(table.at[0] + row)));
    const f32s all = _mm256_castsi256_ps(_mm256_set_m128i(high, low));
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(all, index), zeros(),
                            _mm256_castsi256_ps(index));
  }
  template <bool careful>
  static inline __m128i upper(const uint8_t* p, const uint8_t* end) {
    return careful && end - p <= 0 ? _mm_setzero_si128() : values_at<careful, 16>(p, end);
  }
};

// code * 2^24 in every lane.
template <bool of_four>
struct int8_avx2 {
  static constexpr control_table<4, 1> table{of_four};
  static constexpr bool numbers = false;
  static constexpr float unit = 0x1p-24f;
  using cursor = byte_cursor;
  static uint64_t places(uint64_t word, int step) { return row_of_places<5>(word, step); }
  template <bool careful, int step>
  static inline __attribute__((always_inline)) f32s expand(uint64_t row, cursor* c) {
    const __m256i both = of_four ? _mm256_broadcastd_epi32(values_at<careful, 4>(c->p, c->end))
                                 : _mm256_broadcastq_epi64(values_at<careful, 8>(c->p, c->end));
    c->p += kept_of<of_four>(row);
    return _mm256_cvtepi32_ps(_mm256_shuffle_epi8(both, control(table.at[0], row)));
  }
};

// A nibble in the upper half of a byte, its top bit flipped, is 16 times the code in two's
// complement; at the top of a lane, code * 2^28.
constexpr float nibble_unit = 0x1p-28f;

struct nibble_cursor {
  const uint8_t* base;
  int64_t nibble;
  const uint8_t* end;
  nibble_cursor() = default;
  nibble_cursor(const uint8_t* values, const uint8_t* values_end)
      : base(values), nibble(0), end(values_end) {}
  void prefetch() const { __builtin_prefetch(base + (nibble >> 1) + prefetch_bytes); }
};

// Of a bitmask: eight nibbles of the stream become eight bytes, which go where those of int8 do.
struct int4_avx2 {
  static constexpr control_table<4, 1> table{false};
  static constexpr bool numbers = false;
  static constexpr float unit = nibble_unit;
  using cursor = nibble_cursor;
  static uint64_t places(uint64_t word, int step) { return row_of_places<5>(word, step); }
  template <bool careful, int step>
  static inline __attribute__((always_inline)) f32s expand(uint64_t row, cursor* c) {
    const uint8_t* const p = c->base + (c->nibble >> 1);
    uint64_t stream = 0;
    if (careful && c->end - p < 8) {
      for (int64_t i = 0; i < c->end - p; i++) stream |= static_cast<uint64_t>(p[i]) << (8 * i);
    } else {
      memcpy(&stream, p, sizeof stream);
    }
    stream >>= 4 * (c->nibble & 1);
    c->nibble += kept_of<false>(row);
    const uint64_t codes = _pdep_u64(stream, 0xF0F0F0F0F0F0F0F0u) ^ 0x8080808080808080u;
    const __m256i both = _mm256_set1_epi64x(static_cast<int64_t>(codes));
    return _mm256_cvtepi32_ps(_mm256_shuffle_epi8(both, control(table.at[0], row)));
  }
};

// Of 2:4: the two nibbles of a byte are the two values of four columns. Four steps take 8 bytes b:
//   spread   b0 << 4 .. b7 << 4 | b0 .. b7     first values | second values, upper nibbles
// of which step s shuffles bytes 2s, 2s + 1 and 8 + 2s, 9 + 2s.
struct pair_table {
  alignas(32) uint8_t at[256][32];
  constexpr pair_table() : at{} {
    for (int32_t places = 0; places < 256; places++) {
      for (int32_t c = 0; c < 8; c++) {
        const int32_t value = value_of_column(true, places, c);
        for (int32_t b = 0; b < 3; b++) at[places][4 * c + b] = nothing;
        at[places][4 * c + 3] =
            value == 8 ? nothing : static_cast<uint8_t>(value / 2 + 8 * (value % 2));
      }
    }
  }
};
struct pair_cursor : byte_cursor {
  __m256i spread;
  using byte_cursor::byte_cursor;
};

struct int4_pairs_avx2 {
  static constexpr pair_table table{};
  static constexpr bool numbers = false;
  static constexpr float unit = nibble_unit;
  using cursor = pair_cursor;
  static uint64_t places(uint64_t word, int step) { return row_of_places<5>(word, step); }
  static __m256i spread(__m128i pairs) {
    const __m256i shifted =
        _mm256_sllv_epi64(_mm256_broadcastq_epi64(pairs), _mm256_setr_epi64x(4, 0, 4, 0));
    return _mm256_xor_si256(_mm256_and_si256(shifted, _mm256_set1_epi8(-16)),
                            _mm256_set1_epi8(-128));
  }
  template <bool careful, int step>
  static inline __attribute__((always_inline)) f32s expand(uint64_t row, cursor* c) {
    if constexpr (step < 0) {
      const int64_t there = careful && c->end - c->p < 2 ? c->end - c->p : 2;
      int64_t pairs = 0;
      for (int64_t i = 0; i < there; i++) pairs |= static_cast<int64_t>(c->p[i]) << (8 * i);
      c->p += 2;
      return lanes_of(spread(_mm_cvtsi64_si128(pairs)), control(table.at[0], row));
    } else {
      if constexpr (step % 4 == 0) {
        c->spread = spread(values_at<careful, 8>(c->p, c->end));
        c->p += 8;
      }
      const __m256i first = _mm256_set1_epi8(2 * (step % 4));
      return lanes_of(c->spread, _mm256_add_epi8(control(table.at[0], row), first));
    }
  }
  static f32s lanes_of(__m256i bytes, __m256i which) {
    return _mm256_cvtepi32_ps(_mm256_shuffle_epi8(bytes, which));
  }
};

// Calls f(coder) for the coder of a matrix.
template <bool of_four, class F>
inline void with_dtype(int32_t dtype, F f) {
  switch (dtype) {
    case ESP_F32:
      return f(f32_avx2<of_four>());
    case ESP_F16:
      return f(f16_avx2<of_four>());
    case ESP_BF16:
      return f(bf16_avx2<of_four>());
    case ESP_I8:
      return f(int8_avx2<of_four>());
    default:
      if constexpr (of_four) return f(int4_pairs_avx2());
      if constexpr (!of_four) return f(int4_avx2());
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

#endif  // ESPALIER_CODERS_AVX2_H
