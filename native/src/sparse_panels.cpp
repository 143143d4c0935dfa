// SPDX-License-Identifier: Apache-2.0
//
// Many rows of x times sparse weights, as y^T = W . x^T in panels of 96 rows of x:
//   1. x is copied once, transposed into the blocks that spmm_f32 reads: [panel][block][64, 96].
//   2. A task is 128 rows of W: their kept weights are widened once, their masks laid out as words,
//      and every panel goes through the blocks of columns with a tile of y^T in the cache.
// Borders depend on the sizes alone, and every element is one sum in ascending columns.
#include <string.h>

#include "internal.h"
#include "layout/sparse.h"
#include "operations.h"
#include "sparse.h"

namespace esp {
namespace {

constexpr int64_t panel_rows = 128;    // of W a task: 48 KiB of y^T
constexpr int64_t panels_at_once = 8;  // 768 rows of x: 12 MiB of copies at 4096 columns
constexpr int64_t block_floats = spmm_depth * spmm_columns;

struct task_scratch {
  float* y;              // [panel_rows, spmm_columns]
  float* row;            // [cols]: a row of W expanded
  float* kept;           // [panel_rows * cols]: the widened kept weights
  uint64_t* masks;       // [blocks, panel_rows]
  uint8_t* bitmask;      // [blocks * 8]
  const float** values;  // [panel_rows]: where a row's go on
};

constexpr int64_t rounded(int64_t bytes) {
  return (bytes + 63) / 64 * 64;
}

struct sizes {
  int64_t blocks, y, row, kept, masks, bitmask, values;
  explicit sizes(int64_t cols)
      : blocks(ceil_div(cols, spmm_depth)),
        y(rounded(panel_rows * spmm_columns * 4)),
        row(rounded(cols * 4)),
        kept(rounded(panel_rows * cols * 4)),
        masks(rounded(blocks * panel_rows * 8)),
        bitmask(rounded(blocks * 8)),
        values(rounded(panel_rows * 8)) {}
  int64_t task() const { return y + row + kept + masks + bitmask + values; }
};

task_scratch scratch_at(uint8_t* p, const sizes& s) {
  task_scratch t;
  t.y = reinterpret_cast<float*>(p);
  t.row = reinterpret_cast<float*>(p += s.y);
  t.kept = reinterpret_cast<float*>(p += s.row);
  t.masks = reinterpret_cast<uint64_t*>(p += s.kept);
  t.bitmask = p += s.masks;
  t.values = reinterpret_cast<const float**>(p + s.bitmask);
  return t;
}

// b[c, j] = x[j, c] of the block's columns and the panel's rows, 0 beyond them.
void copy_block(const sparse_activations& d, int64_t cols, int64_t first, int64_t column,
                float* b) {
  const int64_t rows = min_of(spmm_columns, d.m - first);
  const int64_t depth = min_of(spmm_depth, cols - column);
  if (rows < spmm_columns || depth < spmm_depth)
    memset(b, 0, static_cast<size_t>(block_floats) * sizeof(float));
  for (int64_t j = 0; j < rows; j++) {
    const float* const x = d.x + (first + j) * d.ldx + column;
    for (int64_t c = 0; c < depth; c++) b[c * spmm_columns + j] = x[c];
  }
}

// The bitmask of row r, in whole words.
void bitmask_of_row(const sparse_operands& w, int64_t r, uint8_t* bitmask) {
  const int64_t bytes = sparse_place_bytes(w.cols);
  const uint8_t* const places = w.places + r * bytes;
  for (int64_t b = 0; b < bytes; b++) {
    bitmask[b] = w.pattern == ESP_SPARSE_24
                     ? sparse_mask_of_places(places[b], 8 * b + 4 < w.cols ? 2 : 1)
                     : places[b];
  }
}

struct panel_kernels {
  sparse_expand_kernel* expand;
  sparse_collect_f32_kernel* collect;
  widen_bf16_kernel* bf16;
  widen_f16_kernel* f16;
  spmm_f32_kernel* spmm;
};

// Masks and kept weights of the rows [row, row + rows); begins[r] = where those of a row begin.
void lay_out_rows(const panel_kernels& k, const sparse_operands& w, int64_t row, int64_t rows,
                  int64_t length, const sizes& s, const task_scratch& t, const float** begins) {
  int64_t starts[panel_rows];
  sparse_row_starts(w, row, row + rows, starts);
  const sparse_weights tile = sparse_rows_of(w, row, row + rows, starts, length);
  memset(t.bitmask, 0, static_cast<size_t>(s.bitmask));
  float* to = t.kept;
  for (int64_t r = 0; r < rows; r++) {
    begins[r] = to;
    bitmask_of_row(w, row + r, t.bitmask);
    for (int64_t b = 0; b < s.blocks; b++)
      memcpy(t.masks + b * panel_rows + r, t.bitmask + 8 * b, sizeof(uint64_t));
    const int64_t kept = kept_in_row(w, row + r);
    const uint16_t* const half = reinterpret_cast<const uint16_t*>(tile.values + starts[r]);
    if (w.dtype == ESP_BF16) {
      k.bf16(kept, half, to);
    } else if (w.dtype == ESP_F16) {
      k.f16(kept, half, to);
    } else if (w.dtype == ESP_F32) {
      memcpy(to, tile.values + starts[r], static_cast<size_t>(kept) * sizeof(float));
    } else {
      k.expand(tile, r, r + 1, t.row, w.cols);
      k.collect(w.cols, t.bitmask, t.row, to);
    }
    to += kept;
  }
}

// y[first + j, row + r] = t.y[r, j] + bias.
void store_tile(const sparse_activations& d, int64_t row, int64_t rows, int64_t first,
                const float* tile) {
  for (int64_t j = 0; j < min_of(spmm_columns, d.m - first); j++) {
    float* const y = d.y + (first + j) * d.ldy + row;
    for (int64_t r = 0; r < rows; r++)
      y[r] = tile[r * spmm_columns + j] + (d.bias == nullptr ? 0.0f : d.bias[row + r]);
  }
}

esp_status multiply_some(esp_context* ctx, const sparse_operands& w, const sparse_activations& d) {
  const sizes s(w.cols);
  const int64_t panels = ceil_div(d.m, spmm_columns);
  const int64_t copies = panels * s.blocks * block_floats;
  // One piece for all: a worker's own would end the copies of x that lie in the first one's.
  uint8_t* const memory = static_cast<uint8_t*>(scratch(
      ctx, 0, copies * static_cast<int64_t>(sizeof(float)) + esp_context_threads(ctx) * s.task()));
  if (memory == nullptr) return fail(ESP_OUT_OF_MEMORY, "%s: no memory for panels", w.op);
  float* const x = reinterpret_cast<float*>(memory);
  uint8_t* const tasks = memory + copies * static_cast<int64_t>(sizeof(float));
  esp_status status =
      parallel_tiles(ctx, panels * s.blocks, [&](int64_t tile, int32_t) -> esp_status {
        const int64_t panel = tile / s.blocks, block = tile % s.blocks;
        copy_block(d, w.cols, panel * spmm_columns, block * spmm_depth, x + tile * block_floats);
        return ESP_OK;
      });
  if (status != ESP_OK) return status;
  const panel_kernels k{ESP_KERNEL(ctx, sparse_expand), ESP_KERNEL(ctx, sparse_collect_f32),
                        ESP_KERNEL(ctx, widen_bf16), ESP_KERNEL(ctx, widen_f16),
                        ESP_KERNEL(ctx, spmm_f32)};
  const int64_t length = sparse_values_length(w);
  return parallel_tiles(
      ctx, ceil_div(w.rows, panel_rows), [&](int64_t tile, int32_t worker) -> esp_status {
        const task_scratch t = scratch_at(tasks + worker * s.task(), s);
        const int64_t row = tile * panel_rows, rows = min_of(panel_rows, w.rows - row);
        const float* begins[panel_rows];
        lay_out_rows(k, w, row, rows, length, s, t, begins);
        for (int64_t panel = 0; panel < panels; panel++) {
          memset(t.y, 0, static_cast<size_t>(rows * spmm_columns) * sizeof(float));
          memcpy(t.values, begins, static_cast<size_t>(rows) * sizeof(begins[0]));
          for (int64_t block = 0; block < s.blocks; block++)
            k.spmm({rows, t.masks + block * panel_rows, 1, t.values,
                    x + (panel * s.blocks + block) * block_floats, t.y});
          store_tile(d, row, rows, panel * spmm_columns, t.y);
        }
        return ESP_OK;
      });
}

}  // namespace

esp_status multiply_panels(esp_context* ctx, const sparse_operands& w,
                           const sparse_activations& d) {
  constexpr int64_t at_once = panels_at_once * spmm_columns;
  for (int64_t first = 0; first < d.m; first += at_once) {
    sparse_activations part = d;
    part.m = min_of(at_once, d.m - first);
    part.x += first * d.ldx;
    part.y += first * d.ldy;
    const esp_status status = multiply_some(ctx, w, part);
    if (status != ESP_OK) return status;
  }
  return ESP_OK;
}

}  // namespace esp
