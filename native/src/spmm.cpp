// SPDX-License-Identifier: Apache-2.0
//
// Products of a sparse fp32 matrix with a dense panel. A task is a tile of y: 96 columns of some
// rows. It goes along the columns of A in blocks of 64: their rows of b are copied together into
// 24 KiB that stay in the first cache, and every row of the tile adds its kept weights of the
// block. Borders depend on the sizes alone, and every element is one sum in ascending columns.
#include <string.h>

#include "internal.h"
#include "layout/sparse.h"
#include "operations.h"
#include "sparse.h"

namespace esp {
namespace {

constexpr int64_t spmm_tile_rows = 256;  // 96 KiB of y beside the block of b

// The words of the bitmask of rows [row, row + rows) at block `block`.
void block_masks(const sparse_operands& w, int64_t row, int64_t rows, int64_t block,
                 uint64_t* masks) {
  const int64_t bytes = sparse_place_bytes(w.cols);
  const int64_t at = block * spmm_depth / 8;
  const size_t here = static_cast<size_t>(min_of(8, bytes - at));
  for (int64_t r = 0; r < rows; r++) {
    masks[r] = 0;
    memcpy(masks + r, w.places + (row + r) * bytes + at, here);
  }
}

struct spmm_scratch {
  float* b;              // [spmm_depth, spmm_columns]
  float* y;              // [spmm_tile_rows, spmm_columns]
  const float** values;  // [spmm_tile_rows]
  uint64_t* masks;       // [spmm_tile_rows]
};
constexpr int64_t spmm_scratch_bytes =
    (spmm_depth + spmm_tile_rows) * spmm_columns * 4 + spmm_tile_rows * 16;

bool take_scratch(esp_context* ctx, int32_t worker, spmm_scratch* s) {
  s->b = static_cast<float*>(scratch(ctx, worker, spmm_scratch_bytes));
  if (s->b == nullptr) return false;
  s->y = s->b + spmm_depth * spmm_columns;
  s->values = reinterpret_cast<const float**>(s->y + spmm_tile_rows * spmm_columns);
  s->masks = reinterpret_cast<uint64_t*>(s->values + spmm_tile_rows);
  return true;
}

}  // namespace
}  // namespace esp

extern "C" {

esp_status esp_spmm_f32(esp_context* ctx, int64_t rows, int64_t cols, int64_t n,
                        const uint8_t* places, const int64_t* row_offsets, const float* values,
                        const float* b, int64_t ldb, float* y, int64_t ldy) noexcept {
  using namespace esp;
  const char* const op = "spmm_f32";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  const sparse_operands w{op,     rows,    cols, ESP_SPARSE_BITMASK, ESP_F32, places, row_offsets,
                          values, nullptr, 0};
  esp_status status = check_sparse_sizes(w);
  if (status != ESP_OK) return status;
  ESP_REQUIRE(op, n >= 0, "n >= 0", n);
  if (rows == 0 || n == 0) return ESP_OK;
  ESP_REQUIRE(op, y != nullptr, "an address", y != nullptr);
  ESP_REQUIRE(op, ldy >= n, "ldy >= n", ldy);
  if (cols > 0) {
    status = check_sparse_addresses(w, true);
    if (status != ESP_OK) return status;
    ESP_REQUIRE(op, b != nullptr, "an address", b != nullptr);
    ESP_REQUIRE(op, ldb >= n, "ldb >= n", ldb);
  }
  spmm_f32_kernel* const kernel = ESP_KERNEL(ctx, spmm_f32);
  const int64_t tall = ceil_div(rows, spmm_tile_rows);
  return parallel_tiles(
      ctx, tall * ceil_div(n, spmm_columns), [&](int64_t tile, int32_t worker) -> esp_status {
        spmm_scratch s;
        if (!take_scratch(ctx, worker, &s)) return fail(ESP_OUT_OF_MEMORY, "%s: no memory", op);
        const int64_t row = tile % tall * spmm_tile_rows;
        const int64_t count = min_of(spmm_tile_rows, rows - row);
        const int64_t column = tile / tall * spmm_columns;
        const int64_t width = min_of(spmm_columns, n - column);
        const size_t bytes = static_cast<size_t>(width) * sizeof(float);
        memset(s.y, 0, static_cast<size_t>(count * spmm_columns) * sizeof(float));
        memset(s.b, 0, static_cast<size_t>(spmm_depth * spmm_columns) * sizeof(float));
        for (int64_t r = 0; r < count; r++)
          s.values[r] = cols == 0 ? nullptr : values + row_offsets[row + r];
        for (int64_t block = 0; block * spmm_depth < cols; block++) {
          const int64_t depth = min_of(spmm_depth, cols - block * spmm_depth);
          const float* const from = b + block * spmm_depth * ldb + column;
          for (int64_t c = 0; c < depth; c++) memcpy(s.b + c * spmm_columns, from + c * ldb, bytes);
          block_masks(w, row, count, block, s.masks);
          kernel({count, s.masks, 1, s.values, s.b, s.y});
        }
        for (int64_t r = 0; r < count; r++)
          memcpy(y + (row + r) * ldy + column, s.y + r * spmm_columns, bytes);
        return ESP_OK;
      });
}

}  // extern "C"
