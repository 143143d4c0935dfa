// SPDX-License-Identifier: Apache-2.0
//
// Norms, rotation, attention and elementwise functions: argument checks and tiles.
#include <math.h>

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

struct attention_call {
  int64_t tokens, heads, kv_heads, head_dim, keys, start, window;
  float scale;
  const float* q;
  int64_t ldq;
  const float* k;
  int64_t ldk;
  const float* v;
  int64_t ldv;
  float* y;
  int64_t ldy;

  int64_t group() const { return heads / kv_heads; }
  // Heads of a tile: some that share a key head, so that its keys are read once for them.
  int64_t tile_heads() const { return esp::min_of(group(), 8); }
  int64_t head_tiles() const { return kv_heads * esp::ceil_div(group(), tile_heads()); }

  // Head tile `at` of queries [first, first + queries).
  esp::attention_tile tile(int64_t first, int64_t queries, int64_t at, float* scratch) const {
    const int64_t tiles = esp::ceil_div(group(), tile_heads());
    const int64_t kv_head = at / tiles;
    const int64_t in_group = at % tiles * tile_heads();
    const int64_t head = kv_head * group() + in_group;
    esp::attention_tile a{};
    a.queries = queries;
    a.heads = esp::min_of(tile_heads(), group() - in_group);
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
    return a;
  }
};

esp_status no_scratch(int64_t bytes) {
  return esp::fail(ESP_OUT_OF_MEMORY, "attention: no scratch of %lld bytes",
                   static_cast<long long>(bytes));
}

// Many queries: a tile is some queries of a head tile, 96 rows in all, over all their keys.
esp_status attend_many(esp_context* ctx, const attention_call& c) {
  const auto kernel = ESP_KERNEL(ctx, attention);
  const int64_t tile_queries = esp::attention_tile_rows / c.tile_heads();
  const int64_t query_tiles = esp::ceil_div(c.tokens, tile_queries);
  const int64_t head_tiles = c.head_tiles();
  const int64_t bytes = esp::attention_scratch(c.head_dim) * static_cast<int64_t>(sizeof(float));
  return esp::parallel_tiles(
      ctx, head_tiles * query_tiles, [=](int64_t tile, int32_t worker) -> esp_status {
        // The last queries see the most keys: the longest tiles go first.
        const int64_t first = (query_tiles - 1 - tile / head_tiles) * tile_queries;
        float* const scratch = static_cast<float*>(esp::scratch(ctx, worker, bytes));
        if (scratch == nullptr) return no_scratch(bytes);
        kernel(
            c.tile(first, esp::min_of(tile_queries, c.tokens - first), tile % head_tiles, scratch));
        return ESP_OK;
      });
}

// One query (decoding), bound by reading the cache: a tile is a run of keys for all heads, so that
// memory is read in the order it lies; block by block, since the rows of one head alone lie a page
// apart. The runs are then joined. Borders depend on the position alone.
esp_status attend_one(esp_context* ctx, const attention_call& c) {
  constexpr int64_t run = 2 * esp::attention_block_keys;
  const auto kernel = ESP_KERNEL(ctx, attention);
  const int64_t end = c.start + 1;
  const int64_t visible = c.window > 0 && end > c.window ? end - c.window : 0;
  const int64_t begin = visible / run * run;
  const int64_t runs = esp::ceil_div(end - begin, run);
  const int64_t width = c.heads * c.head_dim;
  const int64_t own = esp::attention_scratch(c.head_dim);  // of one worker
  const int64_t part = width + 2 * c.heads;                // of one run
  const int32_t workers = esp_context_threads(ctx);
  const int64_t bytes = (own * workers + part * runs) * static_cast<int64_t>(sizeof(float));
  float* const scratch = static_cast<float*>(esp::scratch(ctx, 0, bytes));
  if (scratch == nullptr) return no_scratch(bytes);
  float* const parts = scratch + own * workers;
  const esp_status status =
      esp::parallel_tiles(ctx, runs, [=](int64_t tile, int32_t worker) -> esp_status {
        float* const y = parts + tile * part;  // [heads, head_dim]
        float* const running = y + width;      // [heads, 2]
        for (int64_t i = 0; i < width; i++) y[i] = 0.0f;
        for (int64_t h = 0; h < c.heads; h++) {
          running[2 * h] = -__builtin_inff();
          running[2 * h + 1] = 0.0f;
        }
        for (int64_t key = begin + tile * run; key < esp::min_of(end, begin + (tile + 1) * run);
             key += esp::attention_block_keys) {
          for (int64_t at = 0; at < c.head_tiles(); at++) {
            esp::attention_tile a = c.tile(0, 1, at, scratch + own * worker);
            const int64_t head = (a.q - c.q) / c.head_dim;
            a.y = y + head * c.head_dim;
            a.running = running + 2 * head;
            a.key_begin = key;
            a.key_end = key + esp::attention_block_keys;
            if (at + 1 < c.head_tiles()) {
              const esp::attention_tile after = c.tile(0, 1, at + 1, nullptr);
              a.next_k = after.k + key * c.ldk;
              a.next_v = after.v + key * c.ldv;
            } else if (key + 2 * esp::attention_block_keys <= end) {
              a.next_k = c.k + (key + esp::attention_block_keys) * c.ldk;
              a.next_v = c.v + (key + esp::attention_block_keys) * c.ldv;
            }
            kernel(a);
          }
        }
        return ESP_OK;
      });
  if (status != ESP_OK) return status;
  for (int64_t h = 0; h < c.heads; h++) {
    const auto running = [=](int64_t r) { return parts + r * part + width + 2 * h; };
    float largest = -__builtin_inff();
    for (int64_t r = 0; r < runs; r++) largest = running(r)[0] > largest ? running(r)[0] : largest;
    float* const y = c.y + h * c.head_dim;
    float sum = 0.0f;
    for (int64_t d = 0; d < c.head_dim; d++) y[d] = 0.0f;
    for (int64_t r = 0; r < runs; r++) {
      if (running(r)[1] == 0.0f) continue;  // nothing of this run is visible
      const float factor = expf(running(r)[0] - largest);
      const float* const mixed = parts + r * part + h * c.head_dim;
      sum += factor * running(r)[1];
      for (int64_t d = 0; d < c.head_dim; d++) y[d] += factor * mixed[d];
    }
    for (int64_t d = 0; d < c.head_dim; d++) y[d] /= sum;
  }
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
  const attention_call call{tokens, heads, kv_heads, head_dim, keys, start, window, scale,
                            q,      ldq,   k,        ldk,      v,    ldv,   y,      ldy};
  return tokens == 1 ? attend_one(ctx, call) : attend_many(ctx, call);
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
