// SPDX-License-Identifier: Apache-2.0
//
// Gradients of elementwise functions, norms and embeddings: argument checks and tiles. What sums
// over tokens is cut by columns, so that each sum has one owner and one order.
#include <string.h>

#include "internal.h"
#include "operations.h"

using namespace esp;

namespace {

constexpr int64_t tile_elements = 1 << 14;  // as the functions themselves
constexpr int64_t tile_rows = 16;
constexpr int64_t tile_columns = 64;  // four cache lines of every row

// Runs f(begin, end) over n in tiles of `width`.
template <class F>
esp_status ranges(esp_context* ctx, int64_t n, int64_t width, F f) {
  return esp::parallel_tiles(ctx, esp::ceil_div(n, width),
                             [&](int64_t tile, int32_t) -> esp_status {
                               f(tile * width, esp::min_of(n, (tile + 1) * width));
                               return ESP_OK;
                             });
}

esp_status check_elements(const char* op, const esp_context* ctx, int64_t n, bool given) {
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, n >= 0, "n >= 0", n);
  ESP_REQUIRE(op, n == 0 || given, "no NULL operand", given);
  return ESP_OK;
}

}  // namespace

extern "C" {

esp_status esp_zero(esp_context* ctx, int64_t n, float* y) noexcept {
  const esp_status status = check_elements("zero", ctx, n, y != nullptr);
  if (status != ESP_OK || n == 0) return status;
  return ranges(ctx, n, tile_elements, [=](int64_t begin, int64_t end) {
    memset(y + begin, 0, static_cast<size_t>(end - begin) * sizeof(float));
  });
}

esp_status esp_accumulate(esp_context* ctx, int64_t rows, int64_t cols, const float* x, int64_t ldx,
                          float* y, int64_t ldy) noexcept {
  const char* const op = "accumulate";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, rows >= 0, "rows >= 0", rows);
  ESP_REQUIRE(op, cols >= 0, "cols >= 0", cols);
  ESP_REQUIRE(op, ldx >= cols, "ldx >= cols", ldx);
  ESP_REQUIRE(op, ldy >= cols, "ldy >= cols", ldy);
  if (rows == 0 || cols == 0) return ESP_OK;
  ESP_REQUIRE(op, x != nullptr, "not NULL", x != nullptr);
  ESP_REQUIRE(op, y != nullptr, "not NULL", y != nullptr);
  const auto kernel = ESP_KERNEL(ctx, add);
  if (ldx == cols && ldy == cols) {
    return ranges(ctx, rows * cols, tile_elements, [=](int64_t begin, int64_t end) {
      kernel(end - begin, y + begin, x + begin, y + begin);
    });
  }
  return ranges(ctx, rows, tile_rows, [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) kernel(cols, y + r * ldy, x + r * ldx, y + r * ldy);
  });
}

esp_status esp_multiply_add(esp_context* ctx, int64_t n, const float* a, const float* b,
                            float* y) noexcept {
  const bool given = a != nullptr && b != nullptr && y != nullptr;
  const esp_status status = check_elements("multiply_add", ctx, n, given);
  if (status != ESP_OK || n == 0) return status;
  const auto kernel = ESP_KERNEL(ctx, multiply_add);
  return ranges(ctx, n, tile_elements, [=](int64_t begin, int64_t end) {
    kernel(end - begin, a + begin, b + begin, y + begin);
  });
}

esp_status esp_silu_mul_backward(esp_context* ctx, int64_t n, const float* gate, const float* up,
                                 const float* dy, float* dgate, float* dup) noexcept {
  const bool given =
      gate != nullptr && up != nullptr && dy != nullptr && dgate != nullptr && dup != nullptr;
  const esp_status status = check_elements("silu_mul_backward", ctx, n, given);
  if (status != ESP_OK || n == 0) return status;
  const auto kernel = ESP_KERNEL(ctx, silu_mul_backward);
  return ranges(ctx, n, tile_elements, [=](int64_t begin, int64_t end) {
    kernel(end - begin, gate + begin, up + begin, dy + begin, dgate + begin, dup + begin);
  });
}

esp_status esp_activation_backward(esp_context* ctx, int64_t n, int32_t kind, const float* x,
                                   const float* dy, float* dx) noexcept {
  const char* const op = "activation_backward";
  const bool given = x != nullptr && dy != nullptr && dx != nullptr;
  const esp_status status = check_elements(op, ctx, n, given);
  if (status != ESP_OK) return status;
  ESP_REQUIRE(op, kind >= 0 && kind <= 3, "0 (silu), 1, 2 (gelu) or 3 (relu)", kind);
  if (n == 0) return ESP_OK;
  const auto kernel = ESP_KERNEL(ctx, activation_backward);
  return ranges(ctx, n, tile_elements, [=](int64_t begin, int64_t end) {
    kernel(end - begin, kind, x + begin, dy + begin, dx + begin);
  });
}

esp_status esp_norm_backward(esp_context* ctx, int64_t rows, int64_t cols, int32_t centred,
                             const float* x, const float* weight, float eps, const float* dy,
                             double* statistics, float* dx, float* dweight, float* dbias) noexcept {
  const char* const op = "norm_backward";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, rows >= 0, "rows >= 0", rows);
  ESP_REQUIRE(op, cols >= 0, "cols >= 0", cols);
  if (rows == 0 || cols == 0) return ESP_OK;
  const bool given = x != nullptr && weight != nullptr && dy != nullptr && statistics != nullptr;
  ESP_REQUIRE(op, given, "x, weight, dy and statistics not NULL", given);
  const auto over_rows = ESP_KERNEL(ctx, norm_backward);
  const esp_status status = ranges(ctx, rows, tile_rows, [=](int64_t begin, int64_t end) {
    over_rows(end - begin, cols, centred != 0, x + begin * cols, weight, eps, dy + begin * cols,
              statistics + 2 * begin, dx == nullptr ? nullptr : dx + begin * cols);
  });
  if (status != ESP_OK || (dweight == nullptr && dbias == nullptr)) return status;
  const auto over_columns = ESP_KERNEL(ctx, norm_parameters_backward);
  return ranges(ctx, cols, tile_columns, [=](int64_t begin, int64_t end) {
    over_columns(rows, cols, begin, end, x, statistics, dy, dweight, dbias);
  });
}

esp_status esp_embedding_backward(esp_context* ctx, int64_t tokens, int64_t vocabulary,
                                  int64_t width, const int32_t* ids, const float* dy,
                                  float* dtable) noexcept {
  const char* const op = "embedding_backward";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, tokens >= 0, "tokens >= 0", tokens);
  ESP_REQUIRE(op, vocabulary >= 0, "vocabulary >= 0", vocabulary);
  ESP_REQUIRE(op, width >= 0, "width >= 0", width);
  if (tokens == 0) return ESP_OK;
  ESP_REQUIRE(op, ids != nullptr, "not NULL", ids != nullptr);
  for (int64_t t = 0; t < tokens; t++)
    ESP_REQUIRE(op, ids[t] >= 0 && ids[t] < vocabulary, "0 <= id < vocabulary", ids[t]);
  if (width == 0) return ESP_OK;
  ESP_REQUIRE(op, dy != nullptr, "not NULL", dy != nullptr);
  ESP_REQUIRE(op, dtable != nullptr, "not NULL", dtable != nullptr);
  const auto kernel = ESP_KERNEL(ctx, add);
  return ranges(ctx, width, tile_columns, [=](int64_t begin, int64_t end) {
    for (int64_t t = 0; t < tokens; t++) {
      float* const row = dtable + ids[t] * width + begin;
      kernel(end - begin, row, dy + t * width + begin, row);
    }
  });
}

}  // extern "C"
