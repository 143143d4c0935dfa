// SPDX-License-Identifier: Apache-2.0
//
// Dense products. A few rows (decoding) stream the weights once through our own kernels; more rows
// are tiles of BLAS products, whose 16-bit weights are widened tile by tile into worker scratch.
// Tile borders depend on the sizes alone.
#include <string.h>

#include "internal.h"
#include "operations.h"

using namespace esp;

namespace {

// Few rows: 32 outputs of k = 4096 bf16 weights are 256 KiB, a quarter of an L2.
constexpr int64_t few_columns = 32;
// In [k, n] order a tile must be wide enough for whole cache lines and register blocks.
constexpr int64_t few_columns_in_out = 128;
// Many rows: fixed tiles. A widened tile of k = 4096 is 2 MiB; it is used for up to 512 rows.
constexpr int64_t many_columns = 128;
constexpr int64_t many_rows = 512;

struct product {
  const char* op;
  bool in_out;
  int64_t n;
  esp_dtype dtype;
  esp::dense_operands a;
};

esp_status check(const product& p) {
  ESP_REQUIRE(p.op, p.a.m >= 0, "m >= 0", p.a.m);
  ESP_REQUIRE(p.op, p.n >= 0, "n >= 0", p.n);
  ESP_REQUIRE(p.op, p.a.k >= 0, "k >= 0", p.a.k);
  if (p.dtype != ESP_F32 && p.dtype != ESP_F16 && p.dtype != ESP_BF16)
    return esp::fail(ESP_UNSUPPORTED, "%s: wdtype=%d, expected F32, F16 or BF16", p.op, p.dtype);
  constexpr int64_t most = INT32_MAX;  // BLAS counts in int
  ESP_REQUIRE(p.op, p.a.m <= most, "m < 2^31", p.a.m);
  ESP_REQUIRE(p.op, p.n <= most, "n < 2^31", p.n);
  ESP_REQUIRE(p.op, p.a.k <= most, "k < 2^31", p.a.k);
  ESP_REQUIRE(p.op, p.a.ldx >= p.a.k && p.a.ldx <= most, "k <= ldx < 2^31", p.a.ldx);
  ESP_REQUIRE(p.op, p.a.ldy >= p.n && p.a.ldy <= most, "n <= ldy < 2^31", p.a.ldy);
  ESP_REQUIRE(p.op, p.a.ldw >= (p.in_out ? p.n : p.a.k) && p.a.ldw <= most,
              "ldw >= the length of a row of w, < 2^31", p.a.ldw);
  if (p.a.m == 0 || p.n == 0) return ESP_OK;
  ESP_REQUIRE(p.op, p.a.x != nullptr || p.a.k == 0, "x not NULL", p.a.x != nullptr);
  ESP_REQUIRE(p.op, p.a.w != nullptr || p.a.k == 0, "w not NULL", p.a.w != nullptr);
  ESP_REQUIRE(p.op, p.a.y != nullptr, "y not NULL", p.a.y != nullptr);
  return ESP_OK;
}

esp::dense_kernel* few_rows_kernel(const esp_context* ctx, const product& p) {
  if (p.in_out) {
    if (p.dtype == ESP_F32) return ESP_KERNEL(ctx, dense_in_out_f32);
    if (p.dtype == ESP_BF16) return ESP_KERNEL(ctx, dense_in_out_bf16);
    return ESP_KERNEL(ctx, dense_in_out_f16);
  }
  if (p.dtype == ESP_F32) return ESP_KERNEL(ctx, dense_f32);
  if (p.dtype == ESP_BF16) return ESP_KERNEL(ctx, dense_bf16);
  return ESP_KERNEL(ctx, dense_f16);
}

esp_status few_rows(esp_context* ctx, const product& p) {
  const auto kernel = few_rows_kernel(ctx, p);
  const int64_t width = p.in_out ? few_columns_in_out : few_columns;
  return esp::parallel_tiles(ctx, esp::ceil_div(p.n, width),
                             [&](int64_t tile, int32_t) -> esp_status {
                               kernel(p.a, tile * width, esp::min_of(p.n, (tile + 1) * width));
                               return ESP_OK;
                             });
}

// The weights of one tile in fp32: in place, or widened into scratch. *ld = their leading
// dimension. Null when there is no memory.
const float* tile_weights(esp_context* ctx, const product& p, int64_t column, int64_t columns,
                          int32_t worker, int64_t* ld) {
  const int64_t first = p.in_out ? column : column * p.a.ldw;
  if (p.dtype == ESP_F32) {
    *ld = p.a.ldw;
    return static_cast<const float*>(p.a.w) + first;
  }
  const int64_t rows = p.in_out ? p.a.k : columns;
  const int64_t width = p.in_out ? columns : p.a.k;
  float* const wide = static_cast<float*>(esp::scratch(
      ctx, worker, esp::max_of(1, rows * width) * static_cast<int64_t>(sizeof(float))));
  if (wide == nullptr) return nullptr;
  const auto widen = p.dtype == ESP_BF16 ? ESP_KERNEL(ctx, widen_bf16) : ESP_KERNEL(ctx, widen_f16);
  const uint16_t* const w = static_cast<const uint16_t*>(p.a.w) + first;
  for (int64_t r = 0; r < rows; r++) widen(width, w + r * p.a.ldw, wide + r * width);
  *ld = width;
  return wide;
}

esp_status many_rows_product(esp_context* ctx, const product& p) {
  const int64_t row_tiles = esp::ceil_div(p.a.m, many_rows);
  return esp::parallel_tiles(
      ctx, row_tiles * esp::ceil_div(p.n, many_columns),
      [&](int64_t tile, int32_t worker) -> esp_status {
        const int64_t column = tile / row_tiles * many_columns;
        const int64_t row = tile % row_tiles * many_rows;
        const int64_t columns = esp::min_of(many_columns, p.n - column);
        const int64_t rows = esp::min_of(many_rows, p.a.m - row);
        float* const y = p.a.y + row * p.a.ldy + column;
        for (int64_t i = 0; i < rows; i++) {
          const size_t bytes = static_cast<size_t>(columns) * sizeof(float);
          if (p.a.bias != nullptr) {
            memcpy(y + i * p.a.ldy, p.a.bias + column, bytes);
          } else if (p.a.k == 0) {
            memset(y + i * p.a.ldy, 0, bytes);
          }
        }
        if (p.a.k == 0) return ESP_OK;
        int64_t ld = 0;
        const float* const w = tile_weights(ctx, p, column, columns, worker, &ld);
        if (w == nullptr)
          return esp::fail(ESP_OUT_OF_MEMORY, "%s: no scratch for a tile of %lld x %lld weights",
                           p.op, static_cast<long long>(columns), static_cast<long long>(p.a.k));
        esp::gemm_f32(false, !p.in_out, rows, columns, p.a.k, 1.0f, p.a.x + row * p.a.ldx, p.a.ldx,
                      w, ld, p.a.bias != nullptr ? 1.0f : 0.0f, y, p.a.ldy);
        return ESP_OK;
      });
}

esp_status run(esp_context* ctx, const product& p) {
  ESP_REQUIRE(p.op, ctx != nullptr, "a context", ctx != nullptr);
  const esp_status status = check(p);
  if (status != ESP_OK || p.a.m == 0 || p.n == 0) return status;
  return p.a.m <= esp::dense_rows_most ? few_rows(ctx, p) : many_rows_product(ctx, p);
}

}  // namespace

extern "C" {

esp_status esp_matmul_dense(esp_context* ctx, int64_t m, int64_t n, int64_t k, const float* x,
                            int64_t ldx, esp_dtype wdtype, const void* w, int64_t ldw,
                            const float* bias, float* y, int64_t ldy) noexcept {
  return run(ctx, {"matmul_dense", false, n, wdtype, {m, k, x, ldx, w, ldw, bias, y, ldy}});
}

esp_status esp_matmul_dense_in_out(esp_context* ctx, int64_t m, int64_t n, int64_t k,
                                   const float* x, int64_t ldx, esp_dtype wdtype, const void* w,
                                   int64_t ldw, const float* bias, float* y, int64_t ldy) noexcept {
  return run(ctx, {"matmul_dense_in_out", true, n, wdtype, {m, k, x, ldx, w, ldw, bias, y, ldy}});
}

}  // extern "C"
