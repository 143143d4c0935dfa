// SPDX-License-Identifier: Apache-2.0
//
// What      y = softmax(scale * q . k^T) v over the visible keys, in blocks of 64 keys with a
//           running maximum and sum (arXiv 2205.14135, algorithm 1).
// Layout    A row is one (query, head) of the tile. Scratch:
//             turned [head_dim, 64]  the block's keys transposed, zeros beyond the last key
//             scores [rows, 64]      scores, then weights exp(score - maximum); 0 where not visible
//           y holds the unnormalised sum until the end.
// Tile      One attention_tile. Scores: registers/8 rows times 4 vectors of keys (few rows: one dot
//           product per key). Mixing: 4 rows times registers/8 vectors of head_dim, the weights
//           broadcast; rows that do not see the whole block go one by one over exactly their keys,
//           so that a value that is not visible never takes part, not even times 0.
// Numerics  fp32. With S = sum_d |q k| |scale|: a score errs by (head_dim + 2) eps S, a weight by
// that
//           plus 2 ulp, the mix by (keys + 2 blocks) eps max|v|. Blocks start at multiples of 64
//           and a row's order of sums does not depend on the other rows of its path (few rows or
//           many).
// Needs     The lanes of the file that includes this one; exponential.h; AVX2 for the transpose.
// Tail      Keys: scalar in the transpose. head_dim: masked.
#ifndef ESPALIER_ATTENTION_H
#define ESPALIER_ATTENTION_H

#include <immintrin.h>

#include "operations.h"

namespace esp {
namespace {

constexpr int64_t block = attention_block_keys;
constexpr int64_t most_rows = attention_tile_rows;
// From this many rows on the transpose of a block pays.
constexpr int64_t least_rows_to_turn = 4;

struct attention_row {
  const float* q;  // [head_dim]
  float* y;        // [head_dim]
  int64_t begin;   // visible keys [begin, end)
  int64_t end;
  int64_t from;  // the same inside the current block
  int64_t to;
  float largest;
  float sum;
};

// out[c, r] = in[r, c] of 8 x 8.
inline void turn_eight(const float* in, int64_t ld, float* out) {
  __m256 r[8], s[8];
  for (int64_t i = 0; i < 8; i++) r[i] = _mm256_loadu_ps(in + i * ld);
  for (int64_t i = 0; i < 8; i += 2) {
    s[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    s[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int64_t i = 0; i < 8; i += 4) {
    r[i] = _mm256_shuffle_ps(s[i], s[i + 2], 0x44);
    r[i + 1] = _mm256_shuffle_ps(s[i], s[i + 2], 0xEE);
    r[i + 2] = _mm256_shuffle_ps(s[i + 1], s[i + 3], 0x44);
    r[i + 3] = _mm256_shuffle_ps(s[i + 1], s[i + 3], 0xEE);
  }
  for (int64_t i = 0; i < 4; i++) {
    _mm256_storeu_ps(out + i * block, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
    _mm256_storeu_ps(out + (i + 4) * block, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
  }
}

// turned[d, j] = k[j, d] for j < count, 0 for the other j of the block.
inline void turn_block(const float* k, int64_t ldk, int64_t count, int64_t head_dim,
                       float* turned) {
  const int64_t whole_keys = count / 8 * 8;
  const int64_t whole_dims = head_dim / 8 * 8;
  for (int64_t j = 0; j < whole_keys; j += 8) {
    for (int64_t d = 0; d < whole_dims; d += 8)
      turn_eight(k + j * ldk + d, ldk, turned + d * block + j);
    for (int64_t i = j; i < j + 8; i++)
      for (int64_t d = whole_dims; d < head_dim; d++) turned[d * block + i] = k[i * ldk + d];
  }
  for (int64_t d = 0; d < head_dim; d++) {
    for (int64_t j = whole_keys; j < block; j++)
      turned[d * block + j] = j < count ? k[j * ldk + d] : 0.0f;
  }
}

// scores[0..R, 0..64) from the transposed block.
template <int64_t R>
void turned_scores(const attention_row* rows, int64_t head_dim, float scale, const float* turned,
                   float* scores) {
  constexpr int64_t vectors = 4;
  for (int64_t j = 0; j < block; j += vectors * lanes) {
    f32s sums[R][vectors];
    for (int64_t r = 0; r < R; r++)
      for (int64_t v = 0; v < vectors; v++) sums[r][v] = zeros();
    for (int64_t d = 0; d < head_dim; d++) {
      f32s key[vectors];
      for (int64_t v = 0; v < vectors; v++) key[v] = load(turned + d * block + j + v * lanes);
      for (int64_t r = 0; r < R; r++) {
        const f32s query = every(rows[r].q[d]);
        for (int64_t v = 0; v < vectors; v++) sums[r][v] = fma(query, key[v], sums[r][v]);
      }
    }
    for (int64_t r = 0; r < R; r++)
      for (int64_t v = 0; v < vectors; v++)
        store(scores + r * block + j + v * lanes, multiply(sums[r][v], every(scale)));
  }
}

// The scores of one row by dot products, for its visible keys of the block alone.
inline void direct_scores(const attention_row& row, int64_t head_dim, float scale, const float* k,
                          int64_t ldk, float* scores) {
  for (int64_t j = row.from; j < row.to; j++) {
    const float* const key = k + j * ldk;
    f32s even = zeros();
    f32s odd = zeros();
    int64_t d = 0;
    for (; d + 2 * lanes <= head_dim; d += 2 * lanes) {
      even = fma(load(row.q + d), load(key + d), even);
      odd = fma(load(row.q + d + lanes), load(key + d + lanes), odd);
    }
    for (; d < head_dim; d += lanes) {
      const int64_t count = head_dim - d < lanes ? head_dim - d : lanes;
      even = fma(load_tail(row.q + d, count), load_tail(key + d, count), even);
    }
    scores[j] = sum(add(even, odd)) * scale;
  }
}

// Turns the scores of a row into weights and rescales what it has so far.
inline void weigh(attention_row* row, int64_t head_dim, float* scores) {
  const float nothing = -__builtin_inff();
  for (int64_t j = 0; j < row->from; j++) scores[j] = nothing;
  for (int64_t j = row->to; j < block; j++) scores[j] = nothing;
  f32s most = every(row->largest);
  for (int64_t j = 0; j < block; j += lanes) most = larger(most, load(scores + j));
  const float largest = maximum(most);
  if (largest == nothing) {  // every visible score is -infinity so far
    for (int64_t j = 0; j < block; j += lanes) store(scores + j, zeros());
    return;
  }
  f32s total = zeros();
  for (int64_t j = 0; j < block; j += lanes) {
    const f32s weight = exponential(subtract(load(scores + j), every(largest)));
    store(scores + j, weight);
    total = add(total, weight);
  }
  if (largest != row->largest) {
    const f32s shrink = exponential(subtract(every(row->largest), every(largest)));
    row->sum *= maximum(shrink);
    for (int64_t d = 0; d < head_dim; d += lanes) {
      const int64_t count = head_dim - d < lanes ? head_dim - d : lanes;
      store_tail(row->y + d, multiply(load_tail(row->y + d, count), shrink), count);
    }
    row->largest = largest;
  }
  row->sum += sum(total);
}

// y[0..R, d..d + vectors * lanes) += weights[0..R, from..to) . v; count < lanes only with one
// vector.
template <int64_t R, int64_t vectors>
void mix_columns(const attention_row* rows, const float* weights, int64_t from, int64_t to,
                 const float* v, int64_t ldv, int64_t d, int64_t count) {
  f32s sums[R][vectors];
  for (int64_t r = 0; r < R; r++)
    for (int64_t i = 0; i < vectors; i++)
      sums[r][i] = vectors > 1 ? load(rows[r].y + d + i * lanes) : load_tail(rows[r].y + d, count);
  for (int64_t j = from; j < to; j++) {
    const float* const value = v + j * ldv + d;
    f32s part[vectors];
    for (int64_t i = 0; i < vectors; i++)
      part[i] = vectors > 1 ? load(value + i * lanes) : load_tail(value, count);
    for (int64_t r = 0; r < R; r++) {
      const f32s weight = every(weights[r * block + j]);
      for (int64_t i = 0; i < vectors; i++) sums[r][i] = fma(weight, part[i], sums[r][i]);
    }
  }
  for (int64_t r = 0; r < R; r++) {
    for (int64_t i = 0; i < vectors; i++) {
      if (vectors > 1) {
        store(rows[r].y + d + i * lanes, sums[r][i]);
      } else {
        store_tail(rows[r].y + d, sums[r][i], count);
      }
    }
  }
}

template <int64_t R, int64_t vectors>
void mix_rows(const attention_row* rows, const float* weights, int64_t from, int64_t to,
              const float* v, int64_t ldv, int64_t head_dim) {
  int64_t d = 0;
  for (; d + vectors * lanes <= head_dim; d += vectors * lanes)
    mix_columns<R, vectors>(rows, weights, from, to, v, ldv, d, lanes);
  for (; d < head_dim; d += lanes)
    mix_columns<R, 1>(rows, weights, from, to, v, ldv, d,
                      head_dim - d < lanes ? head_dim - d : lanes);
}

inline void mix(const attention_row* rows, int64_t count, const float* weights, int64_t keys,
                const float* v, int64_t ldv, int64_t head_dim) {
  constexpr int64_t together = 4;
  int64_t r = 0;
  while (r < count) {
    bool whole = r + together <= count;
    for (int64_t i = r; whole && i < r + together; i++)
      whole = rows[i].from == 0 && rows[i].to == keys;
    if (whole) {
      mix_rows<together, registers / 8>(rows + r, weights + r * block, 0, keys, v, ldv, head_dim);
      r += together;
    } else {
      mix_rows<1, 4>(rows + r, weights + r * block, rows[r].from, rows[r].to, v, ldv, head_dim);
      r++;
    }
  }
}

inline int64_t first_visible(int64_t window, int64_t end) {
  return window > 0 && end > window ? end - window : 0;
}

inline void attend(const attention_tile& a) {
  float* const turned = a.scratch;                    // [head_dim, block]
  float* const scores = turned + a.head_dim * block;  // [rows, block]
  attention_row rows[most_rows];
  const int64_t count = a.queries * a.heads;
  for (int64_t r = 0; r < count; r++) {
    const int64_t t = r / a.heads;
    const int64_t h = r % a.heads;
    const int64_t end = a.position + t + 1;
    rows[r].q = a.q + t * a.ldq + h * a.head_dim;
    rows[r].y = a.y + t * a.ldy + h * a.head_dim;
    rows[r].begin = first_visible(a.window, end);
    rows[r].end = end;
    rows[r].largest = -__builtin_inff();
    rows[r].sum = 0.0f;
    for (int64_t d = 0; d < a.head_dim; d++) rows[r].y[d] = 0.0f;
  }
  const int64_t last = a.position + a.queries;
  for (int64_t key = first_visible(a.window, a.position + 1) / block * block; key < last;
       key += block) {
    const int64_t keys = last - key < block ? last - key : block;
    const float* const k = a.k + key * a.ldk;
    for (int64_t r = 0; r < count; r++) {
      rows[r].from = rows[r].begin > key ? rows[r].begin - key : 0;
      rows[r].to = rows[r].end < key + keys ? rows[r].end - key : keys;
      // A row that sees nothing here has an empty range.
      if (rows[r].from >= rows[r].to) rows[r].from = rows[r].to = 0;
    }
    if (count >= least_rows_to_turn) {
      constexpr int64_t together = registers / 8;
      turn_block(k, a.ldk, keys, a.head_dim, turned);
      int64_t r = 0;
      for (; r + together <= count; r += together)
        turned_scores<together>(rows + r, a.head_dim, a.scale, turned, scores + r * block);
      for (; r < count; r++)
        turned_scores<1>(rows + r, a.head_dim, a.scale, turned, scores + r * block);
    } else {
      for (int64_t r = 0; r < count; r++)
        direct_scores(rows[r], a.head_dim, a.scale, k, a.ldk, scores + r * block);
    }
    for (int64_t r = 0; r < count; r++) {
      if (rows[r].from < rows[r].to) weigh(&rows[r], a.head_dim, scores + r * block);
    }
    mix(rows, count, scores, keys, a.v + key * a.ldv, a.ldv, a.head_dim);
  }
  for (int64_t r = 0; r < count; r++) {
    for (int64_t d = 0; d < a.head_dim; d++) rows[r].y[d] /= rows[r].sum;
  }
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_ATTENTION_H
