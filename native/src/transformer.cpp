// SPDX-License-Identifier: Apache-2.0
//
// Norms, rotation, attention and elementwise functions: argument checks and tiles.
#include "internal.h"
#include "operations.h"

using namespace esp;

namespace {

constexpr int64_t tile_elements = 1 << 14;  // three fp32 streams of 64 KiB fit a 256 KiB L2
constexpr int64_t tile_rows = 16;

// Runs f(begin, end) over n in tiles of `width`.
template <class F>
esp_status ranges(esp_context* ctx, int64_t n, int64_t width, F f) {
  return esp::parallel_tiles(ctx, esp::ceil_div(n, width),
                             [&](int64_t tile, int32_t) -> esp_status {
                               f(tile * width, esp::min_of(n, (tile + 1) * width));
                               return ESP_OK;
                             });
}

esp_status check_rows(const char* op, const esp_context* ctx, int64_t rows, int64_t cols,
                      const float* x, int64_t ldx, const float* weight, const float* y,
                      int64_t ldy) {
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, rows >= 0, "rows >= 0", rows);
  ESP_REQUIRE(op, cols >= 0, "cols >= 0", cols);
  ESP_REQUIRE(op, ldx >= cols, "ldx >= cols", ldx);
  ESP_REQUIRE(op, ldy >= cols, "ldy >= cols", ldy);
  if (rows == 0 || cols == 0) return ESP_OK;
  ESP_REQUIRE(op, x != nullptr, "not NULL", x != nullptr);
  ESP_REQUIRE(op, weight != nullptr, "not NULL", weight != nullptr);
  ESP_REQUIRE(op, y != nullptr, "not NULL", y != nullptr);
  return ESP_OK;
}

esp_status check_elements(const char* op, const esp_context* ctx, int64_t n, const float* a,
                          const float* b, const float* y) {
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, n >= 0, "n >= 0", n);
  if (n == 0) return ESP_OK;
  ESP_REQUIRE(op, a != nullptr && b != nullptr, "inputs not NULL", a != nullptr && b != nullptr);
  ESP_REQUIRE(op, y != nullptr, "not NULL", y != nullptr);
  return ESP_OK;
}

}  // namespace

extern "C" {

esp_status esp_rms_norm(esp_context* ctx, int64_t rows, int64_t cols, const float* x, int64_t ldx,
                        const float* weight, float eps, float* y, int64_t ldy) noexcept {
  const esp_status status = check_rows("rms_norm", ctx, rows, cols, x, ldx, weight, y, ldy);
  if (status != ESP_OK || rows == 0 || cols == 0) return status;
  const auto kernel = ESP_KERNEL(ctx, rms_norm);
  return ranges(ctx, rows, tile_rows, [=](int64_t begin, int64_t end) {
    kernel(end - begin, cols, x + begin * ldx, ldx, weight, eps, y + begin * ldy, ldy);
  });
}

esp_status esp_layer_norm(esp_context* ctx, int64_t rows, int64_t cols, const float* x, int64_t ldx,
                          const float* weight, const float* bias, float eps, float* y,
                          int64_t ldy) noexcept {
  const esp_status status = check_rows("layer_norm", ctx, rows, cols, x, ldx, weight, y, ldy);
  if (status != ESP_OK || rows == 0 || cols == 0) return status;
  const auto kernel = ESP_KERNEL(ctx, layer_norm);
  return ranges(ctx, rows, tile_rows, [=](int64_t begin, int64_t end) {
    kernel(end - begin, cols, x + begin * ldx, ldx, weight, bias, eps, y + begin * ldy, ldy);
  });
}

esp_status esp_rope(esp_context* ctx, int64_t tokens, int64_t heads, int64_t head_dim,
                    int64_t rotary, int64_t start, int64_t positions, const float* cosines,
                    const float* sines, float* x, int64_t ldx) noexcept {
  const char* const op = "rope";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, tokens >= 0, "tokens >= 0", tokens);
  ESP_REQUIRE(op, heads >= 0, "heads >= 0", heads);
  ESP_REQUIRE(op, head_dim >= 0, "head_dim >= 0", head_dim);
  ESP_REQUIRE(op, rotary >= 0 && rotary % 2 == 0 && rotary <= head_dim,
              "an even number from 0 to head_dim", rotary);
  ESP_REQUIRE(op, start >= 0, "start >= 0", start);
  ESP_REQUIRE(op, positions >= 0 && tokens <= positions && start <= positions - tokens,
              "start + tokens <= positions", positions);
  ESP_REQUIRE(op, ldx >= heads * head_dim, "ldx >= heads * head_dim", ldx);
  if (tokens == 0 || heads == 0 || rotary == 0) return ESP_OK;
  ESP_REQUIRE(op, cosines != nullptr && sines != nullptr, "tables not NULL",
              cosines != nullptr && sines != nullptr);
  ESP_REQUIRE(op, x != nullptr, "not NULL", x != nullptr);
  const auto kernel = ESP_KERNEL(ctx, rope);
  const int64_t half = rotary / 2;
  return ranges(ctx, tokens, tile_rows, [=](int64_t begin, int64_t end) {
    kernel(end - begin, heads, head_dim, rotary, cosines + (start + begin) * half,
           sines + (start + begin) * half, x + begin * ldx, ldx);
  });
}

esp_status esp_attention(esp_context* ctx, int64_t tokens, int64_t keys, int64_t heads,
                         int64_t kv_heads, int64_t head_dim, int64_t start, int64_t window,
                         float scale, const float* q, int64_t ldq, const float* k, int64_t ldk,
                         const float* v, int64_t ldv, float* y, int64_t ldy) noexcept {
  const char* const op = "attention";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, tokens >= 0, "tokens >= 0", tokens);
  ESP_REQUIRE(op, heads >= 0, "heads >= 0", heads);
  ESP_REQUIRE(op, head_dim >= 0, "head_dim >= 0", head_dim);
  ESP_REQUIRE(op, heads == 0 || (kv_heads > 0 && heads % kv_heads == 0), "a divisor of heads",
              kv_heads);
  ESP_REQUIRE(op, start >= 0, "start >= 0", start);
  ESP_REQUIRE(op, window >= 0, "window >= 0", window);
  ESP_REQUIRE(op, keys >= tokens && start <= keys - tokens, "keys >= start + tokens", keys);
  ESP_REQUIRE(op, ldq >= heads * head_dim, "ldq >= heads * head_dim", ldq);
  ESP_REQUIRE(op, ldy >= heads * head_dim, "ldy >= heads * head_dim", ldy);
  ESP_REQUIRE(op, heads == 0 || ldk >= kv_heads * head_dim, "ldk >= kv_heads * head_dim", ldk);
  ESP_REQUIRE(op, heads == 0 || ldv >= kv_heads * head_dim, "ldv >= kv_heads * head_dim", ldv);
  if (tokens == 0 || heads == 0 || head_dim == 0) return ESP_OK;
  ESP_REQUIRE(op, q != nullptr && k != nullptr && v != nullptr, "inputs not NULL",
              q != nullptr && k != nullptr && v != nullptr);
  ESP_REQUIRE(op, y != nullptr, "not NULL", y != nullptr);
  const auto kernel = ESP_KERNEL(ctx, attention);
  // A tile: some queries of up to 8 heads that share a key head, 48 rows in all, so that a block of
  // keys is read (and transposed) once for all of them.
  const int64_t group = heads / kv_heads;
  const int64_t tile_heads = esp::min_of(group, 8);
  const int64_t tile_queries = esp::attention_tile_rows / tile_heads;
  const int64_t head_tiles = esp::ceil_div(group, tile_heads);
  const int64_t query_tiles = esp::ceil_div(tokens, tile_queries);
  const int64_t scratch_bytes =
      esp::attention_scratch(head_dim) * static_cast<int64_t>(sizeof(float));
  return esp::parallel_tiles(
      ctx, kv_heads * head_tiles * query_tiles, [=](int64_t tile, int32_t worker) -> esp_status {
        // The last queries see the most keys: the longest tiles go first.
        const int64_t first = (query_tiles - 1 - tile / (kv_heads * head_tiles)) * tile_queries;
        const int64_t kv_head = tile % (kv_heads * head_tiles) / head_tiles;
        const int64_t in_group = tile % head_tiles * tile_heads;
        const int64_t head = kv_head * group + in_group;
        float* const scratch = static_cast<float*>(esp::scratch(ctx, worker, scratch_bytes));
        if (scratch == nullptr)
          return esp::fail(ESP_OUT_OF_MEMORY, "attention: no scratch of %lld bytes",
                           static_cast<long long>(scratch_bytes));
        esp::attention_tile a;
        a.queries = esp::min_of(tile_queries, tokens - first);
        a.heads = esp::min_of(tile_heads, group - in_group);
        a.head_dim = head_dim;
        a.keys = keys;
        a.position = start + first;
        a.window = window;
        a.scale = scale;
        a.q = q + first * ldq + head * head_dim;
        a.ldq = ldq;
        a.k = k + kv_head * head_dim;
        a.ldk = ldk;
        a.v = v + kv_head * head_dim;
        a.ldv = ldv;
        a.y = y + first * ldy + head * head_dim;
        a.ldy = ldy;
        a.scratch = scratch;
        kernel(a);
        return ESP_OK;
      });
}

esp_status esp_silu_mul(esp_context* ctx, int64_t n, const float* gate, const float* up,
                        float* y) noexcept {
  const esp_status status = check_elements("silu_mul", ctx, n, gate, up, y);
  if (status != ESP_OK || n == 0) return status;
  const auto kernel = ESP_KERNEL(ctx, silu_mul);
  return ranges(ctx, n, tile_elements, [=](int64_t begin, int64_t end) {
    kernel(end - begin, gate + begin, up + begin, y + begin);
  });
}

esp_status esp_activation(esp_context* ctx, int64_t n, int32_t kind, const float* x,
                          float* y) noexcept {
  const esp_status status = check_elements("activation", ctx, n, x, x, y);
  if (status != ESP_OK) return status;
  ESP_REQUIRE("activation", kind >= 0 && kind <= 3, "0 (silu), 1, 2 (gelu) or 3 (relu)", kind);
  if (n == 0) return ESP_OK;
  const auto kernel = ESP_KERNEL(ctx, activation);
  return ranges(ctx, n, tile_elements, [=](int64_t begin, int64_t end) {
    kernel(end - begin, kind, x + begin, y + begin);
  });
}

esp_status esp_add(esp_context* ctx, int64_t n, const float* a, const float* b, float* y) noexcept {
  const esp_status status = check_elements("add", ctx, n, a, b, y);
  if (status != ESP_OK || n == 0) return status;
  const auto kernel = ESP_KERNEL(ctx, add);
  return ranges(ctx, n, tile_elements, [=](int64_t begin, int64_t end) {
    kernel(end - begin, a + begin, b + begin, y + begin);
  });
}

esp_status esp_multiply(esp_context* ctx, int64_t n, const float* a, const float* b,
                        float* y) noexcept {
  const esp_status status = check_elements("multiply", ctx, n, a, b, y);
  if (status != ESP_OK || n == 0) return status;
  const auto kernel = ESP_KERNEL(ctx, multiply);
  return ranges(ctx, n, tile_elements, [=](int64_t begin, int64_t end) {
    kernel(end - begin, a + begin, b + begin, y + begin);
  });
}

}  // extern "C"
