// SPDX-License-Identifier: Apache-2.0
//
// Attention of a batch of sequences for training: the forward pass keeps the log of every row's
// sum, the backward pass computes the weights again from it, block by block (arXiv 2205.14135,
// algorithms 1 and 4). No tensor of [queries, keys] exists.
//
// A tile of the backward pass is one key head of one sequence with all the heads that read it, so
// that dk and dv have one owner and one order of sums.
#include <math.h>

#include "internal.h"
#include "operations.h"

using namespace esp;

namespace {

// Two blocks of scores of 64 x 64 fp32 are 32 KiB and stay in an L1 or L2 with their operands.
constexpr int64_t block_queries = 64;
constexpr int64_t block_keys = 64;

struct sequences_call {
  int64_t sequences;
  const int64_t* query_starts;
  const int64_t* key_starts;
  int64_t heads, kv_heads, head_dim, window;
  float scale;
  const float* q;  // [queries, heads, head_dim]
  const float* k;  // [keys, kv_heads, head_dim]
  const float* v;

  int64_t group() const { return heads / kv_heads; }
  int64_t ldq() const { return heads * head_dim; }
  int64_t ldk() const { return kv_heads * head_dim; }
  int64_t queries(int64_t s) const { return query_starts[s + 1] - query_starts[s]; }
  int64_t keys(int64_t s) const { return key_starts[s + 1] - key_starts[s]; }
};

esp_status check(const char* op, const esp_context* ctx, const sequences_call& c) {
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, c.sequences >= 0, "sequences >= 0", c.sequences);
  ESP_REQUIRE(op, c.heads >= 0, "heads >= 0", c.heads);
  ESP_REQUIRE(op, c.head_dim >= 0, "head_dim >= 0", c.head_dim);
  ESP_REQUIRE(op, c.heads == 0 || (c.kv_heads > 0 && c.heads % c.kv_heads == 0),
              "a divisor of heads", c.kv_heads);
  ESP_REQUIRE(op, c.window >= 0, "window >= 0", c.window);
  if (c.sequences == 0) return ESP_OK;
  const bool given = c.query_starts != nullptr && c.key_starts != nullptr;
  ESP_REQUIRE(op, given, "starts not NULL", given);
  ESP_REQUIRE(op, c.query_starts[0] == 0, "0", c.query_starts[0]);
  ESP_REQUIRE(op, c.key_starts[0] == 0, "0", c.key_starts[0]);
  for (int64_t s = 0; s < c.sequences; s++) {
    ESP_REQUIRE(op, c.queries(s) >= 0, "query_starts ascending", c.queries(s));
    ESP_REQUIRE(op, c.keys(s) >= c.queries(s), "at least as many keys as queries", c.keys(s));
  }
  return ESP_OK;
}

bool nothing_to_do(const sequences_call& c) {
  return c.sequences == 0 || c.heads == 0 || c.head_dim == 0 || c.query_starts[c.sequences] == 0;
}

esp_status no_scratch(int64_t bytes) {
  return esp::fail(ESP_OUT_OF_MEMORY, "attention: no scratch of %lld bytes",
                   static_cast<long long>(bytes));
}

// ---- forward

// Finds the sequence of tile `tile` where sequence s has tiles(s) of them; *tile becomes its number
// inside.
template <class F>
int64_t sequence_of(int64_t* tile, F tiles) {
  int64_t s = 0;
  for (; *tile >= tiles(s); s++) *tile -= tiles(s);
  return s;
}

esp_status attend(esp_context* ctx, const sequences_call& c, float* y, float* log_sum) {
  const auto kernel = ESP_KERNEL(ctx, attention);
  const int64_t tile_heads = esp::min_of(c.group(), 8);
  const int64_t tile_queries = esp::attention_tile_rows / tile_heads;
  const int64_t group_tiles = esp::ceil_div(c.group(), tile_heads);
  const auto tiles = [&](int64_t s) {
    return c.kv_heads * group_tiles * esp::ceil_div(c.queries(s), tile_queries);
  };
  int64_t all = 0;
  for (int64_t s = 0; s < c.sequences; s++) all += tiles(s);
  const int64_t own = esp::attention_scratch(c.head_dim);
  const int64_t bytes = (own + 2 * esp::attention_tile_rows) * static_cast<int64_t>(sizeof(float));
  return esp::parallel_tiles(ctx, all, [&](int64_t tile, int32_t worker) -> esp_status {
    float* const scratch = static_cast<float*>(esp::scratch(ctx, worker, bytes));
    if (scratch == nullptr) return no_scratch(bytes);
    float* const running = scratch + own;  // [queries, heads, 2]
    const int64_t s = sequence_of(&tile, tiles);
    const int64_t kv_head = tile % (c.kv_heads * group_tiles) / group_tiles;
    const int64_t in_group = tile % group_tiles * tile_heads;
    const int64_t head = kv_head * c.group() + in_group;
    const int64_t first = tile / (c.kv_heads * group_tiles) * tile_queries;
    const int64_t row = c.query_starts[s] + first;  // of q, y and log_sum
    esp::attention_tile a{};
    a.queries = esp::min_of(tile_queries, c.queries(s) - first);
    a.heads = esp::min_of(tile_heads, c.group() - in_group);
    a.head_dim = c.head_dim;
    a.keys = c.keys(s);
    a.position = c.keys(s) - c.queries(s) + first;
    a.window = c.window;
    a.scale = c.scale;
    a.q = c.q + row * c.ldq() + head * c.head_dim;
    a.ldq = c.ldq();
    a.k = c.k + c.key_starts[s] * c.ldk() + kv_head * c.head_dim;
    a.ldk = c.ldk();
    a.v = c.v + c.key_starts[s] * c.ldk() + kv_head * c.head_dim;
    a.ldv = c.ldk();
    a.y = y + row * c.ldq() + head * c.head_dim;
    a.ldy = c.ldq();
    a.running = running;
    a.key_begin = 0;
    a.key_end = c.keys(s);
    a.scratch = scratch;
    for (int64_t t = 0; t < a.queries; t++) {
      for (int64_t h = 0; h < a.heads; h++) {
        running[2 * (t * a.heads + h)] = -__builtin_inff();
        running[2 * (t * a.heads + h) + 1] = 0.0f;
        for (int64_t d = 0; d < c.head_dim; d++) a.y[t * a.ldy + h * c.head_dim + d] = 0.0f;
      }
    }
    kernel(a);
    for (int64_t t = 0; t < a.queries; t++) {
      for (int64_t h = 0; h < a.heads; h++) {
        const float* const ran = running + 2 * (t * a.heads + h);
        for (int64_t d = 0; d < c.head_dim; d++) a.y[t * a.ldy + h * c.head_dim + d] /= ran[1];
        log_sum[(row + t) * c.heads + head + h] = ran[0] + logf(ran[1]);
      }
    }
    return ESP_OK;
  });
}

// ---- backward

struct kept {
  const float* y;        // [queries, heads, head_dim]
  const float* log_sum;  // [queries, heads]
  const float* dy;
  float* dq;
  float* dk;
  float* dv;
};

// The queries [first, first + rows) of one head against all keys they see.
void queries_backward(const sequences_call& c, const kept& g, attention_backward_kernel* kernel,
                      int64_t s, int64_t head, int64_t first, int64_t rows, float* scratch) {
  float* const scores = scratch;
  float* const slopes = scores + block_queries * block_keys;
  float* const delta = slopes + block_queries * block_keys;
  const int64_t row = c.query_starts[s] + first;
  const int64_t at = row * c.ldq() + head * c.head_dim;
  for (int64_t r = 0; r < rows; r++) {
    double sum = 0.0;
    for (int64_t d = 0; d < c.head_dim; d++) {
      const int64_t i = at + r * c.ldq() + d;
      sum += static_cast<double>(g.dy[i]) * g.y[i];
    }
    delta[r] = static_cast<float>(sum);
  }
  const int64_t place = c.keys(s) - c.queries(s) + first;  // of the first query among the keys
  const int64_t visible = c.window > 0 && place >= c.window ? place - c.window + 1 : 0;
  for (int64_t key = visible / block_keys * block_keys; key < place + rows; key += block_keys) {
    const int64_t keys = esp::min_of(block_keys, place + rows - key);
    const int64_t key_at = (c.key_starts[s] + key) * c.ldk() + head / c.group() * c.head_dim;
    esp::gemm_f32(false, true, rows, keys, c.head_dim, 1.0f, c.q + at, c.ldq(), c.k + key_at,
                  c.ldk(), 0.0f, scores, keys);
    esp::gemm_f32(false, true, rows, keys, c.head_dim, 1.0f, g.dy + at, c.ldq(), c.v + key_at,
                  c.ldk(), 0.0f, slopes, keys);
    kernel({rows, keys, place - key, c.window, c.scale, g.log_sum + row * c.heads + head, c.heads,
            delta, scores, slopes});
    esp::gemm_f32(true, false, keys, c.head_dim, rows, 1.0f, scores, keys, g.dy + at, c.ldq(), 1.0f,
                  g.dv + key_at, c.ldk());
    esp::gemm_f32(true, false, keys, c.head_dim, rows, 1.0f, slopes, keys, c.q + at, c.ldq(), 1.0f,
                  g.dk + key_at, c.ldk());
    esp::gemm_f32(false, false, rows, c.head_dim, keys, 1.0f, slopes, keys, c.k + key_at, c.ldk(),
                  1.0f, g.dq + at, c.ldq());
  }
}

}  // namespace

extern "C" {

esp_status esp_attention_sequences(esp_context* ctx, int64_t sequences, const int64_t* query_starts,
                                   const int64_t* key_starts, int64_t heads, int64_t kv_heads,
                                   int64_t head_dim, int64_t window, float scale, const float* q,
                                   const float* k, const float* v, float* y,
                                   float* log_sum) noexcept {
  const char* const op = "attention_sequences";
  const sequences_call c{sequences, query_starts, key_starts, heads, kv_heads, head_dim,
                         window,    scale,        q,          k,     v};
  const esp_status status = check(op, ctx, c);
  if (status != ESP_OK || nothing_to_do(c)) return status;
  const bool given =
      q != nullptr && k != nullptr && v != nullptr && y != nullptr && log_sum != nullptr;
  ESP_REQUIRE(op, given, "no NULL operand", given);
  return attend(ctx, c, y, log_sum);
}

esp_status esp_attention_backward(esp_context* ctx, int64_t sequences, const int64_t* query_starts,
                                  const int64_t* key_starts, int64_t heads, int64_t kv_heads,
                                  int64_t head_dim, int64_t window, float scale, const float* q,
                                  const float* k, const float* v, const float* y,
                                  const float* log_sum, const float* dy, float* dq, float* dk,
                                  float* dv) noexcept {
  const char* const op = "attention_backward";
  const sequences_call c{sequences, query_starts, key_starts, heads, kv_heads, head_dim,
                         window,    scale,        q,          k,     v};
  const esp_status status = check(op, ctx, c);
  if (status != ESP_OK || nothing_to_do(c)) return status;
  const bool given = q != nullptr && k != nullptr && v != nullptr && y != nullptr &&
                     log_sum != nullptr && dy != nullptr && dq != nullptr && dk != nullptr &&
                     dv != nullptr;
  ESP_REQUIRE(op, given, "no NULL operand", given);
  const kept g{y, log_sum, dy, dq, dk, dv};
  const auto kernel = ESP_KERNEL(ctx, attention_backward);
  const int64_t bytes =
      (2 * block_queries * block_keys + block_queries) * static_cast<int64_t>(sizeof(float));
  return esp::parallel_tiles(
      ctx, sequences * kv_heads, [&](int64_t tile, int32_t worker) -> esp_status {
        float* const scratch = static_cast<float*>(esp::scratch(ctx, worker, bytes));
        if (scratch == nullptr) return no_scratch(bytes);
        const int64_t s = tile / kv_heads;
        const int64_t first_head = tile % kv_heads * c.group();
        for (int64_t head = first_head; head < first_head + c.group(); head++) {
          for (int64_t first = 0; first < c.queries(s); first += block_queries) {
            queries_backward(c, g, kernel, s, head, first,
                             esp::min_of(block_queries, c.queries(s) - first), scratch);
          }
        }
        return ESP_OK;
      });
}

}  // extern "C"
