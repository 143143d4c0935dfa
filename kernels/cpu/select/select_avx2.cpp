// SPDX-License-Identifier: Apache-2.0
//
// What      The choice of n in 4 and of n in 8, and sums of squares, in AVX2.
// Layout    eight columns a vector: two sets of 4, or one of 8.
// Tile      a set is compared with itself turned by 1 .. m - 1 places; what comes from a lower
// column
//           goes first among equals. The number that goes before is the rank of a column.
// Numerics  the scores of the reference, hence its choice.
// Needs     AVX2, BMI2.
// Tail      sets beyond the last whole vector, and other m, as the reference.
#include "cpu/lanes_avx2.h"
#include "cpu/select/column_squares.h"
#include "layout/select.h"
#include "operations.h"

namespace esp {

select_nm_kernel select_nm_avx2;
column_squares_kernel column_squares_avx2;

namespace {

// -1 where the column at `other` goes before the one at `mine`. Bit i of Lower: other is the lower
// column there.
template <int Lower>
inline __m256i before(__m256 other, __m256 mine) {
  return _mm256_castps_si256(_mm256_blend_ps(_mm256_cmp_ps(other, mine, _CMP_LT_OQ),
                                             _mm256_cmp_ps(mine, other, _CMP_NLT_UQ), Lower));
}

inline __m256i ranks_of_4(__m256 x) {
  // Turned by r places, lane i meets lane (i + r) % 4, which is the lower one for i >= 4 - r.
  __m256i rank = _mm256_setzero_si256();
  rank = _mm256_sub_epi32(rank, before<0x88>(_mm256_permute_ps(x, 0x39), x));
  rank = _mm256_sub_epi32(rank, before<0xcc>(_mm256_permute_ps(x, 0x4e), x));
  return _mm256_sub_epi32(rank, before<0xee>(_mm256_permute_ps(x, 0x93), x));
}

template <int R>
inline __m256i turned_by(__m256 x, __m256i rank) {
  const __m256i order = _mm256_setr_epi32(R % 8, (R + 1) % 8, (R + 2) % 8, (R + 3) % 8, (R + 4) % 8,
                                          (R + 5) % 8, (R + 6) % 8, (R + 7) % 8);
  constexpr int lower = (0xff << (8 - R)) & 0xff;
  return _mm256_sub_epi32(rank, before<lower>(_mm256_permutevar8x32_ps(x, order), x));
}

inline __m256i ranks_of_8(__m256 x) {
  __m256i rank = _mm256_setzero_si256();
  rank = turned_by<1>(x, rank);
  rank = turned_by<2>(x, rank);
  rank = turned_by<3>(x, rank);
  rank = turned_by<4>(x, rank);
  rank = turned_by<5>(x, rank);
  rank = turned_by<6>(x, rank);
  return turned_by<7>(x, rank);
}

}  // namespace

void select_nm_avx2(int64_t cols, const float* x, const float* factor, int32_t n, int32_t m,
                    uint8_t* kept) {
  int64_t c = 0;
  const __m256i last_to_go = _mm256_set1_epi32(n - 1);
  for (; (m == 4 || m == 8) && c + lanes <= cols; c += lanes) {
    __m256 score = magnitude(load(x + c));
    if (factor != nullptr) score = multiply(score, load(factor + c));
    const __m256i rank = m == 4 ? ranks_of_4(score) : ranks_of_8(score);
    const int stays = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(rank, last_to_go)));
    const uint64_t bytes = _pdep_u64(static_cast<uint64_t>(stays), 0x0101010101010101u);
    memcpy(kept + c, &bytes, sizeof bytes);
  }
  for (; c < cols; c += m)
    select_set(x + c, factor == nullptr ? nullptr : factor + c, n, m, kept + c);
}

void column_squares_avx2(int64_t tokens, int64_t cols, const float* x, int64_t ldx, double* sums) {
  column_squares(tokens, cols, x, ldx, sums);
}

}  // namespace esp
