// SPDX-License-Identifier: Apache-2.0
//
// Products of int8 activations with packed weights, and the activations themselves.
#include "internal.h"
#include "layout/bit_stream.h"
#include "operations.h"

namespace esp {
namespace {

constexpr int64_t few_rows = 4;        // of x: a product bound by the bytes of W
constexpr int64_t few_rows_tile = 64;  // rows of W a task then
// Rows of W a task else, against int8_rows of x, which each task rearranges for itself.
constexpr int64_t tile_rows = 128;

esp_status check(const char* op, int32_t bits, const int8_product& p) {
  ESP_REQUIRE(op, p.x != nullptr, "an address", p.x != nullptr);
  ESP_REQUIRE(op, p.ldx >= p.k, "ldx >= k", p.ldx);
  ESP_REQUIRE(op, p.x_scales != nullptr, "an address", p.x_scales != nullptr);
  ESP_REQUIRE(op, p.group > 0 && p.k % p.group == 0, "a divisor of k", p.group);
  ESP_REQUIRE(op, p.codes != nullptr, "an address", p.codes != nullptr);
  ESP_REQUIRE(op, p.ldcodes >= stream_words(p.k, bits), "ldcodes >= ceil(k * bits / 32)",
              p.ldcodes);
  ESP_REQUIRE(op, p.scales != nullptr, "an address", p.scales != nullptr);
  return ESP_OK;
}

// The part of p with `rows` rows of W from `row` on and `count` rows of x from `first` on.
int8_product part(int8_product p, int64_t row, int64_t rows, int64_t first, int64_t count) {
  const int64_t groups = p.k / p.group;
  p.m = count;
  p.n = rows;
  p.x += first * p.ldx;
  p.x_scales += first;
  p.x_sums += first * groups;
  p.codes += row * p.ldcodes;
  p.scales += row * groups;
  if (p.zeros != nullptr) p.zeros += row * groups;
  if (p.bias != nullptr) p.bias += row;
  p.y += first * p.ldy + row;
  return p;
}

// sums[i, g] of |x| <= 128: within 128 * 65536 = 2^23.
void sum_groups(const int8_product& p, int32_t* sums) {
  for (int64_t i = 0; i < p.m; i++) {
    for (int64_t start = 0; start < p.k; start += p.group) {
      int32_t sum = 0;
      for (int64_t c = start; c < start + p.group; c++) sum += p.x[i * p.ldx + c];
      *sums++ = sum;
    }
  }
}

esp_status multiply(esp_context* ctx, const char* op, int32_t bits, int8_product p,
                    matmul_w8a8_kernel* kernel) {
  ESP_REQUIRE(op, p.m >= 0, "m >= 0", p.m);
  ESP_REQUIRE(op, p.n >= 0, "n >= 0", p.n);
  ESP_REQUIRE(op, p.k >= 0 && p.k <= int8_max_columns, "0 <= k <= 65536", p.k);
  if (p.m == 0 || p.n == 0) return ESP_OK;
  ESP_REQUIRE(op, p.y != nullptr, "an address", p.y != nullptr);
  ESP_REQUIRE(op, p.ldy >= p.n, "ldy >= n", p.ldy);
  if (p.k == 0) {
    for (int64_t i = 0; i < p.m; i++) {
      for (int64_t j = 0; j < p.n; j++) p.y[i * p.ldy + j] = p.bias == nullptr ? 0.0f : p.bias[j];
    }
    return ESP_OK;
  }
  const esp_status status = check(op, bits, p);
  if (status != ESP_OK) return status;

  // The sums lie behind the scratch of worker 0, which runs tiles too.
  const int64_t sum_bytes = p.m * (p.k / p.group) * static_cast<int64_t>(sizeof(int32_t));
  char* shared = static_cast<char*>(scratch(ctx, 0, int8_scratch_bytes + sum_bytes));
  if (shared == nullptr) return fail(ESP_OUT_OF_MEMORY, "%s: no memory for group sums", op);
  int32_t* sums = reinterpret_cast<int32_t*>(shared + int8_scratch_bytes);
  sum_groups(p, sums);
  p.x_sums = sums;

  const int64_t height = p.m <= few_rows ? few_rows_tile : tile_rows;
  const int64_t columns = ceil_div(p.n, height);
  const int64_t tiles = columns * ceil_div(p.m, int8_rows);
  return parallel_tiles(ctx, tiles, [&](int64_t tile, int32_t worker) -> esp_status {
    const int64_t row = tile % columns * height;
    const int64_t first = tile / columns * int8_rows;
    int8_product mine =
        part(p, row, min_of(height, p.n - row), first, min_of(int8_rows, p.m - first));
    mine.scratch = worker == 0 ? shared : scratch(ctx, worker, int8_scratch_bytes);
    if (mine.scratch == nullptr) return fail(ESP_OUT_OF_MEMORY, "%s: no memory for a tile", op);
    kernel(&mine);
    return ESP_OK;
  });
}

}  // namespace
}  // namespace esp

extern "C" {

esp_status esp_quantize_tokens(esp_context* ctx, int64_t rows, int64_t cols, const float* x,
                               int64_t ldx, int8_t* codes, int64_t ldcodes,
                               float* scales) noexcept {
  using namespace esp;
  constexpr const char* op = "quantize_tokens";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, rows >= 0, "rows >= 0", rows);
  ESP_REQUIRE(op, cols >= 0, "cols >= 0", cols);
  if (rows == 0) return ESP_OK;
  ESP_REQUIRE(op, scales != nullptr, "an address", scales != nullptr);
  ESP_REQUIRE(op, cols == 0 || x != nullptr, "an address", x != nullptr);
  ESP_REQUIRE(op, cols == 0 || codes != nullptr, "an address", codes != nullptr);
  ESP_REQUIRE(op, ldx >= cols, "ldx >= cols", ldx);
  ESP_REQUIRE(op, ldcodes >= cols, "ldcodes >= cols", ldcodes);
  quantize_tokens_kernel* const kernel = ESP_KERNEL(ctx, quantize_tokens);
  const auto row = [&](int64_t r) { kernel(cols, x + r * ldx, codes + r * ldcodes, scales + r); };
  constexpr int64_t batch = 8;  // tokens a task: 8 * 4096 columns take about 10 microseconds
  if (rows <= batch) {
    for (int64_t r = 0; r < rows; r++) row(r);
    return ESP_OK;
  }
  return parallel_tiles(ctx, ceil_div(rows, batch), [&](int64_t tile, int32_t) {
    for (int64_t r = tile * batch; r < min_of(rows, (tile + 1) * batch); r++) row(r);
    return static_cast<esp_status>(ESP_OK);
  });
}

esp_status esp_matmul_w8a8(esp_context* ctx, int64_t m, int64_t n, int64_t k, const int8_t* x,
                           int64_t ldx, const float* x_scales, const uint32_t* codes,
                           int64_t ldcodes, const float* scales, const int8_t* zeros, int64_t group,
                           const float* bias, float* y, int64_t ldy) noexcept {
  using namespace esp;
  ESP_REQUIRE("matmul_w8a8", ctx != nullptr, "a context", ctx != nullptr);
  return multiply(ctx, "matmul_w8a8", 8,
                  {m, n, k, x, ldx, x_scales, nullptr, codes, ldcodes, scales, zeros, group, bias,
                   y, ldy, nullptr},
                  ESP_KERNEL(ctx, matmul_w8a8));
}

esp_status esp_matmul_w4a8(esp_context* ctx, int64_t m, int64_t n, int64_t k, const int8_t* x,
                           int64_t ldx, const float* x_scales, const uint32_t* codes,
                           int64_t ldcodes, const float* scales, const int8_t* zeros, int64_t group,
                           const float* bias, float* y, int64_t ldy) noexcept {
  using namespace esp;
  ESP_REQUIRE("matmul_w4a8", ctx != nullptr, "a context", ctx != nullptr);
  return multiply(ctx, "matmul_w4a8", 4,
                  {m, n, k, x, ldx, x_scales, nullptr, codes, ldcodes, scales, zeros, group, bias,
                   y, ldy, nullptr},
                  ESP_KERNEL(ctx, matmul_w4a8));
}

}  // extern "C"
