// SPDX-License-Identifier: Apache-2.0
//
// Products from packed weights. Few rows of x are put into block fixed point once and multiply the
// bit streams directly (a product bound by the bytes of W); more rows first widen a tile of W into
// scratch and run a dense product on it.
#include "internal.h"
#include "layout/bit_stream.h"
#include "layout/fixed_point.h"
#include "operations.h"

namespace esp {
namespace {

// Up to this many rows of x the direct kernels win: their time is so much a row, the widened
// product pays for writing, packing and reading 4 bytes a weight first. Processor time at 2048 x
// 4096, AVX2, one thread, in ms: widened 11.2 and 0.18 a row of x; direct a row, w4a16 0.21 coarse
// and 0.47 fine, w8a16 0.24 and 0.48, 3 bits 0.40 and 0.65.
constexpr int64_t direct_rows_fine = 32, direct_rows_coarse = 256, direct_rows_stream = 48;
constexpr int64_t direct_tile_least = 16, direct_tile_most = 128;
constexpr int64_t dequantize_tile = 32;  // rows of W a task: 32 * 4096 * 4 = 512 KiB of fp32
// Of the widened path. A wide tile packs x less often: 64 rows of W gave 63 GFLOP/s at 512 x 2048 x
// 2048, 128 rows 72, 256 rows 76 (one thread, AVX2, peak 101).
constexpr int64_t widened_tile_least = 64, widened_tile_most = 256;  // rows of W a task
constexpr int64_t widened_elements = int64_t{1} << 21;               // of a task: 8 MiB of fp32
constexpr int64_t widened_rows = 512;                                // rows of x a task
// A matrix of up to 2 MiB of fp32 is widened once, into panels, and stays in the cache for all rows
// of x. A task is some rows of x against panels of 256 KiB, half an L2, in pieces of 1024 columns,
// so that a strip of x stays in the L1 cache.
constexpr int64_t panel_elements_most = int64_t{1} << 19;
constexpr int64_t panel_rows = 96, panel_task_elements = int64_t{1} << 16, panel_piece = 1024;

struct packed_weights {
  const char* op;
  int32_t bits;
  int64_t n, k;
  const uint32_t* codes;  // [n, stream_words(k, bits)] ldcodes
  int64_t ldcodes;
  const float* scales;  // [n, k / group]
  const int8_t* zeros;  // [n, k / group] or null
  int64_t group;
  const int32_t* group_index;  // [k] or null
};

struct dense_rows {
  int64_t m;
  const float* x;  // [m, k] ldx
  int64_t ldx;
  const float* bias;  // [n] or null
  float* y;           // [m, n] ldy
  int64_t ldy;
};

esp_status check_sizes(const packed_weights& w) {
  ESP_REQUIRE(w.op, w.bits >= 2 && w.bits <= 8, "2..8", w.bits);
  ESP_REQUIRE(w.op, w.n >= 0, "n >= 0", w.n);
  ESP_REQUIRE(w.op, w.k >= 0 && w.k <= INT64_MAX / 8 - 31, "k >= 0", w.k);
  return ESP_OK;
}

// Of a matrix that has elements.
esp_status check_operands(const packed_weights& w) {
  ESP_REQUIRE(w.op, w.group > 0 && w.k % w.group == 0, "a divisor of k", w.group);
  ESP_REQUIRE(w.op, w.ldcodes >= stream_words(w.k, w.bits), "ldcodes >= ceil(k * bits / 32)",
              w.ldcodes);
  ESP_REQUIRE(w.op, w.codes != nullptr, "an address", w.codes != nullptr);
  ESP_REQUIRE(w.op, w.scales != nullptr, "an address", w.scales != nullptr);
  for (int64_t c = 0; w.group_index != nullptr && c < w.k; c++) {
    ESP_REQUIRE(w.op, w.group_index[c] >= 0 && w.group_index[c] < w.k / w.group,
                "0 <= group_index < k / group", w.group_index[c]);
  }
  return ESP_OK;
}

// The same operands from row `row` on.
packed_weights from_row(packed_weights w, int64_t row) {
  const int64_t groups = w.k / w.group;
  w.codes += row * w.ldcodes;
  w.scales += row * groups;
  if (w.zeros != nullptr) w.zeros += row * groups;
  return w;
}

int64_t direct_rows(int32_t bits, bool fine) {
  return fine ? direct_rows_fine : bits == 4 || bits == 8 ? direct_rows_coarse : direct_rows_stream;
}

// Rows of W a task: enough for two streams far apart, few enough for several tasks a thread.
int64_t direct_tile(int64_t n) {
  return min_of(direct_tile_most, max_of(direct_tile_least, ceil_div(n, 512) * 16));
}

// x in fixed point, in the context's scratch: fine for fp32 contexts, coarse for bf16.
struct fixed_rows {
  int32_t fine;
  int64_t digit_bytes;
  int8_t* digits;
  float *quanta, *sums;
};

esp_status fix_rows(esp_context* ctx, const packed_weights& w, const dense_rows& r,
                    fixed_rows* out) {
  const bool fine = precision(ctx) == ESP_PRECISION_FP32;
  const fixed_layout f = fixed_layout_of(w.bits, fine);
  const int64_t chunks = packed_chunks(w.k, w.group), groups = w.k / w.group;
  const int64_t digit_bytes = fixed_row_steps(f, w.k, w.group) * f.step_bytes();
  const int64_t floats = r.m * (chunks + groups);
  int8_t* digits = static_cast<int8_t*>(
      scratch(ctx, 0, r.m * digit_bytes + floats * static_cast<int64_t>(sizeof(float))));
  if (digits == nullptr) return fail(ESP_OUT_OF_MEMORY, "%s: no memory for digits of x", w.op);
  float* quanta = reinterpret_cast<float*>(digits + r.m * digit_bytes);
  *out = {fine ? 1 : 0, digit_bytes, digits, quanta, quanta + r.m * chunks};
  fix_row_kernel* const fix = ESP_KERNEL(ctx, fix_row);
  return parallel_tiles(ctx, r.m, [&](int64_t i, int32_t) {
    fix(w.bits, out->fine, w.k, w.group, r.x + i * r.ldx, digits + i * digit_bytes,
        quanta + i * chunks, out->sums + i * groups);
    return static_cast<esp_status>(ESP_OK);
  });
}

esp_status multiply_direct(esp_context* ctx, const packed_weights& w, const dense_rows& r) {
  matmul_packed_kernel* const kernel = w.bits == 4   ? ESP_KERNEL(ctx, matmul_w4a16)
                                       : w.bits == 8 ? ESP_KERNEL(ctx, matmul_w8a16)
                                                     : ESP_KERNEL(ctx, matmul_wna16);
  fixed_rows x = {};
  const esp_status status = fix_rows(ctx, w, r, &x);
  if (status != ESP_OK) return status;
  const int64_t tile_rows = direct_tile(w.n);
  return parallel_tiles(ctx, ceil_div(w.n, tile_rows), [&](int64_t tile, int32_t) {
    const int64_t row = tile * tile_rows;
    const packed_weights part = from_row(w, row);
    kernel({w.bits, x.fine, r.m, min_of(tile_rows, w.n - row), w.k, r.x, r.ldx, x.digits,
            x.digit_bytes, x.quanta, x.sums, part.codes, w.ldcodes, part.scales, part.zeros,
            w.group, r.bias == nullptr ? nullptr : r.bias + row, r.y + row, r.ldy});
    return static_cast<esp_status>(ESP_OK);
  });
}

// Rows of W a task: at least four tasks, sizes alone decide.
int64_t widened_tile(int64_t n, int64_t k) {
  const int64_t room = widened_elements / max_of(k, 1) / 16 * 16;
  return min_of(widened_tile_most, max_of(widened_tile_least, min_of(room, ceil_div(n, 64) * 16)));
}

// W in panels, in the scratch of worker 0: [ceil(n / 16)][k][16].
esp_status fill_panels(esp_context* ctx, const packed_weights& w, float** out) {
  const int64_t count = ceil_div(w.n, panel_width), panel = panel_width * w.k;
  const int64_t workers = esp_context_threads(ctx);
  // Behind the panels, the rows of one in their order for each worker.
  float* const panels = static_cast<float*>(
      scratch(ctx, 0, (count + workers) * panel * static_cast<int64_t>(sizeof(float))));
  if (panels == nullptr) return fail(ESP_OUT_OF_MEMORY, "%s: no memory for the weights", w.op);
  *out = panels;
  dequantize_kernel* const widen = ESP_KERNEL(ctx, dequantize);
  fill_panel_kernel* const fill = ESP_KERNEL(ctx, fill_panel);
  return parallel_tiles(ctx, count, [&](int64_t tile, int32_t worker) -> esp_status {
    const int64_t row = tile * panel_width, rows = min_of(panel_width, w.n - row);
    const packed_weights part = from_row(w, row);
    float* const wide = panels + (count + worker) * panel;
    widen(w.bits, rows, w.k, part.codes, w.ldcodes, part.scales, part.zeros, w.group, w.group_index,
          wide, w.k);
    fill(rows, w.k, wide, w.k, panels + tile * panel);
    return ESP_OK;
  });
}

esp_status multiply_panels(esp_context* ctx, const packed_weights& w, const dense_rows& r) {
  float* panels = nullptr;
  const esp_status status = fill_panels(ctx, w, &panels);
  if (status != ESP_OK) return status;
  panel_product_kernel* const product = ESP_KERNEL(ctx, panel_product);
  const int64_t stride = panel_width * w.k;
  const int64_t width =
      max_of(2, panel_task_elements / min_of(w.k, panel_piece) / (2 * panel_width) * 2) *
      panel_width;
  const int64_t columns = ceil_div(w.n, width);
  return parallel_tiles(
      ctx, columns * ceil_div(r.m, panel_rows), [&](int64_t tile, int32_t) -> esp_status {
        const int64_t row = tile % columns * width, first = tile / columns * panel_rows;
        for (int64_t at = 0; at < w.k; at += panel_piece) {
          product({min_of(panel_rows, r.m - first), min_of(width, w.n - row),
                   min_of(panel_piece, w.k - at), r.x + first * r.ldx + at, r.ldx,
                   panels + row / panel_width * stride + at * panel_width, stride,
                   r.bias == nullptr ? nullptr : r.bias + row, at > 0, r.y + first * r.ldy + row,
                   r.ldy});
        }
        return ESP_OK;
      });
}

esp_status multiply_widened(esp_context* ctx, const packed_weights& w, const dense_rows& r) {
  dequantize_kernel* const widen = ESP_KERNEL(ctx, dequantize);
  const int64_t tile_rows = widened_tile(w.n, w.k);
  const int64_t columns = ceil_div(w.n, tile_rows);
  const int64_t tiles = columns * ceil_div(r.m, widened_rows);
  return parallel_tiles(ctx, tiles, [&](int64_t tile, int32_t worker) -> esp_status {
    const int64_t row = tile % columns * tile_rows;
    const int64_t rows = min_of(tile_rows, w.n - row);
    const int64_t first = tile / columns * widened_rows;
    const int64_t count = min_of(widened_rows, r.m - first);
    const int64_t bytes = tile_rows * w.k * static_cast<int64_t>(sizeof(float));
    float* dense = static_cast<float*>(scratch(ctx, worker, bytes));  // [rows, k]
    if (dense == nullptr) return fail(ESP_OUT_OF_MEMORY, "%s: no memory for a tile", w.op);
    const packed_weights part = from_row(w, row);
    widen(w.bits, rows, w.k, part.codes, w.ldcodes, part.scales, part.zeros, w.group, w.group_index,
          dense, w.k);
    float* y = r.y + first * r.ldy + row;
    for (int64_t i = 0; r.bias != nullptr && i < count; i++) {
      for (int64_t j = 0; j < rows; j++) y[i * r.ldy + j] = r.bias[row + j];
    }
    gemm_f32(false, true, count, rows, w.k, 1.0f, r.x + first * r.ldx, r.ldx, dense, w.k,
             r.bias == nullptr ? 0.0f : 1.0f, y, r.ldy);
    return ESP_OK;
  });
}

esp_status multiply(esp_context* ctx, const packed_weights& w, const dense_rows& r) {
  esp_status status = check_sizes(w);
  if (status != ESP_OK) return status;
  ESP_REQUIRE(w.op, r.m >= 0, "m >= 0", r.m);
  if (r.m == 0 || w.n == 0) return ESP_OK;
  ESP_REQUIRE(w.op, r.y != nullptr, "an address", r.y != nullptr);
  ESP_REQUIRE(w.op, r.ldy >= w.n, "ldy >= n", r.ldy);
  if (w.k == 0) {
    for (int64_t i = 0; i < r.m; i++) {
      for (int64_t j = 0; j < w.n; j++) r.y[i * r.ldy + j] = r.bias == nullptr ? 0.0f : r.bias[j];
    }
    return ESP_OK;
  }
  status = check_operands(w);
  if (status != ESP_OK) return status;
  ESP_REQUIRE(w.op, r.x != nullptr, "an address", r.x != nullptr);
  ESP_REQUIRE(w.op, r.ldx >= w.k, "ldx >= k", r.ldx);
  if (w.group_index == nullptr && r.m <= direct_rows(w.bits, precision(ctx) == ESP_PRECISION_FP32))
    return multiply_direct(ctx, w, r);
  if (ceil_div(w.n, panel_width) * panel_width * w.k <= panel_elements_most)
    return multiply_panels(ctx, w, r);
  return multiply_widened(ctx, w, r);
}

}  // namespace
}  // namespace esp

extern "C" {

esp_status esp_matmul_w4a16(esp_context* ctx, int64_t m, int64_t n, int64_t k, const float* x,
                            int64_t ldx, const uint32_t* codes, int64_t ldcodes,
                            const float* scales, const int8_t* zeros, int64_t group,
                            const float* bias, float* y, int64_t ldy) noexcept {
  ESP_REQUIRE("matmul_w4a16", ctx != nullptr, "a context", ctx != nullptr);
  using namespace esp;
  return multiply(ctx, {"matmul_w4a16", 4, n, k, codes, ldcodes, scales, zeros, group, nullptr},
                  {m, x, ldx, bias, y, ldy});
}

esp_status esp_matmul_w8a16(esp_context* ctx, int64_t m, int64_t n, int64_t k, const float* x,
                            int64_t ldx, const uint32_t* codes, int64_t ldcodes,
                            const float* scales, const int8_t* zeros, int64_t group,
                            const float* bias, float* y, int64_t ldy) noexcept {
  ESP_REQUIRE("matmul_w8a16", ctx != nullptr, "a context", ctx != nullptr);
  using namespace esp;
  return multiply(ctx, {"matmul_w8a16", 8, n, k, codes, ldcodes, scales, zeros, group, nullptr},
                  {m, x, ldx, bias, y, ldy});
}

esp_status esp_matmul_wna16(esp_context* ctx, int32_t bits, int64_t m, int64_t n, int64_t k,
                            const float* x, int64_t ldx, const uint32_t* codes, int64_t ldcodes,
                            const float* scales, const int8_t* zeros, int64_t group,
                            const int32_t* group_index, const float* bias, float* y,
                            int64_t ldy) noexcept {
  ESP_REQUIRE("matmul_wna16", ctx != nullptr, "a context", ctx != nullptr);
  using namespace esp;
  return multiply(ctx,
                  {"matmul_wna16", bits, n, k, codes, ldcodes, scales, zeros, group, group_index},
                  {m, x, ldx, bias, y, ldy});
}

esp_status esp_dequantize(esp_context* ctx, int32_t bits, int64_t n, int64_t k,
                          const uint32_t* codes, int64_t ldcodes, const float* scales,
                          const int8_t* zeros, int64_t group, const int32_t* group_index, float* w,
                          int64_t ldw) noexcept {
  using namespace esp;
  ESP_REQUIRE("dequantize", ctx != nullptr, "a context", ctx != nullptr);
  const packed_weights p{"dequantize", bits,   n,     k,     codes,
                         ldcodes,      scales, zeros, group, group_index};
  esp_status status = check_sizes(p);
  if (status != ESP_OK || n == 0 || k == 0) return status;
  status = check_operands(p);
  if (status != ESP_OK) return status;
  ESP_REQUIRE("dequantize", w != nullptr, "an address", w != nullptr);
  ESP_REQUIRE("dequantize", ldw >= k, "ldw >= k", ldw);
  dequantize_kernel* const widen = ESP_KERNEL(ctx, dequantize);
  return parallel_tiles(ctx, ceil_div(n, dequantize_tile), [&](int64_t tile, int32_t) {
    const int64_t row = tile * dequantize_tile;
    const packed_weights part = from_row(p, row);
    widen(bits, min_of(dequantize_tile, n - row), k, part.codes, ldcodes, part.scales, part.zeros,
          group, group_index, w + row * ldw, ldw);
    return static_cast<esp_status>(ESP_OK);
  });
}

}  // extern "C"
