// SPDX-License-Identifier: Apache-2.0
//
// The GPTQ solver: which columns are pulled, previewed and rounded when. The mathematics is proved
// in kernels/reference/gptq.cpp; this file does the products over finished columns and the scales.
#include <string.h>

#include "internal.h"
#include "layout/affine.h"
#include "operations.h"

namespace esp {
namespace {

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
  gptq_columns_kernel* round;
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
char* lay_out(const problem& g, char* at, panels* s) {
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

// The columns [start, end) of U, at most 128: strips in fp32 for the products over finished columns
// (D is a difference of two fp32 values, U a factor known to fewer digits than fp32 has), and fp64
// for the recurrence inside 16 columns.
void load_factor(const problem& g, const panels& s, int64_t start, int64_t end) {
  const int64_t whole = (end - start) / outer_width * outer_width;
  // Row by row, each in one piece of 1 KiB; what lies below the diagonal is 0 and not used.
  for (int64_t k = 0; k < end; k++) {
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

  // w, and the pull P = D[:, :start] . U[:start, start:end]: 256 columns at a time, of which the
  // strips of U and of D stay in the second-level cache.
  void load() const {
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
        if (lane + rows_ahead < rows) {
          __builtin_prefetch(g.w + to + rows_ahead * g.cols, 1);
          __builtin_prefetch(g.codes + to + rows_ahead * g.cols, 1);
        }
        float* __restrict const w = g.w + to;
        int8_t* __restrict const codes = g.codes + to;
        const float* __restrict const values_of = s.values + j * gptq_lanes + lane;
        const int8_t* __restrict const codes_of = s.codes + j * gptq_lanes + lane;
        for (int64_t c = 0; c < count; c++) w[c] = values_of[c * gptq_lanes];
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

  void round(int64_t first, int64_t last) const {
    each_piece(first, last, [&](const gptq_panels& here, int64_t from, int64_t to, int64_t piece) {
      g.round(&here, from, to, g.bits,
              g.fixed_group == nullptr ? nullptr : g.fixed_group + start + piece, kept.scales,
              kept.zeros, s.values + piece * gptq_lanes, s.codes + piece * gptq_lanes);
    });
  }
};

// The tiles of one worker on their way through the columns.
struct rows_of_worker {
  const problem& g;
  const esp_context* ctx;
  panels s;
  int64_t first_row, last_row;

  template <class F>
  void each_tile(int64_t start, int64_t end, const F& act) const {
    for (int64_t t = 0; first_row + t * gptq_lanes < last_row; t++) {
      const int64_t row = first_row + t * gptq_lanes;
      act(part{g, s, s.tiles[t], row, min_of(gptq_lanes, last_row - row), start, end});
    }
  }

  template <class F>
  void each_block(int64_t first, int64_t last, int64_t step, const F& act) const {
    // What a cancelled solve leaves behind is not used; the caller tells.
    for (int64_t start = first; start < last && !cancelled(ctx); start += step) {
      const int64_t end = min_of(last, start + step);
      load_factor(g, s, start, end);
      each_tile(start, end, [&](const part& here) {
        here.load();
        act(here);
      });
    }
  }

  void solve_known() const {
    each_tile(0, 0, [](const part& here) { here.load_scales(); });
    each_block(0, g.cols, block, [](const part& here) {
      here.round(0, here.end - here.start);
      here.store();
    });
  }

  // Several whole groups a block.
  void solve_narrow() const {
    each_block(0, g.cols, block / g.group * g.group, [](const part& here) {
      const int64_t group = here.g.group;
      for (int64_t first = 0; first < here.end - here.start; first += group) {
        here.start_range();
        here.preview(first, first + group);
        here.finish_range((here.start + first) / group);
        here.round(first, first + group);
      }
      here.store();
    });
  }

  // Several blocks a group: all are previewed, then all are rounded.
  void solve_wide() const {
    for (int64_t first = 0; first < g.cols; first += g.group) {
      const int64_t last = first + g.group;
      each_tile(first, last, [](const part& here) { here.start_range(); });
      each_block(first, last, block,
                 [](const part& here) { here.preview(0, here.end - here.start); });
      each_tile(first, last,
                [](const part& here) { here.finish_range(here.start / here.g.group); });
      each_block(first, last, block, [](const part& here) {
        here.round(0, here.end - here.start);
        here.store();
      });
    }
  }
};

}  // namespace
}  // namespace esp

extern "C" esp_status esp_gptq_solve(esp_context* ctx, int64_t rows, int64_t cols, float* w,
                                     const double* u, int32_t bits, int32_t symmetric,
                                     int64_t group, const int32_t* fixed_group,
                                     esp_dtype scale_dtype, float* scales, int8_t* zeros,
                                     int8_t* codes) noexcept {
  using namespace esp;
  const char* const op = "gptq_solve";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, rows >= 0, "rows >= 0", rows);
  ESP_REQUIRE(op, cols >= 0, "cols >= 0", cols);
  ESP_REQUIRE(op, bits >= 2 && bits <= 8, "2..8", bits);
  ESP_REQUIRE(op, esp::is_scale_dtype(scale_dtype), "F32, F16, BF16 or BF16_AND_F16", scale_dtype);
  if (rows == 0 || cols == 0) return ESP_OK;
  ESP_REQUIRE(op, group > 0 && cols % group == 0, "a divisor of cols", group);
  ESP_REQUIRE(op, w != nullptr, "an address", w != nullptr);
  ESP_REQUIRE(op, u != nullptr, "an address", u != nullptr);
  ESP_REQUIRE(op, scales != nullptr, "an address", scales != nullptr);
  ESP_REQUIRE(op, zeros != nullptr || (fixed_group != nullptr && symmetric), "an address",
              zeros != nullptr);
  ESP_REQUIRE(op, codes != nullptr, "an address", codes != nullptr);
  for (int64_t c = 0; c < cols; c++) {
    if (!(u[c * cols + c] > 0.0)) {
      return fail(ESP_NUMERICAL, "gptq_solve: u[%lld, %lld]=%g, expected a positive diagonal",
                  static_cast<long long>(c), static_cast<long long>(c), u[c * cols + c]);
    }
    if (fixed_group == nullptr) continue;
    ESP_REQUIRE(op, fixed_group[c] >= 0 && fixed_group[c] < cols / group,
                "0 <= fixed_group < cols / group", fixed_group[c]);
  }
  // As many tiles together as leave work for every thread: no row's bits depend on its neighbours.
  const int64_t share = ceil_div(ceil_div(rows, gptq_lanes), esp_context_threads(ctx));
  const int64_t tiles = min_of(most_tiles, max_of(1, share));
  const problem g{rows,
                  cols,
                  w,
                  u,
                  bits,
                  symmetric,
                  group,
                  fixed_group,
                  scale_dtype,
                  scales,
                  zeros,
                  codes,
                  ESP_KERNEL(ctx, gptq_preview),
                  ESP_KERNEL(ctx, gptq_columns),
                  ESP_KERNEL(ctx, outer_f32),
                  tiles};
  quantize_range_kernel* const range = ESP_KERNEL(ctx, quantize_range);
  const range_options min_max{bits, symmetric, scale_dtype, 0, 0.0, 0.0, 0, 0};
  panels sizes;
  const int64_t bytes =
      reinterpret_cast<intptr_t>(lay_out(g, reinterpret_cast<char*>(64), &sizes)) - 64;
  const int64_t height = tiles * gptq_lanes;
  return parallel_tiles(ctx, ceil_div(rows, height), [&](int64_t t, int32_t worker) {
    char* memory = static_cast<char*>(scratch(ctx, worker, bytes));
    if (memory == nullptr) {
      return fail(ESP_OUT_OF_MEMORY, "gptq_solve: %lld bytes, expected that much free memory",
                  static_cast<long long>(bytes));
    }
    rows_of_worker mine{g, ctx, {}, t * height, min_of(rows, (t + 1) * height)};
    lay_out(g, memory, &mine.s);
    if (fixed_group == nullptr && group == cols) {
      for (int64_t r = mine.first_row; r < mine.last_row; r++)
        range(cols, cols, w + r * cols, &min_max, scales + r, zeros + r);
    }
    if (!g.own_groups()) {
      mine.solve_known();
    } else if (group <= block) {
      mine.solve_narrow();
    } else {
      mine.solve_wide();
    }
    if (cancelled(ctx)) return fail(ESP_CANCELLED, "gptq_solve: cancelled");
    return static_cast<esp_status>(ESP_OK);
  });
}
