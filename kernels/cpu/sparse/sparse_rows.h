// SPDX-License-Identifier: Apache-2.0
//
// What      y = x . W^T + bias for a few rows of x, and W itself, from the places and values of
//           sparse rows; written once over a Coder, internal to each instruction-set file.
// Layout    layout/sparse.h. A step is the `lanes` columns of 1 (AVX2) or 2 (AVX-512) bytes of
//           places; a Coder puts its values into their lanes and zeros between them. A block is the
//           64 columns of one word of places.
// Tile      One row of W by M rows of x: every expanded step serves M products.
// Numerics  Two fp32 sums a row of x, of every second step (four with one row of x; within a group,
//           for codes: scaled by its scale and summed over the groups): error <= (cols / (2 lanes)
//           + groups + log2 lanes + 6) eps sum |w x|. The order depends on cols, group and M alone.
//           A zero between kept weights is multiplied, too: a NaN or an infinity in x spreads as in
//           a dense product.
// Tail      The last cols % lanes columns are masked in x and in W. A row whose values end within
//           64 bytes of the end of all is read with care, step by step: the same sums.
//
// A Coder offers: numbers (no scales); unit (what a code is worth that expands to 1);
// cursor(values, end); value_bits; expand<careful, step>(places of the step, cursor*), step: which
// one of a block, -1 when the steps of a block do not follow each other.
#ifndef ESPALIER_SPARSE_ROWS_H
#define ESPALIER_SPARSE_ROWS_H

#include <string.h>

#include "layout/sparse.h"
#include "operations.h"

namespace esp {
namespace {

constexpr int64_t block_columns = 64;
constexpr int64_t block_steps = block_columns / lanes;
constexpr int64_t read_ahead = 64;  // bytes a cursor may read behind the row's values

// Whether row r may be read without care.
inline bool row_is_inside(const sparse_weights& w, int64_t r) {
  return r + 1 < w.rows && w.values_end - (w.values + w.starts[r + 1]) >= read_ahead;
}

// The places of the step at `places` of which only `count` columns exist, as a number.
inline uint64_t places_of(const uint8_t* places, int64_t count) {
  uint64_t word = 0;
  for (int64_t b = 0; b < sparse_place_bytes(count); b++)
    word |= static_cast<uint64_t>(places[b]) << (8 * b);
  return word;
}

template <class C, int step, class F>
inline __attribute__((always_inline)) void each_step_of_block(uint64_t word, typename C::cursor* at,
                                                              int64_t c, F f) {
  if constexpr (step < block_steps) {
    f(c + step * lanes, step, C::template expand<false, step>(C::places(word, step), at));
    each_step_of_block<C, step + 1>(word, at, c, f);
  }
}

// Calls f(column, step, w) for the whole steps of columns [begin, end) of a row, begin a multiple
// of lanes, and last(column, count, w) for the rest, whose lanes beyond count are 0.
template <class C, bool careful, class F, class L>
inline __attribute__((always_inline)) void each_step(const uint8_t* places,
                                                     typename C::cursor* cursor, int64_t begin,
                                                     int64_t end, F f, L last) {
  typename C::cursor at = *cursor;  // in registers
  int64_t c = begin;
  for (; !careful && c + block_columns <= end; c += block_columns) {
    uint64_t word;
    memcpy(&word, places + c / 8, sizeof word);
    at.prefetch();
    each_step_of_block<C, 0>(word, &at, c, f);
  }
  for (int step = 0; c < end; c += lanes, step++) {
    const int64_t count = end - c < lanes ? end - c : lanes;
    const uint64_t word = places_of(places + c / 8, count);
    const f32s w = C::template expand<careful, -1>(C::places(word, 0), &at);
    if (count == lanes) {
      f(c, step, w);
    } else {
      last(c, count, keep(w, count, zeros()));
    }
  }
  *cursor = at;
}

template <class C, int M>
struct strip {
  const uint8_t* places;
  typename C::cursor at;
  const float* scales;
  const float* x[M];
  f32s total[M];
};

// Sums a row that take turns: one fused multiply-add waits four cycles for the one before it in the
// same sum, and a step takes two.
template <int M>
constexpr int sums_of = M == 1 ? 4 : 2;

// Columns [begin, end), begin a multiple of lanes.
template <class C, bool careful, int M>
inline __attribute__((always_inline)) void sum_columns(strip<C, M>* s, int64_t begin, int64_t end,
                                                       f32s* sums) {
  f32s part[sums_of<M>][M];
#pragma GCC unroll 4
  for (int p = 0; p < sums_of<M>; p++) {
#pragma GCC unroll 4
    for (int i = 0; i < M; i++) part[p][i] = zeros();
  }
  const float* x[M];
#pragma GCC unroll 4
  for (int i = 0; i < M; i++) x[i] = s->x[i];
  each_step<C, careful>(
      s->places, &s->at, begin, end,
      [&](int64_t c, int step, f32s w) __attribute__((always_inline)) {
#pragma GCC unroll 4
        for (int p = 0; p < sums_of<M>; p++) {
          if (step % sums_of<M> != p) continue;  // so that every index is a constant
#pragma GCC unroll 4
          for (int i = 0; i < M; i++) part[p][i] = fma(w, load(x[i] + c), part[p][i]);
        }
      },
      [&](int64_t c, int64_t count, f32s w) {
        for (int i = 0; i < M; i++) part[0][i] = fma(w, load_tail(x[i] + c, count), part[0][i]);
      });
#pragma GCC unroll 4
  for (int i = 0; i < M; i++) {
    sums[i] = add(part[0][i], part[1][i]);
    if constexpr (sums_of<M> == 4) sums[i] = add(sums[i], add(part[2][i], part[3][i]));
  }
}

// Groups that end inside a step: every lane has its own scale.
template <class C, bool careful, int M>
__attribute__((noinline)) void add_ragged_groups(strip<C, M>* s, int64_t cols, int64_t group) {
  const auto add = [&](int64_t c, int64_t count, f32s code) {
    float scale[lanes] = {};
    for (int64_t l = 0; l < count; l++) scale[l] = s->scales[(c + l) / group] * C::unit;
    const f32s w = multiply(code, load(scale));
    for (int i = 0; i < M; i++) s->total[i] = fma(w, load_tail(s->x[i] + c, count), s->total[i]);
  };
  each_step<C, careful>(
      s->places, &s->at, 0, cols, [&](int64_t c, int, f32s w) { add(c, lanes, w); },
      [&](int64_t c, int64_t count, f32s w) { add(c, count, w); });
}

// y[first..first + M, row].
template <class C, bool careful, int M>
void multiply_row(const sparse_product& p, int64_t row, int64_t first) {
  const sparse_weights& w = p.w;
  strip<C, M> s;
  s.places = w.places + row * sparse_place_bytes(w.cols);
  s.at = typename C::cursor(w.values + w.starts[row], w.values_end);
  s.scales = C::numbers ? nullptr : w.scales + row * (w.cols / w.group);
  for (int i = 0; i < M; i++) {
    s.total[i] = zeros();
    s.x[i] = p.x + (first + i) * p.ldx;
  }
  if constexpr (C::numbers) {
    sum_columns<C, careful>(&s, 0, w.cols, s.total);
  } else if (w.group % lanes != 0 && w.group != w.cols) {
    add_ragged_groups<C, careful>(&s, w.cols, w.group);
  } else {
    for (int64_t g = 0; g * w.group < w.cols; g++) {
      f32s sums[M];
      sum_columns<C, careful>(&s, g * w.group, (g + 1) * w.group, sums);
      const f32s scale = every(s.scales[g] * C::unit);
      for (int i = 0; i < M; i++) s.total[i] = fma(sums[i], scale, s.total[i]);
    }
  }
  const float bias = p.bias == nullptr ? 0.0f : p.bias[row];
  for (int i = 0; i < M; i++) p.y[(first + i) * p.ldy + row] = sum(s.total[i]) + bias;
}

template <class C, int M>
void multiply_all_rows(const sparse_product& p, int64_t begin, int64_t end, int64_t first) {
  for (int64_t row = begin; row < end; row++) {
    if (row_is_inside(p.w, row)) {
      multiply_row<C, false, M>(p, row, first);
    } else {
      multiply_row<C, true, M>(p, row, first);
    }
  }
}

template <class C>
void multiply_sparse(const sparse_product& p, int64_t begin, int64_t end) {
  int64_t first = 0;
  for (; first + 4 <= p.m; first += 4) multiply_all_rows<C, 4>(p, begin, end, first);
  for (; first + 2 <= p.m; first += 2) multiply_all_rows<C, 2>(p, begin, end, first);
  if (first < p.m) multiply_all_rows<C, 1>(p, begin, end, first);
}

template <class C, bool careful>
void expand_row(const sparse_weights& w, int64_t r, float* y) {
  const uint8_t* const places = w.places + r * sparse_place_bytes(w.cols);
  typename C::cursor at(w.values + w.starts[r], w.values_end);
  const float* const scales = C::numbers ? nullptr : w.scales + r * (w.cols / w.group);
  int64_t uniform_end = 0;  // columns before this one share a scale
  f32s scale = zeros();
  const auto scaled = [&](int64_t c, int64_t count, f32s value) {
    if constexpr (C::numbers) return value;
    if (c + count > uniform_end) {
      float each[lanes] = {};
      for (int64_t l = 0; l < count; l++) each[l] = scales[(c + l) / w.group];
      scale = load(each);
      const int64_t group_end = (c / w.group + 1) * w.group;
      uniform_end = c + count <= group_end ? group_end : 0;
    }
    return multiply(multiply(value, every(C::unit)), scale);
  };
  each_step<C, careful>(
      places, &at, 0, w.cols,
      [&](int64_t c, int, f32s value) { store(y + c, scaled(c, lanes, value)); },
      [&](int64_t c, int64_t count, f32s value) {
        store_tail(y + c, scaled(c, count, value), count);
      });
}

template <class C>
void expand_rows(const sparse_weights& w, int64_t begin, int64_t end, float* y, int64_t ldy) {
  for (int64_t r = begin; r < end; r++, y += ldy) {
    if (row_is_inside(w, r)) {
      expand_row<C, false>(w, r, y);
    } else {
      expand_row<C, true>(w, r, y);
    }
  }
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_SPARSE_ROWS_H
