// SPDX-License-Identifier: Apache-2.0
//
// What      y = x . W^T + bias for one row of x and 2:4 weights in bf16, int8 or 4 bits on AVX2.
// The
//           kept values stay together; it is x that goes to them: vpermilps takes, by the two low
//           bits of every lane of a control, one of the four columns that lie in its half.
// Layout    layout/sparse.h. A vector holds one four of columns in each half, and of it the two
// kept
//           weights of two rows a and b: [a a b b | a a b b]. The halves stand V::apart fours
//           apart, which is how the interleaved bytes of the two rows come out of the unpacking.
// Tile      Four rows of W, far apart, are two such pairs; a vector of x serves both.
// Numerics  Eight fp32 sums a row (within a group, for codes: scaled by its scale and summed over
//           the groups): error <= (cols / 16 + groups + 10) eps sum |w x|. The order depends on
//           cols and group alone: which rows make a pair, or one row twice, does not show.
// Tail      Nothing outside a row is read. What is left of cols behind the last whole unit goes
//           through the coders of sparse_rows.h, with care.
//
// Roof      For eight columns of a row 3.4 (bf16), 3.6 (int8) and 4.1 (4 bits) instructions, where
//           spreading the weights by a table takes 5 to 7 and the dense kernels 3 to 3.6. So bf16
//           and int8 gain what they save in bytes; 4 bits are bound by instructions like the dense
//           kernel, whose exact integer sums take as many, and about keep its pace.
#ifndef ESPALIER_PAIRS_AVX2_H
#define ESPALIER_PAIRS_AVX2_H

#include "cpu/sparse/coders_avx2.h"
#include "cpu/sparse/sparse_rows.h"

namespace esp {
namespace {

inline __m256i every_dword(const uint8_t* p) {
  int32_t word;
  memcpy(&word, p, sizeof word);
  return _mm256_set1_epi32(word);
}
inline __m256i every_qword(const uint8_t* p) {
  int64_t word;
  memcpy(&word, p, sizeof word);
  return _mm256_set1_epi64x(word);
}
inline __m256i every_half(const uint8_t* p) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline __m256i whole(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

// A V offers: coder (of the tail); unit (columns), parts (of a unit), vectors (of a part), apart
// (fours between the halves of a vector), bytes (of a unit's values); take(part, values of a, of b,
// registers); widen(vector, registers) in units of coder::unit; control(places of a, of b, one for
// each part): shifted down by 4 j, that of vector j, whose first half is the four part * vectors +
// j.

// A whole unit is a vector of values a row, eight fours:
//   unpacked dwords   a0 b0 a1 b1 | a4 b4 a5 b5  and  a2 b2 a3 b3 | a6 b6 a7 b7
//   words above zeros a0 a0 b0 b0 | a4 a4 b4 b4  ...
struct bf16_pairs {
  using coder = bf16_avx2<true>;
  static constexpr int unit = 32, parts = 1, vectors = 4, apart = 4, bytes = 32;
  static inline void take(int, const uint8_t* a, const uint8_t* b, __m256i* to) {
    to[0] = _mm256_unpacklo_epi32(whole(a), whole(b));
    to[1] = _mm256_unpackhi_epi32(whole(a), whole(b));
  }
  static inline f32s widen(int j, const __m256i* from) {
    const __m256i none = _mm256_setzero_si256();
    return _mm256_castsi256_ps(j % 2 == 0 ? _mm256_unpacklo_epi16(none, from[j / 2])
                                          : _mm256_unpackhi_epi16(none, from[j / 2]));
  }
  static inline void control(const uint8_t* a, const uint8_t* b, __m256i* to) {
    const __m256i both = _mm256_blend_epi32(every_dword(a), every_dword(b), 0b11001100);
    to[0] = _mm256_srlv_epi32(both, _mm256_setr_epi32(0, 2, 0, 2, 16, 18, 16, 18));
  }
};

// Registers of bytes: a0 a0 b0 b0 a1 a1 b1 b1 .. b3 b3 in each half, which go to the tops of lanes.
struct byte_pairs {
  static constexpr int vectors = 8;
  static inline __m256i first_and_second() { return _mm256_setr_epi32(0, 2, 0, 2, 0, 2, 0, 2); }
  static inline f32s widen(int j, const __m256i* from) {
    alignas(32) static constexpr uint8_t tops[4][32] = {
        {nothing, nothing, nothing, 0, nothing, nothing, nothing, 1, nothing, nothing, nothing, 2,
         nothing, nothing, nothing, 3, nothing, nothing, nothing, 0, nothing, nothing, nothing, 1,
         nothing, nothing, nothing, 2, nothing, nothing, nothing, 3},
        {nothing, nothing, nothing, 4, nothing, nothing, nothing, 5, nothing, nothing, nothing, 6,
         nothing, nothing, nothing, 7, nothing, nothing, nothing, 4, nothing, nothing, nothing, 5,
         nothing, nothing, nothing, 6, nothing, nothing, nothing, 7},
        {nothing, nothing, nothing, 8,  nothing, nothing, nothing, 9, nothing, nothing, nothing, 10,
         nothing, nothing, nothing, 11, nothing, nothing, nothing, 8, nothing, nothing, nothing, 9,
         nothing, nothing, nothing, 10, nothing, nothing, nothing, 11},
        {nothing, nothing, nothing, 12, nothing, nothing, nothing, 13,
         nothing, nothing, nothing, 14, nothing, nothing, nothing, 15,
         nothing, nothing, nothing, 12, nothing, nothing, nothing, 13,
         nothing, nothing, nothing, 14, nothing, nothing, nothing, 15}};
    return _mm256_cvtepi32_ps(_mm256_shuffle_epi8(from[j / 4], control_at(tops[j % 4])));
  }
  static inline __m256i control_at(const uint8_t* p) {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
  }
};

// 16 fours.
struct int8_pairs : byte_pairs {
  using coder = int8_avx2<true>;
  static constexpr int unit = 64, parts = 1, apart = 8, bytes = 32;
  static inline void take(int, const uint8_t* a, const uint8_t* b, __m256i* to) {
    to[0] = _mm256_unpacklo_epi16(whole(a), whole(b));
    to[1] = _mm256_unpackhi_epi16(whole(a), whole(b));
  }
  // Dwords a0 b0 a1 b1 of places, of which half 0 takes the first two.
  static inline void control(const uint8_t* a, const uint8_t* b, __m256i* to) {
    const __m256i both = _mm256_unpacklo_epi32(every_qword(a), every_qword(b));
    const __m256i twice = _mm256_castps_si256(
        _mm256_permutevar_ps(_mm256_castsi256_ps(both), _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3)));
    to[0] = _mm256_srlv_epi32(twice, first_and_second());
  }
};

// 32 fours, a byte each: low nibbles first.
struct int4_pairs : byte_pairs {
  using coder = int4_pairs_avx2;
  static constexpr int unit = 128, parts = 2, apart = 16, bytes = 32;
  static inline void take(int part, const uint8_t* a, const uint8_t* b, __m256i* to) {
    const __m256i both = part == 0 ? _mm256_unpacklo_epi8(whole(a), whole(b))
                                   : _mm256_unpackhi_epi8(whole(a), whole(b));
    const __m256i codes = _mm256_xor_si256(both, _mm256_set1_epi8(-0x78));  // 0x88: the sign bits
    const __m256i upper = _mm256_set1_epi8(-16);
    const __m256i first = _mm256_and_si256(_mm256_slli_epi16(codes, 4), upper);
    const __m256i second = _mm256_and_si256(codes, upper);
    to[0] = _mm256_unpacklo_epi8(first, second);
    to[1] = _mm256_unpackhi_epi8(first, second);
  }
  // Dwords a0 b0 a1 b1 | a2 b2 a3 b3 of places: part 0 takes the first two of each half.
  static inline void control(const uint8_t* a, const uint8_t* b, __m256i* to) {
    const __m256i low = _mm256_unpacklo_epi32(every_half(a), every_half(b));
    const __m256i high = _mm256_unpackhi_epi32(every_half(a), every_half(b));
    const __m256i both = _mm256_blend_epi32(low, high, 0b11110000);
    to[0] = _mm256_srlv_epi32(_mm256_shuffle_epi32(both, 0b01010000), first_and_second());
    to[1] = _mm256_srlv_epi32(_mm256_shuffle_epi32(both, 0b11111010), first_and_second());
  }
};

// Where P pairs of rows are: row 2 p of them is a, row 2 p + 1 is b.
template <int P>
struct pair_strip {
  const uint8_t* values[2 * P];
  const uint8_t* places[2 * P];
  const float* scales[2 * P];
};

// Columns [begin, end), both multiples of V::unit.
template <class V, int P>
inline __attribute__((always_inline)) void sum_units(const pair_strip<P>& s, const float* x,
                                                     int64_t begin, int64_t end, f32s* sums) {
  f32s part_sums[P][2];
#pragma GCC unroll 2
  for (int p = 0; p < P; p++) part_sums[p][0] = part_sums[p][1] = zeros();
  for (int64_t c = begin; c < end; c += V::unit) {
    const int64_t at = c / V::unit * V::bytes;
#pragma GCC unroll 4
    for (int r = 0; r < 2 * P; r++) __builtin_prefetch(s.values[r] + at + prefetch_bytes);
    __m256i control[P][V::parts];
#pragma GCC unroll 2
    for (int p = 0; p < P; p++)
      V::control(s.places[2 * p] + c / 8, s.places[2 * p + 1] + c / 8, control[p]);
#pragma GCC unroll 2
    for (int part = 0; part < V::parts; part++) {
      __m256i values[P][2];
#pragma GCC unroll 2
      for (int p = 0; p < P; p++)
        V::take(part, s.values[2 * p] + at, s.values[2 * p + 1] + at, values[p]);
#pragma GCC unroll 8
      for (int j = 0; j < V::vectors; j++) {
        const float* const four = x + c + 4 * (part * V::vectors + j);
        const f32s columns = _mm256_blend_ps(load(four), load(four + 4 * (V::apart - 1)), 0xF0);
#pragma GCC unroll 2
        for (int p = 0; p < P; p++) {
          const f32s chosen =
              _mm256_permutevar_ps(columns, _mm256_srli_epi32(control[p][part], 4 * j));
          part_sums[p][j % 2] = fma(V::widen(j, values[p]), chosen, part_sums[p][j % 2]);
        }
      }
    }
  }
#pragma GCC unroll 2
  for (int p = 0; p < P; p++) sums[p] = add(part_sums[p][0], part_sums[p][1]);
}

// The sum of the lanes of row a (0) or b (1).
inline float sum_of_row(f32s x, int which) {
  alignas(32) float lane[lanes];
  _mm256_store_ps(lane, x);
  return (lane[2 * which] + lane[2 * which + 1]) + (lane[4 + 2 * which] + lane[5 + 2 * which]);
}

// What the columns from `begin` on, fewer than a unit, add to row `row`; less than a group of them,
// for codes, does not occur.
template <class V>
float rest_of_row(const sparse_product& p, int64_t row, int64_t begin, const float* x) {
  using C = typename V::coder;
  const sparse_weights& w = p.w;
  strip<C, 1, 1> s;
  s.places[0] = w.places + row * sparse_place_bytes(w.cols);
  s.at[0] = typename C::cursor(w.values + w.starts[row] + begin / V::unit * V::bytes, w.values_end);
  s.x[0] = x;
  f32s sums[1][1];
  sum_columns<C, true, 1, 1>(&s, begin, w.cols, sums);
  return sum(sums[0][0]);
}

// Row `first` of y at the rows row + r * apart of W, r = 0..count; the last stands in for those
// between count and 2 P.
template <class V, int P>
void multiply_pairs(const sparse_product& p, int64_t row, int64_t apart, int count, int64_t first) {
  using C = typename V::coder;
  const sparse_weights& w = p.w;
  const float* const x = p.x + first * p.ldx;
  const int64_t whole_end = w.cols / V::unit * V::unit;
  pair_strip<P> s;
  int64_t rows[2 * P];
  for (int r = 0; r < 2 * P; r++) {
    rows[r] = row + (r < count ? r : count - 1) * apart;
    s.values[r] = w.values + w.starts[rows[r]];
    s.places[r] = w.places + rows[r] * sparse_place_bytes(w.cols);
    s.scales[r] = C::numbers ? nullptr : w.scales + rows[r] * (w.cols / w.group);
  }
  f32s total[P];
  if constexpr (C::numbers) {
    sum_units<V, P>(s, x, 0, whole_end, total);
  } else {
    for (int i = 0; i < P; i++) total[i] = zeros();
    for (int64_t g = 0; g * w.group < whole_end; g++) {
      f32s sums[P];
      sum_units<V, P>(s, x, g * w.group, (g + 1) * w.group, sums);
#pragma GCC unroll 2
      for (int i = 0; i < P; i++) {
        const f32s scale =
            _mm256_blend_ps(every(s.scales[2 * i][g]), every(s.scales[2 * i + 1][g]), 0b11001100);
        total[i] = fma(sums[i], multiply(scale, every(C::unit)), total[i]);
      }
    }
  }
  for (int r = 0; r < count; r++) {
    float y = sum_of_row(total[r / 2], r % 2);
    if (whole_end < w.cols) y += rest_of_row<V>(p, rows[r], whole_end, x);
    p.y[first * p.ldy + rows[r]] = y + (p.bias == nullptr ? 0.0f : p.bias[rows[r]]);
  }
}

// Whether groups are whole units.
template <class V>
bool pairs_fit(const sparse_weights& w) {
  return w.cols >= V::unit && (V::coder::numbers || w.group % V::unit == 0);
}

// Row `first` of y at the rows [begin, end) of W.
template <class V>
void multiply_row_of_x(const sparse_product& p, int64_t begin, int64_t end, int64_t first) {
  const int64_t apart = (end - begin) / 4;
  for (int64_t row = begin; row < begin + apart; row++)
    multiply_pairs<V, 2>(p, row, apart, 4, first);
  for (int64_t row = begin + 4 * apart; row < end; row += 2)
    multiply_pairs<V, 1>(p, row, 1, end - row < 2 ? 1 : 2, first);
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_PAIRS_AVX2_H
