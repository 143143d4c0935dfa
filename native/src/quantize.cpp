// SPDX-License-Identifier: Apache-2.0
//
// Ranges, codes, bit streams: every row on its own, tiles of whole rows.
#include "internal.h"
#include "layout/bit_stream.h"
#include "layout/affine.h"
#include "operations.h"

namespace esp {
namespace {

constexpr int64_t tile_elements = 65536;  // 256 KiB of fp32 a task

int64_t rows_per_tile(int64_t cols) {
  return max_of(1, tile_elements / max_of(cols, 1));
}

// Runs f(row) for every row.
template <class F>
esp_status each_row(esp_context* ctx, int64_t rows, int64_t cols, const F& f) {
  const int64_t step = rows_per_tile(cols);
  return parallel_tiles(ctx, ceil_div(rows, step), [&](int64_t tile, int32_t) {
    for (int64_t r = tile * step; r < min_of(rows, (tile + 1) * step); r++) f(r);
    return static_cast<esp_status>(ESP_OK);
  });
}

esp_status check_sizes(const char* op, const esp_context* ctx, int64_t rows, int64_t cols,
                       int32_t bits) {
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, rows >= 0, "rows >= 0", rows);
  ESP_REQUIRE(op, cols >= 0 && cols <= INT64_MAX / 8 - 31, "cols >= 0", cols);
  ESP_REQUIRE(op, bits >= 2 && bits <= 8, "2..8", bits);
  return ESP_OK;
}

}  // namespace
}  // namespace esp

extern "C" {

esp_status esp_quantize_range(esp_context* ctx, int64_t rows, int64_t cols, const float* w,
                              int64_t ldw, int32_t bits, int32_t symmetric, int64_t group,
                              esp_dtype scale_dtype, int32_t mse_grid, double mse_shrink,
                              double mse_norm, int32_t mse_patience, int32_t tell_ties,
                              float* scales, int8_t* zeros) noexcept {
  using namespace esp;
  const char* const op = "quantize_range";
  const esp_status status = check_sizes(op, ctx, rows, cols, bits);
  if (status != ESP_OK) return status;
  ESP_REQUIRE(op, esp::is_scale_dtype(scale_dtype), "F32, F16, BF16 or BF16_AND_F16", scale_dtype);
  ESP_REQUIRE(op, mse_grid >= 0, "mse_grid >= 0", mse_grid);
  ESP_REQUIRE(op, mse_patience >= 0, "mse_patience >= 0", mse_patience);
  ESP_REQUIRE(op, mse_grid == 0 || (mse_shrink >= 0.0 && mse_shrink <= 1.0), "0..1", mse_shrink);
  ESP_REQUIRE(op, mse_grid == 0 || mse_norm > 0.0, "mse_norm > 0", mse_norm);
  if (rows == 0 || cols == 0) return ESP_OK;
  ESP_REQUIRE(op, group > 0 && cols % group == 0, "a divisor of cols", group);
  ESP_REQUIRE(op, ldw >= cols, "ldw >= cols", ldw);
  ESP_REQUIRE(op, w != nullptr, "an address", w != nullptr);
  ESP_REQUIRE(op, scales != nullptr, "an address", scales != nullptr);
  ESP_REQUIRE(op, zeros != nullptr, "an address", zeros != nullptr);
  const range_options options{bits,       symmetric, scale_dtype,  mse_grid,
                              mse_shrink, mse_norm,  mse_patience, tell_ties};
  quantize_range_kernel* const kernel = ESP_KERNEL(ctx, quantize_range);
  const int64_t groups = cols / group;
  return each_row(ctx, rows, cols, [&](int64_t r) {
    kernel(cols, group, w + r * ldw, &options, scales + r * groups, zeros + r * groups);
  });
}

esp_status esp_quantize_nearest(esp_context* ctx, int64_t rows, int64_t cols, const float* w,
                                int64_t ldw, int32_t bits, int64_t group, const float* scales,
                                const int8_t* zeros, int32_t tell_ties, int8_t* codes) noexcept {
  using namespace esp;
  const char* const op = "quantize_nearest";
  const esp_status status = check_sizes(op, ctx, rows, cols, bits);
  if (status != ESP_OK) return status;
  if (rows == 0 || cols == 0) return ESP_OK;
  ESP_REQUIRE(op, group > 0 && cols % group == 0, "a divisor of cols", group);
  ESP_REQUIRE(op, ldw >= cols, "ldw >= cols", ldw);
  ESP_REQUIRE(op, w != nullptr, "an address", w != nullptr);
  ESP_REQUIRE(op, scales != nullptr, "an address", scales != nullptr);
  ESP_REQUIRE(op, codes != nullptr, "an address", codes != nullptr);
  quantize_nearest_kernel* const kernel = ESP_KERNEL(ctx, quantize_nearest);
  const int64_t groups = cols / group;
  const float shifter = tell_ties != 0 ? tie_shifter(bits) : 0.0f;
  return each_row(ctx, rows, cols, [&](int64_t r) {
    kernel(cols, w + r * ldw, bits, shifter, group, scales + r * groups,
           zeros == nullptr ? nullptr : zeros + r * groups, codes + r * cols);
  });
}

esp_status esp_pack(esp_context* ctx, int64_t rows, int64_t cols, int32_t bits, const int8_t* codes,
                    uint32_t* words, int64_t ldwords) noexcept {
  using namespace esp;
  const esp_status status = check_sizes("pack", ctx, rows, cols, bits);
  if (status != ESP_OK) return status;
  if (rows == 0 || cols == 0) return ESP_OK;
  ESP_REQUIRE("pack", ldwords >= stream_words(cols, bits), "ldwords >= ceil(cols * bits / 32)",
              ldwords);
  ESP_REQUIRE("pack", codes != nullptr, "an address", codes != nullptr);
  ESP_REQUIRE("pack", words != nullptr, "an address", words != nullptr);
  pack_kernel* const kernel = ESP_KERNEL(ctx, pack);
  return each_row(ctx, rows, cols,
                  [&](int64_t r) { kernel(cols, bits, codes + r * cols, words + r * ldwords); });
}

esp_status esp_unpack(esp_context* ctx, int64_t rows, int64_t cols, int32_t bits,
                      const uint32_t* words, int64_t ldwords, int8_t* codes) noexcept {
  using namespace esp;
  const esp_status status = check_sizes("unpack", ctx, rows, cols, bits);
  if (status != ESP_OK) return status;
  if (rows == 0 || cols == 0) return ESP_OK;
  ESP_REQUIRE("unpack", ldwords >= stream_words(cols, bits), "ldwords >= ceil(cols * bits / 32)",
              ldwords);
  ESP_REQUIRE("unpack", words != nullptr, "an address", words != nullptr);
  ESP_REQUIRE("unpack", codes != nullptr, "an address", codes != nullptr);
  unpack_kernel* const kernel = ESP_KERNEL(ctx, unpack);
  return each_row(ctx, rows, cols,
                  [&](int64_t r) { kernel(cols, bits, words + r * ldwords, codes + r * cols); });
}

}  // extern "C"
