// SPDX-License-Identifier: Apache-2.0
//
// Products of a sparse fp32 matrix with a dense panel:
//   1. b is copied once into panels of at most 96 columns, each cut into blocks of 64 rows, 24 KiB
//      that stay in the first cache: [panel][block][64, width].
//   2. A task is a tile of y: the columns of a panel of some rows of A. It goes along the columns
//   of
//      A block by block, and every row of the tile adds its kept weights of the block.
// Borders depend on the sizes alone, and every element is one sum in ascending columns.
#include <string.h>

#include "internal.h"
#include "layout/sparse.h"
#include "operations.h"
#include "sparse.h"

namespace esp {
namespace {

constexpr int64_t tile_rows = 256;  // 96 KiB of y beside the block of b
// Copied at once: 768 columns of b, 12 MiB with 4096 rows.
constexpr int64_t panels_at_once = 8;

struct spmm_operands {
  sparse_operands a;
  const float* b;  // [a.cols, n] ldb
  int64_t ldb;
  float* y;  // [a.rows, n] ldy
  int64_t ldy;
};

// Columns cut into panels of one width, the last of which may be narrower.
struct panel_cut {
  int64_t n, width, panels;
  explicit panel_cut(int64_t columns) : n(columns) {
    panels = ceil_div(n, spmm_columns);
    width = ceil_div(ceil_div(n, panels), spmm_step) * spmm_step;
    panels = ceil_div(n, width);
  }
  int64_t columns_of(int64_t panel) const { return min_of(width, n - panel * width); }
};

// The words of the bitmask of rows [row, row + rows) at block `block`.
void block_masks(const sparse_operands& w, int64_t row, int64_t rows, int64_t block,
                 uint64_t* masks) {
  const int64_t bytes = sparse_place_bytes(w.cols);
  const int64_t at = block * spmm_depth / 8;
  const uint8_t* const places = w.places + row * bytes + at;
  if (bytes - at >= 8) {  // a copy of known size is one instruction, of another a call
    for (int64_t r = 0; r < rows; r++) memcpy(masks + r, places + r * bytes, 8);
    return;
  }
  for (int64_t r = 0; r < rows; r++) {
    masks[r] = 0;
    memcpy(masks + r, places + r * bytes, static_cast<size_t>(bytes - at));
  }
}

struct tile_scratch {
  float* y;              // [tile_rows, width]
  const float** values;  // [tile_rows]
  uint64_t* masks;       // [tile_rows]
};
constexpr int64_t tile_bytes = tile_rows * (spmm_columns * 4 + 16);

tile_scratch tile_at(uint8_t* p) {
  tile_scratch t;
  t.y = reinterpret_cast<float*>(p);
  t.values = reinterpret_cast<const float**>(p + tile_rows * spmm_columns * 4);
  t.masks = reinterpret_cast<uint64_t*>(t.values + tile_rows);
  return t;
}

// Block `block` of a panel of b, zeros where b has no columns or rows.
void copy_block(const spmm_operands& o, const panel_cut& cut, int64_t panel, int64_t block,
                float* to) {
  const int64_t depth = min_of(spmm_depth, o.a.cols - block * spmm_depth);
  const int64_t columns = cut.columns_of(panel);
  if (depth < spmm_depth || columns < cut.width)
    memset(to, 0, static_cast<size_t>(spmm_depth * cut.width) * sizeof(float));
  const float* const from = o.b + block * spmm_depth * o.ldb + panel * cut.width;
  for (int64_t c = 0; c < depth; c++)
    memcpy(to + c * cut.width, from + c * o.ldb, static_cast<size_t>(columns) * sizeof(float));
}

// Rows [row, row + rows) of y, `columns` of them at y, from the blocks of their panel.
void multiply_tile(const spmm_operands& o, spmm_f32_kernel* kernel, int64_t row, int64_t rows,
                   int64_t width, int64_t columns, const float* blocks, float* y,
                   const tile_scratch& t) {
  memset(t.y, 0, static_cast<size_t>(rows * width) * sizeof(float));
  for (int64_t r = 0; r < rows; r++)
    t.values[r] = static_cast<const float*>(o.a.values) + o.a.row_offsets[row + r];
  for (int64_t block = 0; block * spmm_depth < o.a.cols; block++) {
    block_masks(o.a, row, rows, block, t.masks);
    const float* const b = blocks + block * spmm_depth * width;
    const bool last = (block + 1) * spmm_depth >= o.a.cols;
    kernel({rows, width, t.masks, t.values, b, last ? blocks : b + spmm_depth * width, t.y});
  }
  for (int64_t r = 0; r < rows; r++)
    memcpy(y + r * o.ldy, t.y + r * width, static_cast<size_t>(columns) * sizeof(float));
}

esp_status multiply_panels_of(esp_context* ctx, const spmm_operands& o, int64_t n) {
  const panel_cut cut(n);
  const int64_t blocks = ceil_div(o.a.cols, spmm_depth);
  const int64_t block_floats = spmm_depth * cut.width;
  const int64_t copies = cut.panels * blocks * block_floats * static_cast<int64_t>(sizeof(float));
  // One piece for all: a worker's own would end the copies of b that lie in the first one's.
  uint8_t* const memory =
      static_cast<uint8_t*>(scratch(ctx, 0, copies + esp_context_threads(ctx) * tile_bytes));
  if (memory == nullptr) return fail(ESP_OUT_OF_MEMORY, "%s: no memory for panels", o.a.op);
  float* const b = reinterpret_cast<float*>(memory);
  esp_status status =
      parallel_tiles(ctx, cut.panels * blocks, [&](int64_t tile, int32_t) -> esp_status {
        copy_block(o, cut, tile / blocks, tile % blocks, b + tile * block_floats);
        return ESP_OK;
      });
  if (status != ESP_OK) return status;
  spmm_f32_kernel* const kernel = ESP_KERNEL(ctx, spmm_f32);
  const int64_t tall = ceil_div(o.a.rows, tile_rows);
  return parallel_tiles(ctx, tall * cut.panels, [&](int64_t tile, int32_t worker) -> esp_status {
    const int64_t row = tile % tall * tile_rows, panel = tile / tall;
    multiply_tile(o, kernel, row, min_of(tile_rows, o.a.rows - row), cut.width,
                  cut.columns_of(panel), b + panel * blocks * block_floats,
                  o.y + row * o.ldy + panel * cut.width,
                  tile_at(memory + copies + worker * tile_bytes));
    return ESP_OK;
  });
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
  if (cols == 0) {
    for (int64_t r = 0; r < rows; r++)
      memset(y + r * ldy, 0, static_cast<size_t>(n) * sizeof(float));
    return ESP_OK;
  }
  constexpr int64_t at_once = panels_at_once * spmm_columns;
  for (int64_t first = 0; first < n; first += at_once) {
    status =
        multiply_panels_of(ctx, {w, b + first, ldb, y + first, ldy}, min_of(at_once, n - first));
    if (status != ESP_OK) return status;
  }
  return ESP_OK;
}

}  // extern "C"
