// SPDX-License-Identifier: Apache-2.0
//
// What      Products of a few rows of int8 activations with packed weights, bound by the bytes of
//           W: read once, in place. Written once over a Reader (one chunk of four rows in one
//           instruction set); internal to each file that includes it.
// Layout    layout/bit_stream.h: a chunk of Reader::chunk columns is a whole number of bytes; x is
//           first put into the order in which a chunk meets its codes.
// Tile      four rows of W (four streams) by one row of x at a time; W comes from memory once, for
//           the next row of x from L1.
// Numerics  int8_operations.h.
// Tail      the last chunk of a row is a zero-filled copy; x past the end is zero in scratch.
#ifndef ESPALIER_INT8_ROWS_H
#define ESPALIER_INT8_ROWS_H

#include <immintrin.h>
#include <string.h>

#include "layout/bit_stream.h"
#include "operations.h"

namespace esp {
namespace {

constexpr int64_t int8_few_rows = 4;  // of x

// Whether these loops take the product: chunks must not straddle groups.
template <class Reader>
bool takes_rows(const int8_product& p) {
  return p.m <= int8_few_rows && (p.group == p.k || p.group % Reader::chunk == 0);
}

// The sums of four vectors of eight, a lane each.
inline __m128i fold_four(const __m256i (&v)[4]) {
  const __m256i pairs =
      _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
  return _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
}

// How far ahead of a row a line is asked for, in bytes: where the next four rows begin, since the
// hardware does not look across rows (a page each); in long rows 2 KiB, which it may anyway.
constexpr int64_t fetch_ahead(int64_t row_bytes) {
  return row_bytes <= 8192 ? 4 * row_bytes : 2048;
}

// x in the order of Reader for a chunk of codes, two a byte: its even columns, which meet low
// nibbles, then its odd ones.
inline void split_pairs(const int8_t* __restrict x, int64_t k, int64_t chunk,
                        int8_t* __restrict to) {
  const int64_t half = chunk / 2, whole = k / chunk * chunk;
  for (int64_t c = 0; c < whole; c += chunk) {
    for (int64_t j = 0; j < half; j++) to[c + j] = x[c + 2 * j];
    for (int64_t j = 0; j < half; j++) to[c + half + j] = x[c + 2 * j + 1];
  }
  if (whole == k) return;
  memset(to + whole, 0, static_cast<size_t>(chunk));
  for (int64_t j = 0; whole + j < k; j++) to[whole + j / 2 + j % 2 * half] = x[whole + j];
}

template <class Reader>
__m128i group_totals(const uint8_t* const (&rows)[4], const int8_t* x, int64_t first,
                     int64_t columns, int64_t ahead) {
  typename Reader::sums sums = {};
  const int64_t whole = columns / Reader::chunk * Reader::chunk;
  for (int64_t c = 0; c < whole; c += Reader::chunk) {
    const int64_t at = (first + c) * Reader::bits / 8;
    // A line of every row, half of them with every chunk of 32 bytes. Addresses past the matrix
    // do no harm; they are not formed as pointers into it.
    constexpr int lines = Reader::chunk * Reader::bits / 8 >= 64 ? 4 : 2;
    const int64_t half = lines == 4 ? 0 : at / 32 % 2 * 2;
    for (int64_t r = half; r < half + lines; r++)
      __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(rows[r]) +
                                                       static_cast<uintptr_t>(at + ahead)));
    Reader::add(rows[0] + at, rows[1] + at, rows[2] + at, rows[3] + at, x + c, &sums);
  }
  if (whole < columns) {
    constexpr int64_t bytes = Reader::chunk * Reader::bits / 8;
    alignas(64) uint8_t copy[4][bytes] = {};
    const int64_t at = (first + whole) * Reader::bits / 8;
    const int64_t end = ((first + columns) * Reader::bits + 7) / 8;
    for (int r = 0; r < 4; r++) memcpy(copy[r], rows[r] + at, static_cast<size_t>(end - at));
    Reader::add(copy[0], copy[1], copy[2], copy[3], x + whole, &sums);
  }
  return Reader::fold(sums);
}

template <class Reader>
void multiply_rows(const int8_product& p) {
  const int64_t groups = p.k / p.group;
  const int64_t ldx = (p.k + Reader::chunk - 1) / Reader::chunk * Reader::chunk;
  int8_t* const x = static_cast<int8_t*>(p.scratch);  // [m, ldx]
  static_assert(int8_few_rows * (int8_max_columns + Reader::chunk) <= int8_scratch_bytes,
                "x is arranged in the caller's scratch");
  for (int64_t i = 0; i < p.m; i++) Reader::arrange(p.x + i * p.ldx, p.k, x + i * ldx);
  const int64_t ahead = fetch_ahead(p.ldcodes * 4);
  for (int64_t row = 0; row < p.n; row += 4) {
    const int64_t count = p.n - row < 4 ? p.n - row : 4;
    const uint8_t* rows[4];
    int64_t at[4];  // of scales and zeros; rows past the end repeat the last
    for (int64_t r = 0; r < 4; r++) {
      const int64_t have = row + (r < count ? r : count - 1);
      rows[r] = reinterpret_cast<const uint8_t*>(p.codes + have * p.ldcodes);
      at[r] = have * groups;
    }
    for (int64_t i = 0; i < p.m; i++) {
      __m128 sum = _mm_setzero_ps();
      for (int64_t g = 0; g < groups; g++) {
        const __m128i totals =
            group_totals<Reader>(rows, x + i * ldx + g * p.group, g * p.group, p.group, ahead);
        __m128i offsets = _mm_set1_epi32(Reader::base);
        if (p.zeros != nullptr) {
          offsets = _mm_add_epi32(offsets, _mm_setr_epi32(p.zeros[at[0] + g], p.zeros[at[1] + g],
                                                          p.zeros[at[2] + g], p.zeros[at[3] + g]));
        }
        const __m128i x_sum = _mm_set1_epi32(p.x_sums[i * groups + g]);
        const __m128i exact = _mm_sub_epi32(totals, _mm_mullo_epi32(offsets, x_sum));
        const __m128 scales = _mm_setr_ps(p.scales[at[0] + g], p.scales[at[1] + g],
                                          p.scales[at[2] + g], p.scales[at[3] + g]);
        sum = _mm_add_ps(sum, _mm_mul_ps(scales, _mm_cvtepi32_ps(exact)));
      }
      alignas(16) float y[4];
      _mm_store_ps(y, _mm_mul_ps(sum, _mm_set1_ps(p.x_scales[i])));
      for (int64_t r = 0; r < count; r++)
        p.y[i * p.ldy + row + r] = p.bias == nullptr ? y[r] : y[r] + p.bias[row + r];
    }
  }
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_INT8_ROWS_H
