// SPDX-License-Identifier: Apache-2.0
//
// Products with sparse weights. A few rows of x multiply the stored values directly, which is bound
// by their bytes; many rows are panels that only the kept weights are multiplied with, or, where
// that loses, a tile of W is expanded once and multiplied as a dense one.
#include <string.h>

#include "internal.h"
#include "operations.h"
#include "sparse.h"

namespace esp {
namespace {

constexpr int64_t direct_tile = 32;     // rows of W a task
constexpr int64_t expanded_tile = 128;  // rows of W a task: 128 * 4096 * 4 = 2 MiB of fp32
constexpr int64_t expanded_rows = 512;  // rows of x a task

esp_status multiply_direct(esp_context* ctx, const sparse_operands& w,
                           const sparse_activations& d) {
  int64_t* const starts =
      static_cast<int64_t*>(scratch(ctx, 0, w.rows * static_cast<int64_t>(sizeof(int64_t))));
  if (starts == nullptr) return fail(ESP_OUT_OF_MEMORY, "%s: no memory for row starts", w.op);
  sparse_row_starts(w, 0, w.rows, starts);
  const sparse_product p{sparse_rows_of(w, 0, w.rows, starts, sparse_values_length(w)),
                         d.m,
                         d.x,
                         d.ldx,
                         d.bias,
                         d.y,
                         d.ldy};
  matmul_sparse_kernel* const kernel = ESP_KERNEL(ctx, matmul_sparse);
  return parallel_tiles(ctx, ceil_div(w.rows, direct_tile), [&](int64_t tile, int32_t) {
    const int64_t row = tile * direct_tile;
    kernel(p, row, min_of(w.rows, row + direct_tile));
    return static_cast<esp_status>(ESP_OK);
  });
}

esp_status multiply_expanded(esp_context* ctx, const sparse_operands& w,
                             const sparse_activations& d) {
  sparse_expand_kernel* const expand = ESP_KERNEL(ctx, sparse_expand);
  const int64_t length = sparse_values_length(w);
  const int64_t columns = ceil_div(w.rows, expanded_tile);
  return parallel_tiles(
      ctx, columns * ceil_div(d.m, expanded_rows), [&](int64_t tile, int32_t worker) -> esp_status {
        const int64_t row = tile % columns * expanded_tile;
        const int64_t rows = min_of(expanded_tile, w.rows - row);
        const int64_t first = tile / columns * expanded_rows;
        const int64_t count = min_of(expanded_rows, d.m - first);
        int64_t starts[expanded_tile];
        float* const dense = static_cast<float*>(
            scratch(ctx, worker, expanded_tile * w.cols * static_cast<int64_t>(sizeof(float))));
        if (dense == nullptr) return fail(ESP_OUT_OF_MEMORY, "%s: no memory for a tile", w.op);
        sparse_row_starts(w, row, row + rows, starts);
        expand(sparse_rows_of(w, row, row + rows, starts, length), 0, rows, dense, w.cols);
        float* const y = d.y + first * d.ldy + row;
        for (int64_t i = 0; d.bias != nullptr && i < count; i++)
          memcpy(y + i * d.ldy, d.bias + row, static_cast<size_t>(rows) * sizeof(float));
        gemm_f32(false, true, count, rows, w.cols, 1.0f, d.x + first * d.ldx, d.ldx, dense, w.cols,
                 d.bias == nullptr ? 0.0f : 1.0f, y, d.ldy);
        return ESP_OK;
      });
}

enum class path { direct, panels, expanded };

// A panel multiplies `kept` weights with spmm_columns rows of x, whether there are as many or not,
// at 5/4 of what a product of a dense tile takes for each: 74 of 92 GFLOP/s a thread on AVX2.
path path_of(int64_t m, int64_t rows, int64_t cols, int64_t kept) {
  if (m <= sparse_rows_most) return path::direct;
  const double panels = static_cast<double>(ceil_div(m, spmm_columns) * spmm_columns) *
                        static_cast<double>(kept) * 1.25;
  const double dense =
      static_cast<double>(m) * static_cast<double>(rows) * static_cast<double>(cols);
  return panels < dense ? path::panels : path::expanded;
}

esp_status multiply(esp_context* ctx, const sparse_operands& w, const sparse_activations& d) {
  ESP_REQUIRE(w.op, ctx != nullptr, "a context", ctx != nullptr);
  esp_status status = check_sparse_sizes(w);
  if (status != ESP_OK) return status;
  ESP_REQUIRE(w.op, d.m >= 0 && d.m <= INT32_MAX, "0 <= m < 2^31", d.m);
  if (d.m == 0 || w.rows == 0) return ESP_OK;
  ESP_REQUIRE(w.op, d.y != nullptr, "an address", d.y != nullptr);
  ESP_REQUIRE(w.op, d.ldy >= w.rows && d.ldy <= INT32_MAX, "rows <= ldy < 2^31", d.ldy);
  if (w.cols == 0) {
    for (int64_t i = 0; i < d.m; i++) {
      for (int64_t r = 0; r < w.rows; r++)
        d.y[i * d.ldy + r] = d.bias == nullptr ? 0.0f : d.bias[r];
    }
    return ESP_OK;
  }
  status = check_sparse_addresses(w, true);
  if (status != ESP_OK) return status;
  ESP_REQUIRE(w.op, d.x != nullptr, "an address", d.x != nullptr);
  ESP_REQUIRE(w.op, d.ldx >= w.cols && d.ldx <= INT32_MAX, "cols <= ldx < 2^31", d.ldx);
  switch (path_of(d.m, w.rows, w.cols, sparse_kept(w))) {
    case path::direct:
      return multiply_direct(ctx, w, d);
    case path::panels:
      return multiply_panels(ctx, w, d);
    default:
      return multiply_expanded(ctx, w, d);
  }
}

}  // namespace
}  // namespace esp

extern "C" {

esp_status esp_matmul_sparse(esp_context* ctx, int64_t m, int64_t rows, int64_t cols,
                             const float* x, int64_t ldx, esp_sparsity pattern, esp_dtype dtype,
                             const uint8_t* places, const int64_t* row_offsets, const void* values,
                             const float* scales, int64_t group, const float* bias, float* y,
                             int64_t ldy) noexcept {
  return esp::multiply(
      ctx,
      {"matmul_sparse", rows, cols, pattern, dtype, places, row_offsets, values, scales, group},
      {m, x, ldx, bias, y, ldy});
}

const char* esp_matmul_sparse_path(const esp_context*, int64_t m, int64_t rows, int64_t cols,
                                   esp_sparsity, esp_dtype, int64_t kept) noexcept {
  switch (esp::path_of(m, rows, cols, kept)) {
    case esp::path::direct:
      return "direct";
    case esp::path::panels:
      return "panels";
    default:
      return "expanded";
  }
}

}  // extern "C"
