// SPDX-License-Identifier: Apache-2.0
//
// What      y = softmax(scale * q . k^T) v over the visible keys, in blocks of 64 keys with a
//           running maximum and sum (arXiv 2205.14135, algorithm 1).
// Layout    A row is one (query, head) of the tile. Scratch:
//             scores        [rows, 64]  scores, then weights exp(score - maximum); 0 where not
//                                       visible
//             key_panels, value_panels  see blocks.h; unused for few rows
//           y holds the unnormalised sum until the end.
// Tile      One attention_tile; the register blocks stand in blocks.h.
// Numerics  fp32. With S = sum_d |q k| |scale|: a score errs by (head_dim + 2) eps S, a weight by
//           that plus 2 ulp, the mix by (keys + 2 blocks) eps max|v|. Blocks start at multiples of
//           64 and a row's order of sums does not depend on the other rows of its path (few rows or
//           many).
// Needs     The lanes of the file that includes this one; exponential.h; AVX2.
// Tail      Keys: zeros in the last panel. head_dim: masked.
#ifndef ESPALIER_ATTENTION_H
#define ESPALIER_ATTENTION_H

#include "cpu/attention/blocks.h"

namespace esp {
namespace {

// Up to this many rows reading keys and values in place is cheaper than copying them.
constexpr int64_t most_direct_rows = 8;

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
    int64_t d = 0;
    for (; d + lanes <= head_dim; d += lanes) store(row->y + d, multiply(load(row->y + d), shrink));
    if (d < head_dim) {
      const int64_t rest = head_dim - d;
      store_tail(row->y + d, multiply(load_tail(row->y + d, rest), shrink), rest);
    }
    row->largest = largest;
  }
  row->sum += sum(total);
}

inline int64_t first_visible(int64_t window, int64_t end) {
  return window > 0 && end > window ? end - window : 0;
}

// A row before its first key, or as an earlier call left it.
inline void begin_row(const attention_tile& a, int64_t r, attention_row* row) {
  const int64_t t = r / a.heads;
  const int64_t h = r % a.heads;
  row->q = a.q + t * a.ldq + h * a.head_dim;
  row->y = a.y + t * a.ldy + h * a.head_dim;
  row->end = a.position + t + 1;
  row->begin = first_visible(a.window, row->end);
  if (a.running != nullptr) {
    row->largest = a.running[2 * r];
    row->sum = a.running[2 * r + 1];
    return;
  }
  row->largest = -__builtin_inff();
  row->sum = 0.0f;
  for (int64_t d = 0; d < a.head_dim; d++) row->y[d] = 0.0f;
}

inline void end_row(const attention_tile& a, int64_t r, const attention_row& row) {
  if (a.running != nullptr) {
    a.running[2 * r] = row.largest;
    a.running[2 * r + 1] = row.sum;
    return;
  }
  for (int64_t d = 0; d < a.head_dim; d++) row.y[d] /= row.sum;
}

inline void attend(const attention_tile& a) {
  float* const scores = a.scratch;
  float* const key_panels = scores + block * attention_tile_rows;
  float* const value_panels = key_panels + block * a.head_dim;
  attention_row rows[attention_tile_rows];
  const int64_t count = a.queries * a.heads;
  const bool few = count <= most_direct_rows;
  for (int64_t r = 0; r < count; r++) begin_row(a, r, &rows[r]);
  int64_t first = first_visible(a.window, a.position + 1) / block * block;
  int64_t last = a.position + a.queries;
  if (a.running != nullptr) {
    first = first > a.key_begin ? first : a.key_begin;
    last = last < a.key_end ? last : a.key_end;
  }
  for (int64_t key = first; key < last; key += block) {
    const int64_t keys = last - key < block ? last - key : block;
    const float* const k = a.k + key * a.ldk;
    const float* const v = a.v + key * a.ldv;
    for (int64_t r = 0; r < count; r++) {
      rows[r].from = rows[r].begin > key ? rows[r].begin - key : 0;
      rows[r].to = rows[r].end < key + keys ? rows[r].end - key : keys;
      // A row that sees nothing here has an empty range.
      if (rows[r].from >= rows[r].to) rows[r].from = rows[r].to = 0;
    }
    if (few) {
      scores_of_few(rows, count, keys, a, k, scores);
    } else {
      turn_keys(k, a.ldk, keys, a.head_dim, key_panels);
      copy_values(v, a.ldv, keys, a.head_dim, value_panels);
      scores_of_many(rows, count, keys, a.head_dim, a.scale, key_panels, scores);
    }
    for (int64_t r = 0; r < count; r++) {
      if (rows[r].from < rows[r].to) weigh(&rows[r], a.head_dim, scores + r * block);
    }
    if (few) {
      mix_few(rows, count, a, v, scores);
    } else {
      mix_many(rows, count, scores, {value_panels, v, a.ldv, a.head_dim});
    }
  }
  for (int64_t r = 0; r < count; r++) end_row(a, r, rows[r]);
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_ATTENTION_H
