// SPDX-License-Identifier: Apache-2.0
//
// What the column solvers (gptq.cpp, sparsegpt.cpp) share: the working set of a worker, the
// products over finished columns, the walk through a block in pieces of 16 and the scales of
// groups. The mathematics is proved in kernels/reference/gptq.cpp.
#ifndef ESPALIER_COLUMN_SOLVER_H
#define ESPALIER_COLUMN_SOLVER_H

#include <string.h>

#include "internal.h"
#include "layout/affine.h"
#include "operations.h"

namespace esp {
namespace columns {

struct problem {
  int64_t rows, cols;
  float* w;         // [rows, cols]
  const double* u;  // [cols, cols]
  int32_t bits, symmetric;
  int64_t group;
  const int32_t* fixed_group;  // [cols] or null
  esp_dtype scale_dtype;
  float* scales;  // [rows, cols / group]
  int8_t* zeros;  // [rows, cols / group]
  int8_t* codes;  // [rows, cols]
  gptq_preview_kernel* preview;
  outer_f32_kernel* product;
  int64_t tiles;  // of 64 rows a worker takes together

  // Scales come from updated columns; otherwise they are known before the first column.
  bool own_groups() const { return fixed_group == nullptr && group < cols; }
  int64_t groups() const { return cols / group; }
  // Rows from one strip to the next: one more than are filled, or strips of 2^n columns would begin
  // in the same set of the first-level cache.
  int64_t depth() const { return cols + 1; }
};

// Columns pulled at a time: what is finished before them is multiplied in one product of this
// width.
constexpr int64_t block = 128;
constexpr int64_t cell = outer_width * outer_width;
// How many rows ahead the line of a row is asked for.
constexpr int64_t rows_ahead = 8;
// Tiles of 64 rows that one worker takes through the columns together, so that what it prepares of
// U serves them all: with 8, load_factor takes a tenth of the solve, with 4 a fifth. Each keeps
// 256 bytes a column.
constexpr int64_t most_tiles = 8;

static_assert(gptq_block == outer_width, "a panel is a strip");

// The working set of one tile of 64 rows that outlives a block. Panels are [column, lane].
struct kept_panels {
  float* d;       // [lanes / 16, depth(), 16]: D in strips
  float* scales;  // [groups or 1, lanes]
  float* zeros;   // [groups or 1, lanes]
  float* low;     // [lanes]
  float* high;    // [lanes]
};

// What a worker has once.
struct panels {
  kept_panels tiles[most_tiles];
  float* u;       // [block / 16, depth(), 16]: U[:end, start:end] in strips
  double* ut;     // [block / 16, 16, 16]: U of each 16 columns, transposed
  double* pull;   // [block, lanes]: sum of D[:, c] U[c, j] over the columns before the block
  double* p;      // [16, lanes]: the same over the columns before these 16
  double* d;      // [block, lanes]
  float* w;       // [block, lanes]
  float* values;  // [block, lanes]
  int8_t* codes;  // [block, lanes]
};

template <class T>
T* take(char** at, int64_t count) {
  T* const here = reinterpret_cast<T*>(*at);
  *at += ceil_div(count * static_cast<int64_t>(sizeof(T)), 64) * 64;
  return here;
}

// Lays the panels out from `at`; returns the end.
inline char* lay_out(const problem& g, char* at, panels* s) {
  const int64_t kept = g.fixed_group == nullptr ? 1 : g.groups();
  for (int64_t t = 0; t < g.tiles; t++) {
    kept_panels* const tile = s->tiles + t;
    tile->d = take<float>(&at, g.depth() * gptq_lanes);
    tile->scales = take<float>(&at, kept * gptq_lanes);
    tile->zeros = take<float>(&at, kept * gptq_lanes);
    tile->low = take<float>(&at, gptq_lanes);
    tile->high = take<float>(&at, gptq_lanes);
  }
  s->u = take<float>(&at, g.depth() * block);
  s->ut = take<double>(&at, block / outer_width * cell);
  s->pull = take<double>(&at, block * gptq_lanes);
  s->p = take<double>(&at, outer_width * gptq_lanes);
  s->d = take<double>(&at, block * gptq_lanes);
  s->w = take<float>(&at, block * gptq_lanes);
  s->values = take<float>(&at, block * gptq_lanes);
  s->codes = take<int8_t>(&at, block * gptq_lanes);
  return at;
}

// Two at a time, spelt out: left to itself GCC takes four through the stack, at half the speed.
inline void narrow(const double* from, float* to) {
  typedef double wide __attribute__((vector_size(16)));
  typedef float pair __attribute__((vector_size(8)));
  wide x;
  memcpy(&x, from, sizeof x);
  const pair y = __builtin_convertvector(x, pair);
  memcpy(to, &y, sizeof y);
}

// The columns [start, end) of U, at most 128, its rows from `top` on: strips in fp32 for the
// products over finished columns (D is a difference of two fp32 values, U a factor known to fewer
// digits than fp32 has), and fp64 for the recurrence inside 16 columns.
inline void load_factor(const problem& g, const panels& s, int64_t top, int64_t start,
                        int64_t end) {
  const int64_t whole = (end - start) / outer_width * outer_width;
  // Row by row, each in one piece of 1 KiB; what lies below the diagonal is 0 and not used.
  for (int64_t k = top; k < end; k++) {
    const double* const from = g.u + k * g.cols + start;
    float* const to = s.u + k * outer_width;
    // Every row lies on another page, which the processor does not look ahead to by itself.
    for (int64_t j = 0; j < whole && k + 8 < end; j += 8) __builtin_prefetch(from + 8 * g.cols + j);
    for (int64_t j = 0; j < whole; j += outer_width) {
      for (int64_t c = 0; c < outer_width; c += 2) narrow(from + j + c, to + j * g.depth() + c);
    }
    for (int64_t c = 0; start + whole < end && c < outer_width; c++) {
      to[whole * g.depth() + c] =
          start + whole + c < end ? static_cast<float>(from[whole + c]) : 0.0f;
    }
  }
  for (int64_t j = start; j < end; j += outer_width) {
    double* const ut = s.ut + (j - start) * outer_width;
    for (int64_t c = 0; c < min_of(outer_width, end - j); c++) {
      for (int64_t i = 0; i <= c; i++) ut[c * outer_width + i] = g.u[(j + i) * g.cols + j + c];
    }
  }
}

// One tile of rows and the columns [start, end) of a block. load_factor has been called for them.
struct part {
  const problem& g;
  const panels& s;
  kept_panels kept;
  int64_t row, rows;  // first row of the tile, how many (at most 64)
  int64_t start, end;

  void load() const {
    load_weights();
    load_pull();
  }

  void load_weights() const {
    const int64_t width = end - start;
    // 16 columns at a time: their 16 lines of w stay in the first-level cache while rows pass.
    // Every row lies on another page, so that the next line of each is asked for here.
    for (int64_t j = 0; j < width; j += outer_width) {
      for (int64_t lane = 0; lane < gptq_lanes; lane++) {
        const float* const from = g.w + (row + lane) * g.cols + start;
        if (lane + rows_ahead < rows) __builtin_prefetch(from + rows_ahead * g.cols + j);
        for (int64_t c = j; c < min_of(width, j + outer_width); c++)
          s.w[c * gptq_lanes + lane] = lane < rows ? from[c] : 0.0f;
      }
    }
  }

  // The pull P = D[:, :start] . U[:start, start:end]: 256 columns at a time, of which the strips of
  // U and of D stay in the second-level cache.
  void load_pull() const {
    const int64_t width = end - start;
    for (int64_t i = 0; i < block * gptq_lanes; i++) s.pull[i] = 0.0;
    for (int64_t k = 0; k < start; k += outer_chunk) {
      const int64_t depth = min_of(outer_chunk, start - k);
      for (int64_t j = 0; j < width; j += outer_width) {
        for (int64_t lane = 0; lane < gptq_lanes; lane += outer_width)
          product(depth, j, k, lane, s.pull + j * gptq_lanes + lane);
      }
    }
  }

  // sum += D[:, k : k + depth] . U[k : k + depth, 16 columns from start + j on], 16 lanes.
  void product(int64_t depth, int64_t j, int64_t k, int64_t lane, double* sum) const {
    g.product(depth, s.u + j * g.depth() + k * outer_width,
              kept.d + lane * g.depth() + k * outer_width, sum, gptq_lanes);
  }

  void store() const {
    for (int64_t j = 0; j < end - start; j += outer_width) {
      const int64_t count = min_of(outer_width, end - start - j);
      for (int64_t lane = 0; lane < rows; lane++) {
        const int64_t to = (row + lane) * g.cols + start + j;
        if (lane + rows_ahead < rows) __builtin_prefetch(g.w + to + rows_ahead * g.cols, 1);
        float* __restrict const w = g.w + to;
        const float* __restrict const values_of = s.values + j * gptq_lanes + lane;
        for (int64_t c = 0; c < count; c++) w[c] = values_of[c * gptq_lanes];
        if (g.codes == nullptr) continue;
        if (lane + rows_ahead < rows) __builtin_prefetch(g.codes + to + rows_ahead * g.cols, 1);
        int8_t* __restrict const codes = g.codes + to;
        const int8_t* __restrict const codes_of = s.codes + j * gptq_lanes + lane;
        for (int64_t c = 0; c < count; c++) codes[c] = codes_of[c * gptq_lanes];
      }
    }
  }

  void start_range() const {
    for (int64_t lane = 0; lane < gptq_lanes; lane++) kept.low[lane] = kept.high[lane] = 0.0f;
  }

  // Scales of group `index` from the range seen since start_range.
  void finish_range(int64_t index) const {
    for (int64_t lane = 0; lane < gptq_lanes; lane++) {
      affine_of_range(kept.low[lane], kept.high[lane], g.bits, g.symmetric, g.scale_dtype, false,
                      &kept.scales[lane], &kept.zeros[lane]);
      if (lane >= rows) continue;
      g.scales[(row + lane) * g.groups() + index] = kept.scales[lane];
      g.zeros[(row + lane) * g.groups() + index] = static_cast<int8_t>(kept.zeros[lane]);
    }
  }

  // Scales known beforehand: per channel, or the fixed groups.
  void load_scales() const {
    for (int64_t i = 0; i < g.groups(); i++) {
      for (int64_t lane = 0; lane < gptq_lanes; lane++) {
        const int64_t from = (row + lane) * g.groups() + i;
        kept.scales[i * gptq_lanes + lane] = lane < rows ? g.scales[from] : 1.0f;
        kept.zeros[i * gptq_lanes + lane] =
            lane < rows && g.zeros != nullptr ? static_cast<float>(g.zeros[from]) : 0.0f;
      }
    }
  }

  // Runs act(panels, first column, last, first column of the 16) over the columns [first, last) of
  // the block, none of whose pieces crosses a border of 16, and keeps their D for the next.
  template <class F>
  void each_piece(int64_t first, int64_t last, const F& act) const {
    for (int64_t at = first; at < last;) {
      const int64_t piece = at / outer_width * outer_width;
      const int64_t stop = min_of(last, piece + outer_width);
      memcpy(s.p, s.pull + piece * gptq_lanes, outer_width * gptq_lanes * sizeof(double));
      for (int64_t lane = 0; piece > 0 && lane < gptq_lanes; lane += outer_width)
        product(piece, piece, start, lane, s.p + lane);
      const gptq_panels here{s.ut + piece * outer_width, s.p, s.w + piece * gptq_lanes,
                             s.d + piece * gptq_lanes};
      act(here, at - piece, stop - piece, piece);
      for (int64_t lane = 0; lane < gptq_lanes; lane += outer_width) {
        float* const to = kept.d + lane * g.depth() + start * outer_width;
        for (int64_t j = at; j < stop; j++) {
          for (int64_t i = 0; i < outer_width; i += 2)
            narrow(s.d + j * gptq_lanes + lane + i, to + j * outer_width + i);
        }
      }
      at = stop;
    }
  }

  void preview(int64_t first, int64_t last) const {
    each_piece(first, last, [&](const gptq_panels& here, int64_t from, int64_t to, int64_t) {
      g.preview(&here, from, to, kept.low, kept.high);
    });
  }
};

}  // namespace columns
}  // namespace esp

#endif  // ESPALIER_COLUMN_SOLVER_H
