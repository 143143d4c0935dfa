// SPDX-License-Identifier: Apache-2.0
//
// The register blocks of attention.h: scores of a block of keys, and the mix of its values.
//
// Layout    Many rows: keys and values of a block are copied once into panels that a block streams,
//             key_panels    [64 / panel][head_dim][panel]  transposed, zeros beyond the last key
//             value_panels  [head_dim / panel][64][panel]  whole panels; the columns behind them
//                                                          are read in place
//           with panel = 2 vectors. The leading dimension of a cache is often a multiple of 4 KiB,
//           so that the rows of a block in place would fall into one set of the L1 cache.
//           Few rows (decoding): rows are read in place, from end to end, and those of the next
//           call asked for, since no prefetcher follows rows so far apart.
// Needs     The lanes of the file that includes this one; AVX2 for the transposes.
#ifndef ESPALIER_ATTENTION_BLOCKS_H
#define ESPALIER_ATTENTION_BLOCKS_H

#include <immintrin.h>

#include "cpu/turn_eight.h"
#include "operations.h"

namespace esp {
namespace {

constexpr int64_t block = attention_block_keys;
constexpr int64_t panel = 2 * lanes;
// Rows of a block of many: rows * 2 accumulators, two vectors and a broadcast in the registers.
constexpr int64_t together = registers * 3 / 8;
constexpr int64_t fewer = registers == 16 ? 3 : 4;
// Rows of a block of few: rows * keys accumulators whose sums fill one vector.
constexpr int64_t few_rows = 4;

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

// ---- transposes

// The key panels of `count` keys.
inline void turn_keys(const float* k, int64_t ldk, int64_t count, int64_t head_dim, float* panels) {
  const int64_t whole_keys = count / 8 * 8;
  const int64_t whole_dims = head_dim / 8 * 8;
  const auto place = [=](int64_t d, int64_t j) {
    return panels + j / panel * panel * head_dim + d * panel + j % panel;
  };
  for (int64_t j = 0; j < whole_keys; j += 8) {
    for (int64_t d = 0; d < whole_dims; d += 8) {
      __m256 r[8];
      for (int64_t i = 0; i < 8; i++) r[i] = _mm256_loadu_ps(k + (j + i) * ldk + d);
      turn_eight(r);
      for (int64_t i = 0; i < 8; i++) _mm256_storeu_ps(place(d + i, j), r[i]);
    }
    for (int64_t i = j; i < j + 8; i++)
      for (int64_t d = whole_dims; d < head_dim; d++) *place(d, i) = k[i * ldk + d];
  }
  const int64_t end = (count + panel - 1) / panel * panel;
  for (int64_t d = 0; d < head_dim; d++) {
    for (int64_t j = whole_keys; j < end; j++) *place(d, j) = j < count ? k[j * ldk + d] : 0.0f;
  }
}

inline void copy_values(const float* v, int64_t ldv, int64_t count, int64_t head_dim,
                        float* panels) {
  const int64_t whole = head_dim / panel;
  for (int64_t j = 0; j < count; j++) {
    for (int64_t p = 0; p < whole; p++) {
      const float* const from = v + j * ldv + p * panel;
      float* const to = panels + (p * block + j) * panel;
      store(to, load(from));
      store(to + lanes, load(from + lanes));
    }
  }
}

// ---- scores

// scores[0..R, 0..panel) of the panel that begins at key j, unless no row sees a key of it.
template <int64_t R>
void panel_scores(const attention_row* rows, int64_t j, int64_t head_dim, float scale,
                  const float* keys, float* scores) {
  bool seen = false;
  for (int64_t r = 0; r < R; r++) seen = seen || (rows[r].from < j + panel && rows[r].to > j);
  if (!seen) return;
  f32s sums[R][2];
  for (int64_t r = 0; r < R; r++) sums[r][0] = sums[r][1] = zeros();
  for (int64_t d = 0; d < head_dim; d++) {
    const f32s first = load(keys + d * panel);
    const f32s second = load(keys + d * panel + lanes);
    for (int64_t r = 0; r < R; r++) {
      const f32s query = every(rows[r].q[d]);
      sums[r][0] = fma(query, first, sums[r][0]);
      sums[r][1] = fma(query, second, sums[r][1]);
    }
  }
  for (int64_t r = 0; r < R; r++) {
    store(scores + r * block, multiply(sums[r][0], every(scale)));
    store(scores + r * block + lanes, multiply(sums[r][1], every(scale)));
  }
}

inline void scores_of_many(const attention_row* rows, int64_t count, int64_t keys, int64_t head_dim,
                           float scale, const float* panels, float* scores) {
  for (int64_t j = 0; j < keys; j += panel, panels += panel * head_dim) {
    int64_t r = 0;
    for (; r + together <= count; r += together)
      panel_scores<together>(rows + r, j, head_dim, scale, panels, scores + r * block + j);
    for (; r + fewer <= count; r += fewer)
      panel_scores<fewer>(rows + r, j, head_dim, scale, panels, scores + r * block + j);
    for (; r < count; r++)
      panel_scores<1>(rows + r, j, head_dim, scale, panels, scores + r * block + j);
  }
}

// Lane i = the sum of the lanes of x[i].
inline __m256 lane_sums(const __m256* x) {
  const __m256 a = _mm256_hadd_ps(_mm256_hadd_ps(x[0], x[1]), _mm256_hadd_ps(x[2], x[3]));
  const __m256 b = _mm256_hadd_ps(_mm256_hadd_ps(x[4], x[5]), _mm256_hadd_ps(x[6], x[7]));
  return _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
}

// Into the L2 cache: rows 4 KiB apart would push each other out of the eight ways of an L1 set.
inline void ask_for_row(const float* row, int64_t head_dim) {
  constexpr int64_t line = 16;  // floats
  for (int64_t d = 0; d < head_dim; d += line)
    _mm_prefetch(reinterpret_cast<const char*>(row + d), _MM_HINT_T1);
}

// scores[0..R, j..j + lanes / R) of keys in place; keys from `last` on repeat the one before it.
template <int64_t R>
void direct_scores(const attention_row* rows, int64_t head_dim, float scale, const float* k,
                   int64_t ldk, int64_t j, int64_t last, float* scores) {
  constexpr int64_t keys = lanes / R;
  const float* key[keys];
  f32s sums[lanes];
  for (int64_t i = 0; i < keys; i++) key[i] = k + (j + i < last ? j + i : last - 1) * ldk;
  for (int64_t i = 0; i < lanes; i++) sums[i] = zeros();
  int64_t d = 0;
  for (; d + lanes <= head_dim; d += lanes) {
    f32s part[keys];
    for (int64_t i = 0; i < keys; i++) part[i] = load(key[i] + d);
    for (int64_t r = 0; r < R; r++) {
      const f32s query = load(rows[r].q + d);
      for (int64_t i = 0; i < keys; i++)
        sums[r * keys + i] = fma(query, part[i], sums[r * keys + i]);
    }
  }
  if (d < head_dim) {
    const int64_t rest = head_dim - d;
    for (int64_t r = 0; r < R; r++) {
      const f32s query = load_tail(rows[r].q + d, rest);
      for (int64_t i = 0; i < keys; i++)
        sums[r * keys + i] = fma(query, load_tail(key[i] + d, rest), sums[r * keys + i]);
    }
  }
  alignas(64) float out[lanes];
  for (int64_t i = 0; i < lanes; i += 8) {
    __m256 eight[8];
    for (int64_t s = 0; s < 8; s++) eight[s] = fold_to_eight(sums[i + s]);
    _mm256_store_ps(out + i, _mm256_mul_ps(lane_sums(eight), _mm256_set1_ps(scale)));
  }
  for (int64_t r = 0; r < R; r++)
    for (int64_t i = 0; i < keys && j + i < last; i++)
      scores[r * block + j + i] = out[r * keys + i];
}

// The scores of few rows for keys [0, keys) of the block; asks for as many rows of the keys of the
// next call on the way.
inline void scores_of_few(const attention_row* rows, int64_t count, int64_t keys,
                          const attention_tile& a, const float* k, float* scores) {
  constexpr int64_t step = lanes / few_rows;
  int64_t j = 0;
  for (; j < keys; j += step) {
    for (int64_t i = j; a.next_k != nullptr && i < j + step; i++)
      ask_for_row(a.next_k + i * a.ldk, a.head_dim);
    for (int64_t r = 0; r + few_rows <= count; r += few_rows)
      direct_scores<few_rows>(rows + r, a.head_dim, a.scale, k, a.ldk, j, keys, scores + r * block);
  }
  for (int64_t r = count / few_rows * few_rows; r < count; r++) {
    for (j = 0; j < keys; j += lanes)
      direct_scores<1>(rows + r, a.head_dim, a.scale, k, a.ldk, j, keys, scores + r * block);
  }
}

// ---- values

// y[0..R, d..d + vectors * lanes) += weights[0..R, from..to) . values; `tail` < lanes only with one
// vector.
template <int64_t R, int64_t vectors>
void mix_columns(const attention_row* rows, const float* weights, int64_t from, int64_t to,
                 const float* values, int64_t ld, int64_t d, int64_t tail) {
  f32s sums[R][vectors];
  for (int64_t r = 0; r < R; r++)
    for (int64_t i = 0; i < vectors; i++)
      sums[r][i] = vectors > 1 ? load(rows[r].y + d + i * lanes) : load_tail(rows[r].y + d, tail);
  for (int64_t j = from; j < to; j++) {
    const float* const value = values + j * ld;
    f32s part[vectors];
    for (int64_t i = 0; i < vectors; i++)
      part[i] = vectors > 1 ? load(value + i * lanes) : load_tail(value, tail);
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
        store_tail(rows[r].y + d, sums[r][i], tail);
      }
    }
  }
}

// The values of a block: whole panels, and the rows themselves for the columns behind them.
struct block_values {
  const float* panels;
  const float* v;
  int64_t ldv;
  int64_t head_dim;
};

template <int64_t R>
void mix_rows(const attention_row* rows, const float* weights, int64_t from, int64_t to,
              const block_values& values) {
  if (from >= to) return;
  int64_t d = 0;
  for (; d + panel <= values.head_dim; d += panel)
    mix_columns<R, 2>(rows, weights, from, to, values.panels + d * block, panel, d, lanes);
  for (; d < values.head_dim; d += lanes) {
    const int64_t tail = values.head_dim - d < lanes ? values.head_dim - d : lanes;
    mix_columns<R, 1>(rows, weights, from, to, values.v + d, values.ldv, d, tail);
  }
}

// R rows over the keys that all of them see, each row alone over those before and behind: a value
// that a row does not see never takes part, not even times 0. Every row adds in the order of keys.
template <int64_t R>
void mix_together(const attention_row* rows, const float* weights, const block_values& values) {
  int64_t from = rows[0].from;
  int64_t to = rows[0].to;
  for (int64_t r = 1; r < R; r++) {
    if (rows[r].from > from) from = rows[r].from;
    if (rows[r].to < to) to = rows[r].to;
  }
  if (from >= to) {
    for (int64_t r = 0; r < R; r++)
      mix_rows<1>(rows + r, weights + r * block, rows[r].from, rows[r].to, values);
    return;
  }
  for (int64_t r = 0; r < R; r++)
    mix_rows<1>(rows + r, weights + r * block, rows[r].from, from, values);
  mix_rows<R>(rows, weights, from, to, values);
  for (int64_t r = 0; r < R; r++)
    mix_rows<1>(rows + r, weights + r * block, to, rows[r].to, values);
}

// y[0..R, :] += weights[0..R, j..j + keys) . v[j..j + keys, :] with the values in place: y goes
// through the L1 cache, so that a row of values is read from end to end.
template <int64_t R, int64_t keys>
void mix_in_place(const attention_row* rows, const float* weights, const float* v, int64_t ldv,
                  int64_t j, int64_t head_dim) {
  f32s weight[R][keys];
  for (int64_t r = 0; r < R; r++)
    for (int64_t i = 0; i < keys; i++) weight[r][i] = every(weights[r * block + j + i]);
  v += j * ldv;
  int64_t d = 0;
  for (; d + lanes <= head_dim; d += lanes) {
    f32s sums[R];
    for (int64_t r = 0; r < R; r++) sums[r] = load(rows[r].y + d);
    for (int64_t i = 0; i < keys; i++) {
      const f32s value = load(v + i * ldv + d);
      for (int64_t r = 0; r < R; r++) sums[r] = fma(weight[r][i], value, sums[r]);
    }
    for (int64_t r = 0; r < R; r++) store(rows[r].y + d, sums[r]);
  }
  if (d < head_dim) {
    const int64_t rest = head_dim - d;
    for (int64_t r = 0; r < R; r++) {
      f32s sum = load_tail(rows[r].y + d, rest);
      for (int64_t i = 0; i < keys; i++)
        sum = fma(weight[r][i], load_tail(v + i * ldv + d, rest), sum);
      store_tail(rows[r].y + d, sum, rest);
    }
  }
}

// A number as a type, for a lambda to take.
template <int64_t n>
struct width {
  constexpr operator int64_t() const { return n; }
};

// Few rows: two of them and four keys at a time where all see the same keys, as the heads of one
// query do.
inline void mix_few(const attention_row* rows, int64_t count, const attention_tile& a,
                    const float* v, const float* weights) {
  bool same = true;
  for (int64_t r = 1; r < count; r++)
    same = same && rows[r].from == rows[0].from && rows[r].to == rows[0].to;
  const int64_t step = same ? count : 1;
  for (int64_t first = 0; first < count; first += step) {
    int64_t j = rows[first].from;
    const int64_t to = rows[first].to;
    const auto mix_keys = [&](auto keys) {
      int64_t r = first;
      for (; r + 2 <= first + step; r += 2)
        mix_in_place<2, keys>(rows + r, weights + r * block, v, a.ldv, j, a.head_dim);
      for (; r < first + step; r++)
        mix_in_place<1, keys>(rows + r, weights + r * block, v, a.ldv, j, a.head_dim);
      for (int64_t i = j; a.next_v != nullptr && first == 0 && i < j + keys; i++)
        ask_for_row(a.next_v + i * a.ldv, a.head_dim);
      j += keys;
    };
    while (j + 4 <= to) mix_keys(width<4>{});
    while (j < to) mix_keys(width<1>{});
  }
}

inline void mix_many(const attention_row* rows, int64_t count, const float* weights,
                     const block_values& values) {
  int64_t r = 0;
  for (; r + together <= count; r += together)
    mix_together<together>(rows + r, weights + r * block, values);
  for (; r + fewer <= count; r += fewer) mix_together<fewer>(rows + r, weights + r * block, values);
  for (; r < count; r++) mix_together<1>(rows + r, weights + r * block, values);
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_ATTENTION_BLOCKS_H
