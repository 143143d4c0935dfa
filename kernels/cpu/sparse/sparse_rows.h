// SPDX-License-Identifier: Apache-2.0
//
// What      y = x . W^T + bias for a few rows of x, and W itself, from the places and values of
//           sparse rows; written once over a Coder, internal to each instruction-set file.
// Layout    layout/sparse.h. A step is the `lanes` columns of 1 (AVX2) or 2 (AVX-512) bytes of
//           places; a Coder puts its values into their lanes and zeros between them. A block is the
//           64 columns of one word of places.
// Tile      Two or four rows of W, far apart, by M rows of x: every vector of x serves all rows of
//           W, every expanded step M products, and each row is a stream from memory of its own.
// Numerics  One fp32 sum a row of x, with one row of x two, of every second step (within a group,
//           for codes: scaled by its scale and summed over the groups): error <= (cols / lanes +
//           groups + log2 lanes + 6) eps sum |w x|. The order depends on cols, group and M alone.
//           A zero between kept weights is multiplied, too: a NaN or an infinity in x spreads as in
//           a dense product.
// Tail      The last cols % lanes columns are masked in x and in W. A row whose values end within
//           64 bytes of the end of all is read with care, step by step: the same sums.
//
// Roof      On Zen 3 eight columns of a bitmask take 6.4 (bf16) or 7.4 (int8) instructions, two of
//           them to find the places' row of the table, where dense bf16 takes 3 and dense int8 3.6:
//           from the cache half the speed of dense, 10e9 columns a second and thread. Reading half
//           of the bytes pays only as far as memory holds the dense product below that: bf16 at 70
//           % and two threads gain, int8 does not reach its dense product.
//
// A Coder offers: numbers (no scales); unit (what a code is worth that expands to 1);
// cursor(values, end); value_bits; expand<careful, step>(places of the step, cursor*), step: which
// one of a block, -1 when the steps of a block do not follow each other.
#ifndef ESPALIER_SPARSE_ROWS_H
#define ESPALIER_SPARSE_ROWS_H

#include <string.h>

#include "espalier.h"
#include "layout/sparse.h"
#include "operations.h"

namespace esp {
namespace {

// Calls f(coder) for the coder of a matrix, by with_dtype of the instruction set.
template <class F>
inline void with_coder(const sparse_weights& w, F f) {
  if (w.pattern == ESP_SPARSE_24) {
    with_dtype<true>(w.dtype, f);
  } else {
    with_dtype<false>(w.dtype, f);
  }
}

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

// R rows of W, far apart, and M rows of x.
template <class C, int R, int M>
struct strip {
  const uint8_t* places[R];
  typename C::cursor at[R];
  const float* scales[R];
  const float* x[M];
  f32s total[R][M];
};

// Rows of W that go along the columns together with M rows of x, and the sums a row takes in turn:
// eight in all, since a fused multiply-add waits four cycles for the one before it in the same sum
// and two begin in a cycle. Cursors that hold a vector leave registers for fewer rows of W.
template <class C>
constexpr bool holds_vector = alignof(typename C::cursor) > alignof(int64_t);
template <int M>
constexpr int rows_with_vectors = M == 2 ? 2 : 1;
template <int M>
constexpr int rows_without = M == 4 ? 2 : 4;
template <class C, int M>
constexpr int rows_of = holds_vector<C> ? rows_with_vectors<M> : rows_without<M>;
template <class C, int M>
constexpr int sums_of = holds_vector<C> || M == 1 ? 2 : 1;

// The steps of a block of every row; a vector of x serves all of them.
template <class C, int R, int M, int step>
inline __attribute__((always_inline)) void sum_block(const uint64_t* words, typename C::cursor* at,
                                                     const float* const* x, int64_t c,
                                                     f32s (*part)[R][M]) {
  if constexpr (step < block_steps) {
    f32s v[M];
#pragma GCC unroll 4
    for (int i = 0; i < M; i++) v[i] = load(x[i] + c + step * lanes);
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) {
      const f32s w = C::template expand<false, step>(C::places(words[r], step), at + r);
      f32s* const sums = part[step % sums_of<C, M>][r];
#pragma GCC unroll 4
      for (int i = 0; i < M; i++) sums[i] = fma(w, v[i], sums[i]);
    }
    sum_block<C, R, M, step + 1>(words, at, x, c, part);
  }
}

// Columns [begin, end), begin a multiple of lanes.
template <class C, bool careful, int R, int M>
inline __attribute__((always_inline)) void sum_columns(strip<C, R, M>* s, int64_t begin,
                                                       int64_t end, f32s (*sums)[M]) {
  f32s part[sums_of<C, M>][R][M];
  const float* x[M];
  typename C::cursor at[R];  // in registers
#pragma GCC unroll 4
  for (int i = 0; i < M; i++) x[i] = s->x[i];
#pragma GCC unroll 4
  for (int r = 0; r < R; r++) {
    at[r] = s->at[r];
#pragma GCC unroll 2
    for (int turn = 0; turn < sums_of<C, M>; turn++) {
#pragma GCC unroll 4
      for (int i = 0; i < M; i++) part[turn][r][i] = zeros();
    }
  }
  int64_t c = begin;
  for (; !careful && c + block_columns <= end; c += block_columns) {
    uint64_t words[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) {
      memcpy(words + r, s->places[r] + c / 8, sizeof words[r]);
      at[r].prefetch();
    }
    sum_block<C, R, M, 0>(words, at, x, c, part);
  }
  for (int step = 0; c < end; c += lanes, step++) {
    const int64_t count = end - c < lanes ? end - c : lanes;
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) {
      const uint64_t word = places_of(s->places[r] + c / 8, count);
      const f32s w =
          keep(C::template expand<careful, -1>(C::places(word, 0), at + r), count, zeros());
#pragma GCC unroll 4
      for (int i = 0; i < M; i++) {
        const f32s v = load_tail(x[i] + c, count);
        f32s* const sum = &part[step % sums_of<C, M>][r][i];
        *sum = fma(w, v, *sum);
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; r++) {
    s->at[r] = at[r];
#pragma GCC unroll 4
    for (int i = 0; i < M; i++) {
      sums[r][i] = part[0][r][i];
      if constexpr (sums_of<C, M> == 2) sums[r][i] = add(sums[r][i], part[1][r][i]);
    }
  }
}

// Groups that end inside a step: every lane has its own scale.
template <class C, bool careful, int M>
__attribute__((noinline)) void add_ragged_groups(strip<C, 1, M>* s, int64_t cols, int64_t group) {
  const auto add = [&](int64_t c, int64_t count, f32s code) {
    float scale[lanes] = {};
    for (int64_t l = 0; l < count; l++) scale[l] = s->scales[0][(c + l) / group] * C::unit;
    const f32s w = multiply(code, load(scale));
    for (int i = 0; i < M; i++)
      s->total[0][i] = fma(w, load_tail(s->x[i] + c, count), s->total[0][i]);
  };
  each_step<C, careful>(
      s->places[0], s->at, 0, cols, [&](int64_t c, int, f32s w) { add(c, lanes, w); },
      [&](int64_t c, int64_t count, f32s w) { add(c, count, w); });
}

template <class C>
bool groups_are_ragged(const sparse_weights& w) {
  return !C::numbers && w.group % lanes != 0 && w.group != w.cols;
}

// y[first..first + M, row + r * apart] for r = 0..R.
template <class C, bool careful, int R, int M>
void multiply_rows(const sparse_product& p, int64_t row, int64_t apart, int64_t first) {
  const sparse_weights& w = p.w;
  strip<C, R, M> s;
  for (int i = 0; i < M; i++) s.x[i] = p.x + (first + i) * p.ldx;
  for (int r = 0; r < R; r++) {
    const int64_t at = row + r * apart;
    s.places[r] = w.places + at * sparse_place_bytes(w.cols);
    s.at[r] = typename C::cursor(w.values + w.starts[at], w.values_end);
    s.scales[r] = C::numbers ? nullptr : w.scales + at * (w.cols / w.group);
    for (int i = 0; i < M; i++) s.total[r][i] = zeros();
  }
  if constexpr (C::numbers) {
    sum_columns<C, careful, R, M>(&s, 0, w.cols, s.total);
  } else if (groups_are_ragged<C>(w)) {
    if constexpr (R == 1) add_ragged_groups<C, careful, M>(&s, w.cols, w.group);
  } else {
    for (int64_t g = 0; g * w.group < w.cols; g++) {
      f32s sums[R][M];
      sum_columns<C, careful, R, M>(&s, g * w.group, (g + 1) * w.group, sums);
      for (int r = 0; r < R; r++) {
        const f32s scale = every(s.scales[r][g] * C::unit);
        for (int i = 0; i < M; i++) s.total[r][i] = fma(sums[r][i], scale, s.total[r][i]);
      }
    }
  }
  for (int r = 0; r < R; r++) {
    const int64_t at = row + r * apart;
    const float bias = p.bias == nullptr ? 0.0f : p.bias[at];
    for (int i = 0; i < M; i++) p.y[(first + i) * p.ldy + at] = sum(s.total[r][i]) + bias;
  }
}

template <class C, int M>
void multiply_all_rows(const sparse_product& p, int64_t begin, int64_t end, int64_t first) {
  constexpr int R = rows_of<C, M>;
  int64_t row = begin;
  int64_t inside = end;  // rows that may be read without care come first
  while (inside > begin && !row_is_inside(p.w, inside - 1)) inside--;
  if (!groups_are_ragged<C>(p.w)) {
    const int64_t apart = (inside - begin) / R;
    for (; row < begin + apart; row++) multiply_rows<C, false, R, M>(p, row, apart, first);
    row = begin + apart * R;
  }
  for (; row < inside; row++) multiply_rows<C, false, 1, M>(p, row, 1, first);
  for (; row < end; row++) multiply_rows<C, true, 1, M>(p, row, 1, first);
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
