// SPDX-License-Identifier: Apache-2.0
//
// Products of int8 activations with 8- and 4-bit weights, and the activations themselves. Totals
// are exact, so every row must give the bits of a definition computed here in 64-bit integers.
#include <math.h>

#include <algorithm>

#include "harness.h"
#include "layout/bit_stream.h"

using namespace cases;

namespace {

// A weight matrix flush against the guard page: its last row has no word more than it needs.
struct weights {
  int32_t bits;
  int64_t n, k, group, ldcodes;
  bool asymmetric;
  std::vector<int32_t> q;  // [n, k]
  buffer<uint32_t> codes;  // [n, ldcodes]
  buffer<float> scales;    // [n, k / group]
  buffer<int8_t> zeros;    // [n, k / group]

  weights(int32_t bits, int64_t n, int64_t k, int64_t group, bool asymmetric, inputs kind)
      : bits(bits),
        n(n),
        k(k),
        group(group),
        ldcodes(esp::stream_words(k, bits) + n % 3),
        asymmetric(asymmetric),
        q(static_cast<size_t>(n * k)),
        codes(n * ldcodes - n % 3),
        scales(n * (k / group)),
        zeros(n * (k / group)) {
    const int64_t low = -(1 << (bits - 1)), high = (1 << (bits - 1)) - 1;
    fill_integers(q.data(), n * k, low, high, kind, static_cast<uint64_t>(k + n));
    for (int64_t r = 0; r < n; r++) {
      for (int64_t c = 0; c < k; c++)
        esp::stream_write(codes + r * ldcodes, c, bits, q[static_cast<size_t>(r * k + c)]);
    }
    fill(scales, inputs::uniform, 3, 0.05);
    fill_integers(zeros.data(), zeros.size(), low, high, kind, 4);
  }
};

// In the order of int8_operations.h: groups in order, each product and sum rounded to fp32.
std::vector<double> define(const weights& w, int64_t m, const int8_t* x, int64_t ldx,
                           const float* x_scales, const float* bias) {
  std::vector<double> y;
  const int64_t groups = w.k / w.group;
  for (int64_t i = 0; i < m; i++) {
    for (int64_t r = 0; r < w.n; r++) {
      float sum = 0.0f;
      for (int64_t g = 0; g < groups; g++) {
        int64_t total = 0;
        for (int64_t c = g * w.group; c < (g + 1) * w.group; c++) {
          const int64_t zero = w.asymmetric ? w.zeros[r * groups + g] : 0;
          total += (w.q[static_cast<size_t>(r * w.k + c)] - zero) * x[i * ldx + c];
        }
        const float product = w.scales[r * groups + g] * static_cast<float>(total);
        sum = sum + product;
      }
      const float scaled = sum * x_scales[i];
      y.push_back(static_cast<double>(bias == nullptr ? scaled : scaled + bias[r]));
    }
  }
  return y;
}

void check(int32_t bits, int64_t m, int64_t n, int64_t k, int64_t group, inputs kind,
           bool asymmetric) {
  const weights w(bits, n, k, group, asymmetric, kind);
  const int64_t ldx = k + m % 3;
  buffer<int8_t> x((m - 1) * ldx + k);
  buffer<float> x_scales(m), bias(n);
  fill_integers(x.data(), x.size(), -128, 127, kind, 7);
  fill(x_scales, inputs::uniform, 8, 0.02);
  fill(bias, inputs::uniform, 9);
  const float* b = m % 2 == 1 ? bias.data() : nullptr;
  const char* op = bits == 8 ? "matmul_w8a8" : "matmul_w4a8";
  against_definition<float>(
      op,
      format("%s m=%lld n=%lld k=%lld group=%lld %s%s", op, static_cast<long long>(m),
             static_cast<long long>(n), static_cast<long long>(k), static_cast<long long>(group),
             name_of(kind), asymmetric ? " asymmetric" : ""),
      define(w, m, x, ldx, x_scales, b), within(0.0), [&](esp_context* ctx, float* y) {
        const int8_t* zeros = asymmetric ? w.zeros.data() : nullptr;
        return (bits == 8 ? esp_matmul_w8a8 : esp_matmul_w4a8)(
            ctx, m, n, k, x, ldx, x_scales, w.codes, w.ldcodes, w.scales, zeros, group, b, y, n);
      });
}

struct shape {
  int64_t n, k, group;
};
// Whole dwords, chunks and words; one short, one more; groups that start inside a byte (5, 13,
// 43) or a chunk; groups longer than a block; more than one panel and more than one task.
constexpr shape shapes[] = {
    {1, 1, 1},      {3, 7, 7},      {4, 8, 8},      {5, 9, 9},     {2, 15, 5},       {7, 16, 4},
    {6, 17, 17},    {3, 39, 13},    {2, 172, 43},   {5, 172, 172}, {3, 245, 245},    {4, 352, 32},
    {33, 352, 352}, {9, 256, 64},   {70, 384, 128}, {2, 512, 256}, {17, 1300, 1300}, {3, 1300, 650},
    {18, 640, 1},   {65, 129, 129}, {130, 172, 43}};

void every_product(int32_t bits) {
  for (const shape& s : shapes) {
    for (int64_t m : {1, 4, 5, 13}) {
      check(bits, m, s.n, s.k, s.group, inputs::uniform, true);
      check(bits, m, s.n, s.k, s.group, inputs::heavy_tailed, false);
    }
  }
  for (inputs kind : every_input) {
    for (int64_t m : {2, 7}) check(bits, m, 6, 200, 40, kind, true);
  }
  check(bits, 243, 5, 64, 32, inputs::uniform, true);  // more than one tile of x
}

}  // namespace

CASE(matmul_w8a8) {
  every_product(8);
}
CASE(matmul_w4a8) {
  every_product(4);
}

// Both ends of both ranges over the most columns there may be: 128 * 128 * 65536 = 2^30 and, with
// zeros, 255 * 128 * 65536 = 2^31 - 8388608.
CASE(int8_totals_do_not_overflow_at_the_bound) {
  for (int64_t m : {1, 6}) {
    for (inputs kind : {inputs::all_min, inputs::all_max})
      check(8, m, 2, 65536, 65536, kind, false);
    const weights w(8, 1, 65536, 65536, false, inputs::all_max);
    buffer<int8_t> x(m * 65536), zeros(1);
    buffer<float> x_scales(m);
    fill_integers(x.data(), x.size(), -128, -128, inputs::uniform, 1);
    zeros[0] = -128;
    for (float& s : x_scales) s = 1.0f;
    const double total = static_cast<double>(static_cast<float>(-255.0 * 128 * 65536));
    const std::vector<double> y(static_cast<size_t>(m),
                                static_cast<double>(w.scales[0] * static_cast<float>(total)));
    against_definition<float>(
        "matmul_w8a8", "most columns", y, within(0.0), [&](esp_context* ctx, float* out) {
          return esp_matmul_w8a8(ctx, m, 1, 65536, x, 65536, x_scales, w.codes, w.ldcodes, w.scales,
                                 zeros, 65536, nullptr, out, 1);
        });
  }
}

CASE(quantize_tokens) {
  for (int64_t cols : {0, 1, 7, 8, 15, 16, 17, 31, 32, 33, 63, 172, 4096}) {
    for (inputs kind : every_input) {
      const int64_t rows = cols == 172 ? 19 : 3, ldx = cols + 2;
      buffer<float> x(rows * ldx - 2);
      fill(x, kind, 5, 3.0);
      std::vector<double> scales, codes;
      for (int64_t r = 0; r < rows; r++) {
        float most = 0.0f;
        for (int64_t c = 0; c < cols; c++) most = std::max(most, fabsf(x[r * ldx + c]));
        const float scale = most == 0.0f ? 0x1p-23f : most / 127.5f;
        scales.push_back(static_cast<double>(scale));
        for (int64_t c = 0; c < cols; c++) {
          const double q = static_cast<double>(x[r * ldx + c] / scale);
          codes.push_back(nearbyint(std::min(std::max(q, -128.0), 127.0)));
        }
      }
      const std::string label = format("cols=%lld %s", static_cast<long long>(cols), name_of(kind));
      against_definition<float>("quantize_tokens", label + " scales", scales, within(0.0),
                                [&](esp_context* ctx, float* out) {
                                  buffer<int8_t> spare(rows * cols);
                                  return esp_quantize_tokens(ctx, rows, cols, x, ldx, spare, cols,
                                                             out);
                                });
      against_definition<int8_t>("quantize_tokens", label + " codes", codes, within(0.0),
                                 [&](esp_context* ctx, int8_t* out) {
                                   buffer<float> spare(rows);
                                   return esp_quantize_tokens(ctx, rows, cols, x, ldx, out, cols,
                                                              spare);
                                 });
    }
  }
}

CASE(quantize_tokens_rounds_half_to_even_and_reaches_both_ends) {
  // The scale of a row whose largest magnitude is 127.5 is 1.
  const float x[10] = {127.5f, 0.5f, 1.5f, -0.5f, -1.5f, 2.5f, 126.5f, -126.5f, -127.5f, -127.49f};
  const std::vector<double> codes = {127, 0, 2, 0, -2, 2, 126, -126, -128, -127};
  against_definition<int8_t>(
      "quantize_tokens", "ties", codes, within(0.0), [&](esp_context* ctx, int8_t* out) {
        buffer<float> scale(1);
        const esp_status status = esp_quantize_tokens(ctx, 1, 10, x, 10, out, 10, scale);
        expect(scale[0] == 1.0f, "scale %g", static_cast<double>(scale[0]));
        return status;
      });
}

CASE(a_token_that_is_not_finite_poisons_its_products_alone) {
  for (float bad :
       {static_cast<float>(NAN), static_cast<float>(INFINITY), -static_cast<float>(INFINITY)}) {
    for (int64_t at : {0, 16, 39}) {
      buffer<float> x(2 * 40), scales(2), y(2 * 3), w_scales(3);
      buffer<int8_t> codes(2 * 40);
      buffer<uint32_t> words(3 * 10);
      fill(x, inputs::uniform, 1);
      fill(w_scales, inputs::uniform, 2);
      x[at] = bad;
      esp_context* ctx = context();
      expect_status(ESP_OK, esp_quantize_tokens(ctx, 2, 40, x, 40, codes, 40, scales), "");
      expect(isnan(scales[0]) && isfinite(scales[1]), "scales %g %g",
             static_cast<double>(scales[0]), static_cast<double>(scales[1]));
      for (int64_t c = 0; c < 40; c++) expect(codes[c] == 0, "code %d", codes[c]);
      expect_status(ESP_OK,
                    esp_matmul_w8a8(ctx, 2, 3, 40, codes, 40, scales, words, 10, w_scales, nullptr,
                                    40, nullptr, y, 3),
                    "");
      for (int64_t r = 0; r < 3; r++)
        expect(isnan(y[r]) && isfinite(y[3 + r]), "row %lld", static_cast<long long>(r));
    }
  }
}

CASE(int8_products_refuse_bad_arguments) {
  buffer<int8_t> x(16);
  buffer<float> x_scales(1), scales(4), y(4);
  buffer<uint32_t> codes(8);
  esp_context* ctx = context();
  const auto w4 = [&](int64_t m, int64_t k, int64_t ldx, int64_t ldcodes, int64_t group,
                      const uint32_t* c, const float* xs) {
    return esp_matmul_w4a8(ctx, m, 2, k, x, ldx, xs, c, ldcodes, scales, nullptr, group, nullptr, y,
                           2);
  };
  expect_status(ESP_OK, w4(1, 16, 16, 2, 8, codes, x_scales), "matmul_w4a8");
  expect_status(ESP_OK, w4(0, 16, 16, 2, 8, nullptr, nullptr), "matmul_w4a8");
  expect_status(ESP_INVALID_ARGUMENT, w4(-1, 16, 16, 2, 8, codes, x_scales), "matmul_w4a8");
  expect_status(ESP_INVALID_ARGUMENT, w4(1, 16, 15, 2, 8, codes, x_scales), "matmul_w4a8");
  expect_status(ESP_INVALID_ARGUMENT, w4(1, 16, 16, 1, 8, codes, x_scales), "matmul_w4a8");
  expect_status(ESP_INVALID_ARGUMENT, w4(1, 16, 16, 2, 6, codes, x_scales), "matmul_w4a8");
  expect_status(ESP_INVALID_ARGUMENT, w4(1, 16, 16, 2, 0, codes, x_scales), "matmul_w4a8");
  expect_status(ESP_INVALID_ARGUMENT, w4(1, 16, 16, 2, 8, nullptr, x_scales), "matmul_w4a8");
  expect_status(ESP_INVALID_ARGUMENT, w4(1, 16, 16, 2, 8, codes, nullptr), "matmul_w4a8");
  expect_status(ESP_INVALID_ARGUMENT, w4(1, 65537, 65537, 8193, 65537, codes, x_scales),
                "matmul_w4a8");
  expect_status(ESP_INVALID_ARGUMENT, esp_quantize_tokens(ctx, 1, 4, y, 3, x, 4, x_scales),
                "quantize_tokens");
  expect_status(ESP_INVALID_ARGUMENT, esp_quantize_tokens(ctx, -1, 4, y, 4, x, 4, x_scales),
                "quantize_tokens");
  expect_status(ESP_INVALID_ARGUMENT, esp_quantize_tokens(ctx, 1, 4, y, 4, nullptr, 4, x_scales),
                "quantize_tokens");
  // No columns: the bias alone.
  scales[0] = 3.0f;
  expect_status(ESP_OK,
                esp_matmul_w8a8(ctx, 1, 1, 0, nullptr, 0, nullptr, nullptr, 0, nullptr, nullptr, 0,
                                scales, y, 1),
                "matmul_w8a8");
  expect(y[0] == 3.0f, "y=%g without columns", static_cast<double>(y[0]));
}
