// SPDX-License-Identifier: Apache-2.0
//
// What      y[m, n] = x[m, k] . w[n, k]^T + bias[n] for 1 <= m <= 4, and the same with w [k, n]:
//           decoding, where every weight is read once.
// Layout    Row-major; w in fp32, bf16 or f16, widened in registers.
// Tile      Columns [begin, end) of y, all m rows. Register block: `rows` rows of w, far apart,
//           times M rows of x times 2 accumulators; with w [k, n], vectors of columns times M. Each
//           of the rows is the head of a stream that runs through its part of the tile: neighbours
//           would be streams that end after k elements, and a prefetcher that starts anew every
//           time reads at two thirds of the pace.
// Numerics  fp32 sums. [n, k]: 2 * lanes partial sums, so |error| <= (k / (2 lanes) + 6) * eps *
//           sum |x w|. [k, n]: one sum in the order of k, |error| <= (k + 1) * eps * sum |x w|.
//           The order depends on k alone: not on m, n or the tile.
// Needs     The lanes of the file that includes this one.
// Tail      The last k % lanes (or n % lanes) elements are masked.
#ifndef ESPALIER_DENSE_H
#define ESPALIER_DENSE_H

#include "operations.h"

namespace esp {
namespace {

struct f32_weights {
  using element = float;
  static f32s whole(const float* p) { return load(p); }
  static f32s tail(const float* p, int64_t count) { return load_tail(p, count); }
};

struct bf16_weights {
  using element = uint16_t;
  static f32s whole(const uint16_t* p) { return load_bf16(p); }
  static f32s tail(const uint16_t* p, int64_t count) { return load_bf16_tail(p, count); }
};

struct f16_weights {
  using element = uint16_t;
  static f32s whole(const uint16_t* p) { return load_f16(p); }
  static f32s tail(const uint16_t* p, int64_t count) { return load_f16_tail(p, count); }
};

// y[0..M, j + r * apart] for r = 0..rows.
template <class W, int64_t M, int64_t rows>
void dot_block(const dense_operands& a, int64_t j, int64_t apart) {
  const typename W::element* w[rows];
  f32s even[rows][M];
  f32s odd[rows][M];
  for (int64_t r = 0; r < rows; r++) {
    w[r] = static_cast<const typename W::element*>(a.w) + (j + r * apart) * a.ldw;
    for (int64_t i = 0; i < M; i++) even[r][i] = odd[r][i] = zeros();
  }
  int64_t p = 0;
  for (; p + 2 * lanes <= a.k; p += 2 * lanes) {
    f32s x0[M], x1[M];
    for (int64_t i = 0; i < M; i++) {
      x0[i] = load(a.x + i * a.ldx + p);
      x1[i] = load(a.x + i * a.ldx + p + lanes);
    }
    for (int64_t r = 0; r < rows; r++) {
      const f32s w0 = W::whole(w[r] + p);
      const f32s w1 = W::whole(w[r] + p + lanes);
      for (int64_t i = 0; i < M; i++) {
        even[r][i] = fma(w0, x0[i], even[r][i]);
        odd[r][i] = fma(w1, x1[i], odd[r][i]);
      }
    }
  }
  for (; p < a.k; p += lanes) {
    const int64_t count = a.k - p < lanes ? a.k - p : lanes;
    for (int64_t r = 0; r < rows; r++) {
      const f32s part = W::tail(w[r] + p, count);
      for (int64_t i = 0; i < M; i++)
        even[r][i] = fma(part, load_tail(a.x + i * a.ldx + p, count), even[r][i]);
    }
  }
  for (int64_t r = 0; r < rows; r++) {
    const float shift = a.bias != nullptr ? a.bias[j + r * apart] : 0.0f;
    for (int64_t i = 0; i < M; i++)
      a.y[i * a.ldy + j + r * apart] = sum(add(even[r][i], odd[r][i])) + shift;
  }
}

template <class W, int64_t M>
void dot_columns(const dense_operands& a, int64_t begin, int64_t end) {
  constexpr int64_t rows = registers / 4 / M;  // half of the registers accumulate
  const int64_t apart = (end - begin) / rows;
  for (int64_t j = begin; j < begin + apart; j++) dot_block<W, M, rows>(a, j, apart);
  for (int64_t j = begin + apart * rows; j < end; j++) dot_block<W, M, 1>(a, j, 1);
}

template <class W>
void dense(const dense_operands& a, int64_t begin, int64_t end) {
  if (a.m == 1) dot_columns<W, 1>(a, begin, end);
  if (a.m == 2) dot_columns<W, 2>(a, begin, end);
  if (a.m == 3) dot_columns<W, 3>(a, begin, end);
  if (a.m == 4) dot_columns<W, 4>(a, begin, end);
}

// y[0..M, j..j + vectors * lanes), w [k, n]; count < lanes only with one vector.
template <class W, int64_t M, int64_t vectors>
void column_block(const dense_operands& a, int64_t j, int64_t count) {
  f32s sums[M][vectors];
  for (int64_t i = 0; i < M; i++)
    for (int64_t v = 0; v < vectors; v++) sums[i][v] = zeros();
  const typename W::element* w = static_cast<const typename W::element*>(a.w) + j;
  for (int64_t p = 0; p < a.k; p++, w += a.ldw) {
    f32s part[vectors];
    for (int64_t v = 0; v < vectors; v++)
      part[v] = count < lanes ? W::tail(w, count) : W::whole(w + v * lanes);
    for (int64_t i = 0; i < M; i++) {
      const f32s x = every(a.x[i * a.ldx + p]);
      for (int64_t v = 0; v < vectors; v++) sums[i][v] = fma(part[v], x, sums[i][v]);
    }
  }
  for (int64_t i = 0; i < M; i++) {
    for (int64_t v = 0; v < vectors; v++) {
      const int64_t at = j + v * lanes;
      const f32s shift = a.bias != nullptr ? load_tail(a.bias + at, count) : zeros();
      store_tail(a.y + i * a.ldy + at, add(sums[i][v], shift), count);
    }
  }
}

template <class W, int64_t M>
void wide_columns(const dense_operands& a, int64_t begin, int64_t end) {
  constexpr int64_t vectors = registers / 2 / M;
  int64_t j = begin;
  for (; j + vectors * lanes <= end; j += vectors * lanes) column_block<W, M, vectors>(a, j, lanes);
  for (; j < end; j += lanes) column_block<W, M, 1>(a, j, end - j < lanes ? end - j : lanes);
}

template <class W>
void dense_in_out(const dense_operands& a, int64_t begin, int64_t end) {
  if (a.m == 1) wide_columns<W, 1>(a, begin, end);
  if (a.m == 2) wide_columns<W, 2>(a, begin, end);
  if (a.m == 3) wide_columns<W, 3>(a, begin, end);
  if (a.m == 4) wide_columns<W, 4>(a, begin, end);
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_DENSE_H
