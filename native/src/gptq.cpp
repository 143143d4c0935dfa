// SPDX-License-Identifier: Apache-2.0
//
// The GPTQ solver: which columns are pulled, previewed and rounded when. The mathematics is proved
// in kernels/reference/gptq.cpp, the machinery stands in column_solver.h.
#include "column_solver.h"

namespace esp {
namespace {

using namespace columns;

// Rounds the columns [first, last) of a part's block.
void round(const part& here, gptq_columns_kernel* kernel, int64_t first, int64_t last) {
  const problem& g = here.g;
  here.each_piece(first, last, [&](const gptq_panels& at, int64_t from, int64_t to, int64_t piece) {
    kernel(&at, from, to, g.bits,
           g.fixed_group == nullptr ? nullptr : g.fixed_group + here.start + piece,
           here.kept.scales, here.kept.zeros, here.s.values + piece * gptq_lanes,
           here.s.codes + piece * gptq_lanes);
  });
}

// The tiles of one worker on their way through the columns.
struct rows_of_worker {
  const problem& g;
  gptq_columns_kernel* kernel;
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
      load_factor(g, s, 0, start, end);
      each_tile(start, end, [&](const part& here) {
        here.load();
        act(here);
      });
    }
  }

  void solve_known() const {
    each_tile(0, 0, [](const part& here) { here.load_scales(); });
    each_block(0, g.cols, block, [this](const part& here) {
      round(here, kernel, 0, here.end - here.start);
      here.store();
    });
  }

  // Several whole groups a block.
  void solve_narrow() const {
    each_block(0, g.cols, block / g.group * g.group, [this](const part& here) {
      const int64_t group = here.g.group;
      for (int64_t first = 0; first < here.end - here.start; first += group) {
        here.start_range();
        here.preview(first, first + group);
        here.finish_range((here.start + first) / group);
        round(here, kernel, first, first + group);
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
      each_block(first, last, block, [this](const part& here) {
        round(here, kernel, 0, here.end - here.start);
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
                  ESP_KERNEL(ctx, outer_f32),
                  tiles};
  gptq_columns_kernel* const kernel = ESP_KERNEL(ctx, gptq_columns);
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
    rows_of_worker mine{g, kernel, ctx, {}, t * height, min_of(rows, (t + 1) * height)};
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
