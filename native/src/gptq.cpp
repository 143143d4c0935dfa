// SPDX-License-Identifier: Apache-2.0
//
// The GPTQ solver: which columns are pulled, previewed and rounded when. The mathematics is proved
// in kernels/reference/gptq.cpp; this file does the products over finished columns and the scales.
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

  // Scales come from updated columns; otherwise they are known before the first column.
  bool own_groups() const { return fixed_group == nullptr && group < cols; }
  int64_t groups() const { return cols / group; }
};

// The working set of one tile of 64 rows. Panels are [column, lane].
struct panels {
  double* d;      // [cols, lanes]
  double* p;      // [block, lanes]
  double* ut;     // [block, block]
  float* w;       // [block, lanes]
  float* values;  // [block, lanes]
  float* scales;  // [groups or 1, lanes]
  float* zeros;   // [groups or 1, lanes]
  float* low;     // [lanes]
  float* high;    // [lanes]
  int8_t* codes;  // [block, lanes]
};

template <class T>
T* take(char** at, int64_t count) {
  T* const here = reinterpret_cast<T*>(*at);
  *at += ceil_div(count * static_cast<int64_t>(sizeof(T)), 64) * 64;
  return here;
}

// Lays the panels out from `at`; returns the end, so that a null start gives the size.
char* lay_out(const problem& g, char* at, panels* s) {
  const int64_t kept = g.fixed_group == nullptr ? 1 : g.groups();
  s->d = take<double>(&at, g.cols * gptq_lanes);
  s->p = take<double>(&at, gptq_block * gptq_lanes);
  s->ut = take<double>(&at, gptq_block * gptq_block);
  s->w = take<float>(&at, gptq_block * gptq_lanes);
  s->values = take<float>(&at, gptq_block * gptq_lanes);
  s->scales = take<float>(&at, kept * gptq_lanes);
  s->zeros = take<float>(&at, kept * gptq_lanes);
  s->low = take<float>(&at, gptq_lanes);
  s->high = take<float>(&at, gptq_lanes);
  s->codes = take<int8_t>(&at, gptq_block * gptq_lanes);
  return at;
}

// One tile of rows on its way through the columns.
struct tile {
  const problem& g;
  panels s;
  int64_t row, rows;  // first row of the tile, how many (at most 64)

  // Everything the kernels need for the columns [start, end): w, U and the pull P = D[:, :start] .
  // U[:start, start:end].
  gptq_panels load(int64_t start, int64_t end) {
    for (int64_t j = 0; j < end - start; j++) {
      for (int64_t i = 0; i <= j; i++)
        s.ut[j * gptq_block + i] = g.u[(start + i) * g.cols + start + j];
      for (int64_t lane = 0; lane < gptq_lanes; lane++)
        s.w[j * gptq_lanes + lane] = lane < rows ? g.w[(row + lane) * g.cols + start + j] : 0.0f;
    }
    gemm_f64(true, false, end - start, gptq_lanes, start, 1.0, g.u + start, g.cols, s.d, gptq_lanes,
             0.0, s.p, gptq_lanes);
    return {s.ut, s.p, s.w, s.d + start * gptq_lanes};
  }

  void store(int64_t start, int64_t end) {
    for (int64_t lane = 0; lane < rows; lane++) {
      for (int64_t j = 0; j < end - start; j++) {
        g.w[(row + lane) * g.cols + start + j] = s.values[j * gptq_lanes + lane];
        g.codes[(row + lane) * g.cols + start + j] = s.codes[j * gptq_lanes + lane];
      }
    }
  }

  void start_range() {
    for (int64_t lane = 0; lane < gptq_lanes; lane++) s.low[lane] = s.high[lane] = 0.0f;
  }

  // Scales of group `index` from the range seen since start_range.
  void finish_range(int64_t index) {
    for (int64_t lane = 0; lane < gptq_lanes; lane++) {
      affine_of_range(s.low[lane], s.high[lane], g.bits, g.symmetric, g.scale_dtype,
                      &s.scales[lane], &s.zeros[lane]);
      if (lane >= rows) continue;
      g.scales[(row + lane) * g.groups() + index] = s.scales[lane];
      g.zeros[(row + lane) * g.groups() + index] = static_cast<int8_t>(s.zeros[lane]);
    }
  }

  // Scales known beforehand: per channel, or the fixed groups.
  void load_scales() {
    for (int64_t i = 0; i < g.groups(); i++) {
      for (int64_t lane = 0; lane < gptq_lanes; lane++) {
        const int64_t from = (row + lane) * g.groups() + i;
        s.scales[i * gptq_lanes + lane] = lane < rows ? g.scales[from] : 1.0f;
        s.zeros[i * gptq_lanes + lane] =
            lane < rows && g.zeros != nullptr ? static_cast<float>(g.zeros[from]) : 0.0f;
      }
    }
  }

  void round(const gptq_panels& block, int64_t first, int64_t last, const int32_t* groups) {
    g.round(&block, first, last, g.bits, groups, s.scales, s.zeros, s.values, s.codes);
  }

  void solve_known() {
    load_scales();
    for (int64_t start = 0; start < g.cols; start += gptq_block) {
      const int64_t end = min_of(g.cols, start + gptq_block);
      const gptq_panels block = load(start, end);
      round(block, 0, end - start, g.fixed_group == nullptr ? nullptr : g.fixed_group + start);
      store(start, end);
    }
  }

  // Several whole groups a block.
  void solve_narrow() {
    const int64_t step = gptq_block / g.group * g.group;
    for (int64_t start = 0; start < g.cols; start += step) {
      const int64_t end = min_of(g.cols, start + step);
      const gptq_panels block = load(start, end);
      for (int64_t first = 0; first < end - start; first += g.group) {
        start_range();
        g.preview(&block, first, first + g.group, s.low, s.high);
        finish_range((start + first) / g.group);
        round(block, first, first + g.group, nullptr);
      }
      store(start, end);
    }
  }

  // Several blocks a group: all are previewed, then all are rounded.
  void solve_wide() {
    for (int64_t group = 0; group < g.cols; group += g.group) {
      const int64_t group_end = group + g.group;
      start_range();
      for (int64_t start = group; start < group_end; start += gptq_block) {
        const int64_t end = min_of(group_end, start + gptq_block);
        const gptq_panels block = load(start, end);
        g.preview(&block, 0, end - start, s.low, s.high);
      }
      finish_range(group / g.group);
      for (int64_t start = group; start < group_end; start += gptq_block) {
        const int64_t end = min_of(group_end, start + gptq_block);
        const gptq_panels block = load(start, end);
        round(block, 0, end - start, nullptr);
        store(start, end);
      }
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
                  ESP_KERNEL(ctx, gptq_columns)};
  quantize_range_kernel* const range = ESP_KERNEL(ctx, quantize_range);
  const range_options min_max{bits, symmetric, scale_dtype, 0, 0.0, 0.0, 0};
  panels sizes;
  const int64_t bytes =
      reinterpret_cast<intptr_t>(lay_out(g, reinterpret_cast<char*>(64), &sizes)) - 64;
  return parallel_tiles(ctx, ceil_div(rows, gptq_lanes), [&](int64_t t, int32_t worker) {
    char* memory = static_cast<char*>(scratch(ctx, worker, bytes));
    if (memory == nullptr) {
      return fail(ESP_OUT_OF_MEMORY, "gptq_solve: %lld bytes, expected that much free memory",
                  static_cast<long long>(bytes));
    }
    tile part{g, {}, t * gptq_lanes, min_of(gptq_lanes, rows - t * gptq_lanes)};
    lay_out(g, memory, &part.s);
    if (fixed_group == nullptr && group == cols) {
      for (int64_t r = part.row; r < part.row + part.rows; r++)
        range(cols, cols, w + r * cols, &min_max, scales + r, zeros + r);
    }
    if (!g.own_groups()) {
      part.solve_known();
    } else if (group <= gptq_block) {
      part.solve_narrow();
    } else {
      part.solve_wide();
    }
    return static_cast<esp_status>(ESP_OK);
  });
}
