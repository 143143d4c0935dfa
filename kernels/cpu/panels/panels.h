// SPDX-License-Identifier: Apache-2.0
//
// What      y = x W^T + bias, or y += x W^T, W in panels. Internal to each instruction-set file
// that
//           includes it, after its lanes.
// Layout    panel [k][16]. x is read where it lies: the rows of a strip are a few KiB and stay in
//           the L1 cache while the panels stream from the L2.
// Tile      strips of 6 (12) rows against two vectors of columns: with 16 (32) registers 12 (24)
//           sums, two vectors of W and one broadcast of x. Two vectors are one panel of AVX2 and
//           two of AVX-512.
// Numerics  as the reference, the same bits.
// Tail      rows: narrower strips. Columns: panels are padded with zeros, y is masked.
#ifndef ESPALIER_PANELS_H
#define ESPALIER_PANELS_H

#include <stdint.h>

#include "operations.h"

namespace esp {
namespace {

constexpr int64_t strip_rows = registers * 3 / 8;

inline f32s load_some(const float* p, int64_t count) {
  return count >= lanes ? load(p) : count <= 0 ? zeros() : load_tail(p, count);
}

inline void store_some(float* p, f32s x, int64_t count) {
  if (count >= lanes) {
    store(p, x);
  } else if (count > 0) {
    store_tail(p, x, count);
  }
}

// Rows row .. row + R - 1 of y, V vectors of columns from `column` on, of which n - column are y's.
template <int64_t R, int64_t V>
inline void block_product(const panel_product& p, int64_t row, int64_t column) {
  f32s sums[R][V];
  float* const y = p.y + row * p.ldy + column;
  const int64_t columns = p.n - column;
#pragma GCC unroll 12
  for (int64_t r = 0; r < R; r++) {
#pragma GCC unroll 2
    for (int64_t v = 0; v < V; v++) {
      const int64_t at = v * lanes;
      sums[r][v] = p.adds              ? load_some(y + r * p.ldy + at, columns - at)
                   : p.bias != nullptr ? load_some(p.bias + column + at, columns - at)
                                       : zeros();
    }
  }
  const float* from[V];
#pragma GCC unroll 2
  for (int64_t v = 0; v < V; v++) {
    const int64_t at = column + v * lanes;
    from[v] = p.panels + at / panel_width * p.panel_stride + at % panel_width;
  }
  const float* const x = p.x + row * p.ldx;
  for (int64_t t = 0; t < p.k; t++) {
    f32s w[V];
#pragma GCC unroll 2
    for (int64_t v = 0; v < V; v++) w[v] = load(from[v] + t * panel_width);
#pragma GCC unroll 12
    for (int64_t r = 0; r < R; r++) {
      const f32s left = every(x[r * p.ldx + t]);
#pragma GCC unroll 2
      for (int64_t v = 0; v < V; v++) sums[r][v] = fma(left, w[v], sums[r][v]);
    }
  }
#pragma GCC unroll 12
  for (int64_t r = 0; r < R; r++) {
#pragma GCC unroll 2
    for (int64_t v = 0; v < V; v++)
      store_some(y + r * p.ldy + v * lanes, sums[r][v], columns - v * lanes);
  }
}

template <int64_t R>
inline void strip_product(const panel_product& p, int64_t row) {
  // A vector past the last panel has no memory.
  const int64_t padded = (p.n + panel_width - 1) / panel_width * panel_width;
  int64_t column = 0;
  for (; column + 2 * lanes <= padded; column += 2 * lanes) block_product<R, 2>(p, row, column);
  for (; column < p.n; column += lanes) block_product<R, 1>(p, row, column);
}

inline void multiply_panels(const panel_product& p) {
  int64_t row = 0;
  for (; row + strip_rows <= p.m; row += strip_rows) strip_product<strip_rows>(p, row);
  for (; row + strip_rows / 2 <= p.m; row += strip_rows / 2) strip_product<strip_rows / 2>(p, row);
  for (; row < p.m; row++) strip_product<1>(p, row);
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_PANELS_H
