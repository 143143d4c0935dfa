// SPDX-License-Identifier: Apache-2.0
//
// Gradients of a linear map: tiles of BLAS products, whose borders depend on the sizes alone.
// 16-bit weights are widened piece by piece into worker scratch.
#include "internal.h"
#include "operations.h"

using namespace esp;

namespace {

// BLAS packs both operands of every tile, (1/rows + 1/columns) elements for a multiplication: tiles
// are as large as leaves a few of them for 256 tokens and a width of 256. A rest of a few columns
// would be packed for next to nothing, so a width is cut evenly.
constexpr int64_t most_rows = 256;
constexpr int64_t most_columns = 384;
constexpr int64_t most_weight_rows = 192;
constexpr int64_t most_weight_columns = 384;
// Widened weights of a tile: 2048 x 384 fp32 are 3 MiB. More outputs are summed piece by piece.
constexpr int64_t piece_outputs = 2048;
constexpr int64_t bias_columns = 64;

struct linear {
  int64_t m, n, k;
  bool in_out;
  const float* x;  // [m, k]
  esp_dtype dtype;
  const void* w;    // [n, k], or [k, n] for in_out
  const float* dy;  // [m, n]
  float* dx;        // [m, k] or null
  float* dw;        // as w, or null
  float* dbias;     // [n] or null
};

// Rows [row, row + rows) and columns [column, column + columns) of a matrix of 16-bit weights with
// `width` columns, widened without gaps; for F32 the matrix itself.
const float* piece(esp_context* ctx, const linear& a, int64_t width, int64_t row, int64_t rows,
                   int64_t column, int64_t columns, int32_t worker, int64_t* ld) {
  const int64_t first = row * width + column;
  if (a.dtype == ESP_F32) {
    *ld = width;
    return static_cast<const float*>(a.w) + first;
  }
  const int64_t bytes = rows * columns * static_cast<int64_t>(sizeof(float));
  float* const wide = static_cast<float*>(esp::scratch(ctx, worker, bytes));
  if (wide == nullptr) return nullptr;
  const auto bf16 = ESP_KERNEL(ctx, widen_bf16);
  const auto f16 = ESP_KERNEL(ctx, widen_f16);
  const uint16_t* const codes = static_cast<const uint16_t*>(a.w) + first;
  for (int64_t r = 0; r < rows; r++) {
    if (a.dtype == ESP_BF16) {
      bf16(columns, codes + r * width, wide + r * columns);
    } else {
      f16(columns, codes + r * width, wide + r * columns);
    }
  }
  *ld = columns;
  return wide;
}

// The width of the tiles that cut `total` evenly into as few as `most` allows, in whole vectors.
int64_t even(int64_t total, int64_t most) {
  const int64_t width = esp::ceil_div(total, esp::ceil_div(total, most));
  return esp::ceil_div(width, 16) * 16;
}

esp_status inputs_backward(esp_context* ctx, const linear& a) {
  const int64_t tile_rows = even(a.m, most_rows);
  const int64_t tile_columns = even(a.k, most_columns);
  const int64_t row_tiles = esp::ceil_div(a.m, tile_rows);
  return esp::parallel_tiles(
      ctx, row_tiles * esp::ceil_div(a.k, tile_columns),
      [&](int64_t tile, int32_t worker) -> esp_status {
        const int64_t column = tile / row_tiles * tile_columns;
        const int64_t row = tile % row_tiles * tile_rows;
        const int64_t columns = esp::min_of(tile_columns, a.k - column);
        const int64_t rows = esp::min_of(tile_rows, a.m - row);
        for (int64_t out = 0; out < a.n; out += piece_outputs) {
          const int64_t outs = esp::min_of(piece_outputs, a.n - out);
          int64_t ld = 0;
          const float* const w = a.in_out
                                     ? piece(ctx, a, a.n, column, columns, out, outs, worker, &ld)
                                     : piece(ctx, a, a.k, out, outs, column, columns, worker, &ld);
          if (w == nullptr)
            return esp::fail(ESP_OUT_OF_MEMORY, "linear_backward: no scratch for a tile");
          esp::gemm_f32(false, a.in_out, rows, columns, outs, 1.0f, a.dy + row * a.n + out, a.n, w,
                        ld, 1.0f, a.dx + row * a.k + column, a.k);
        }
        return ESP_OK;
      });
}

esp_status weights_backward(esp_context* ctx, const linear& a) {
  // dw is the product of left^T and right over the tokens.
  const float* const left = a.in_out ? a.x : a.dy;
  const float* const right = a.in_out ? a.dy : a.x;
  const int64_t height = a.in_out ? a.k : a.n;
  const int64_t width = a.in_out ? a.n : a.k;
  const int64_t tile_rows = even(height, most_weight_rows);
  const int64_t tile_columns = even(width, most_weight_columns);
  const int64_t row_tiles = esp::ceil_div(height, tile_rows);
  return esp::parallel_tiles(ctx, row_tiles * esp::ceil_div(width, tile_columns),
                             [&](int64_t tile, int32_t) -> esp_status {
                               const int64_t column = tile / row_tiles * tile_columns;
                               const int64_t row = tile % row_tiles * tile_rows;
                               esp::gemm_f32(true, false, esp::min_of(tile_rows, height - row),
                                             esp::min_of(tile_columns, width - column), a.m, 1.0f,
                                             left + row, height, right + column, width, 1.0f,
                                             a.dw + row * width + column, width);
                               return ESP_OK;
                             });
}

esp_status bias_backward(esp_context* ctx, const linear& a) {
  const auto kernel = ESP_KERNEL(ctx, column_sums);
  return esp::parallel_tiles(
      ctx, esp::ceil_div(a.n, bias_columns), [&](int64_t tile, int32_t) -> esp_status {
        const int64_t begin = tile * bias_columns;
        kernel(a.m, a.n, begin, esp::min_of(a.n, begin + bias_columns), a.dy, a.dbias);
        return ESP_OK;
      });
}

}  // namespace

extern "C" esp_status esp_linear_backward(esp_context* ctx, int64_t m, int64_t n, int64_t k,
                                          int32_t in_out, const float* x, esp_dtype wdtype,
                                          const void* w, const float* dy, float* dx, float* dw,
                                          float* dbias) noexcept {
  const char* const op = "linear_backward";
  constexpr int64_t most = INT32_MAX;  // BLAS counts in int
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, m >= 0 && m <= most, "0 <= m < 2^31", m);
  ESP_REQUIRE(op, n >= 0 && n <= most, "0 <= n < 2^31", n);
  ESP_REQUIRE(op, k >= 0 && k <= most, "0 <= k < 2^31", k);
  if (wdtype != ESP_F32 && wdtype != ESP_F16 && wdtype != ESP_BF16)
    return esp::fail(ESP_UNSUPPORTED, "%s: wdtype=%d, expected F32, F16 or BF16", op, wdtype);
  if (m == 0 || n == 0) return ESP_OK;
  ESP_REQUIRE(op, dy != nullptr, "not NULL", dy != nullptr);
  ESP_REQUIRE(op, k == 0 || dx == nullptr || w != nullptr, "w not NULL for dx", w != nullptr);
  ESP_REQUIRE(op, k == 0 || dw == nullptr || x != nullptr, "x not NULL for dw", x != nullptr);
  const linear a{m, n, k, in_out != 0, x, wdtype, w, dy, dx, dw, dbias};
  esp_status status = ESP_OK;
  if (dx != nullptr && k > 0) status = inputs_backward(ctx, a);
  if (status == ESP_OK && dw != nullptr && k > 0) status = weights_backward(ctx, a);
  if (status == ESP_OK && dbias != nullptr) status = bias_backward(ctx, a);
  return status;
}
