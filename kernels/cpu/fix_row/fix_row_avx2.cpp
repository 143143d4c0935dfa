// SPDX-License-Identifier: Apache-2.0
//
// What      A row of x as integers of one quantum a chunk, cut into balanced digits.
// Layout    layout/fixed_point.h.
// Tile      half a step: 32 bytes of every digit and plane.
// Numerics  x * factor rounded to nearest even, as the reference: the same bits.
// Needs     AVX2.
// Tail      a chunk that does not fill its steps is done column by column.
#include <immintrin.h>

#include "layout/fixed_point.h"
#include "operations.h"

namespace esp {

fix_row_kernel fix_row_avx2;

namespace {

uint32_t largest_of(const float* x, int64_t n) {  // n % 8 == 0; magnitudes as bits
  __m256i most = _mm256_setzero_si256();
  for (int64_t c = 0; c < n; c += 8) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + c));
    most = _mm256_max_epi32(most, _mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff)));
  }
  __m128i m = _mm_max_epi32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
  return static_cast<uint32_t>(_mm_cvtsi128_si32(m));
}

// The lanes of v, four vectors (bytes) or two (words), narrowed to 32 bytes in order.
template <int bytes>
__m256i narrow(const __m256i* v) {
  if constexpr (bytes == 1) {
    const __m256i mixed =
        _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
    return _mm256_permutevar8x32_epi32(mixed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  } else {
    return _mm256_permute4x64_epi64(_mm256_packs_epi32(v[0], v[1]), 0xd8);
  }
}

// Columns [0, n) of x, whole steps; returns the sum of X.
template <int bytes, int planes>
int64_t fix_steps(const float* x, int64_t n, float factor, int32_t digits, int8_t* steps) {
  constexpr int vectors = 4 / bytes;  // of eight columns, in 32 bytes
  constexpr int64_t half_columns = 8 * vectors * planes;
  constexpr int shift = 8 * bytes;
  const __m256 scale = _mm256_set1_ps(factor);
  // X = high * 2^16 + low: sums of 16-bit halves, at most 16 of them a lane.
  __m256i high = _mm256_setzero_si256(), low = _mm256_setzero_si256();
  for (int64_t c = 0; c < n; c += half_columns) {
    __m256i value[planes][vectors];
    for (int j = 0; j < vectors; j++) {
      const float* at = x + c + 8 * planes * j;
      if constexpr (planes == 2) {
        const __m256 a = _mm256_loadu_ps(at), b = _mm256_loadu_ps(at + 8);
        const __m256 even = _mm256_shuffle_ps(a, b, 0x88), odd = _mm256_shuffle_ps(a, b, 0xdd);
        value[0][j] = _mm256_castps_si256(even);
        value[1][j] = _mm256_castps_si256(odd);
        for (int p = 0; p < 2; p++) value[p][j] = _mm256_permute4x64_epi64(value[p][j], 0xd8);
      } else {
        value[0][j] = _mm256_castps_si256(_mm256_loadu_ps(at));
      }
      for (int p = 0; p < planes; p++) {
        const __m256i v =
            _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_castsi256_ps(value[p][j]), scale));
        high = _mm256_add_epi32(high, _mm256_srai_epi32(v, 16));
        low = _mm256_add_epi32(low, _mm256_and_si256(v, _mm256_set1_epi32(0xffff)));
        value[p][j] = v;
      }
    }
    const int64_t half = c / half_columns;
    int8_t* const out = steps + half / 2 * fixed_line * digits * planes + half % 2 * 32;
    for (int32_t d = 0; d < digits; d++) {
      for (int p = 0; p < planes; p++) {
        __m256i digit[vectors];
        for (int j = 0; j < vectors; j++) {
          const __m256i v = value[p][j];
          digit[j] = _mm256_srai_epi32(_mm256_slli_epi32(v, 32 - shift), 32 - shift);
          value[p][j] =
              _mm256_srai_epi32(_mm256_add_epi32(v, _mm256_set1_epi32(1 << (shift - 1))), shift);
        }
        _mm256_store_si256(reinterpret_cast<__m256i*>(out + (d * planes + p) * fixed_line),
                           narrow<bytes>(digit));
      }
    }
  }
  alignas(32) int32_t highs[8], lows[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(highs), high);
  _mm256_store_si256(reinterpret_cast<__m256i*>(lows), low);
  int64_t sum = 0;
  for (int i = 0; i < 8; i++) sum += int64_t{highs[i]} * 65536 + lows[i];
  return sum;
}

}  // namespace

void fix_row_avx2(int32_t bits, int32_t fine, int64_t k, int64_t group, const float* x,
                  int8_t* digits, float* quanta, float* sums) {
  const fixed_layout f = fixed_layout_of(bits, fine != 0);
  for (int64_t g = 0; g < k / group; g++) {
    const int64_t end = (g + 1) * group;
    double sum = 0.0;  // of products that are exact: below 2^37 times 24 bits
    for (int64_t start = g * group; start < end; start += packed_chunk) {
      const int64_t stop = end < start + packed_chunk ? end : start + packed_chunk;
      const int64_t n = stop - start;
      int64_t chunk = 0;
      float factor = 0.0f;
      if (start % f.columns() == 0 && n % f.columns() == 0) {
        fixed_scale(largest_of(x + start, n), fine != 0, &factor, quanta);
        if (factor == 0.0f) {
          memset(digits, 0, static_cast<size_t>(fixed_steps(f, start, stop) * f.step_bytes()));
        } else if (f.digit_bytes == 1) {
          chunk = fix_steps<1, 2>(x + start, n, factor, f.digits, digits);
        } else if (f.planes == 2) {
          chunk = fix_steps<2, 2>(x + start, n, factor, f.digits, digits);
        } else {
          chunk = fix_steps<2, 1>(x + start, n, factor, f.digits, digits);
        }
      } else {
        chunk = fixed_chunk(f, fine != 0, x, start, stop, digits, quanta);
      }
      sum += static_cast<double>(chunk) * static_cast<double>(*quanta++);
      digits += fixed_steps(f, start, stop) * f.step_bytes();
    }
    sums[g] = static_cast<float>(sum);
  }
}

}  // namespace esp
