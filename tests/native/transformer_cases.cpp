// SPDX-License-Identifier: Apache-2.0
//
// Norms, rotation and elementwise functions against their fp64 definitions.
#include <math.h>

#include "harness.h"

using namespace cases;

namespace {

constexpr double half_ulp = 0x1p-24;
constexpr double least_normal = 0x1p-126;
constexpr int64_t widths[] = {1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 576};

std::string shape(const char* what, int64_t a, int64_t b, inputs kind) {
  return format("%s %d x %d %s", what, static_cast<int>(a), static_cast<int>(b), name_of(kind));
}

bound limits_of(const std::vector<double>& limits) {
  return [&limits](int64_t i) { return limits[static_cast<size_t>(i)]; };
}

double silu(double x) {
  return x / (1.0 + exp(-x));
}

double activated(int32_t kind, double x) {
  if (kind == 0) return silu(x);
  if (kind == 1) return 0.5 * x * erfc(-x * M_SQRT1_2);
  if (kind == 2) return 0.5 * x * (1.0 + tanh(sqrt(M_2_PI) * (x + 0.044715 * x * x * x)));
  return x > 0.0 ? x : (x == x ? 0.0 : x);
}

// 10 roundings, and the rounding of the exponent, which its exponential multiplies by it.
double activated_limit(int32_t kind, double x) {
  if (kind == 3) return 0.0;
  const double size = fabs(x);
  if (kind == 1) return 16 * half_ulp * size + least_normal;
  // tanh in the definition above loses relative accuracy where it nears -1: bound by |x|.
  if (kind == 2) return 16 * half_ulp * size + least_normal;
  return (12 + size) * half_ulp * fabs(silu(x)) + 100 * least_normal;
}

}  // namespace

CASE(norms_match_their_definition) {
  for (int64_t cols : widths) {
    for (inputs kind : every_input) {
      for (int64_t rows : {0, 1, 3, 35}) {
        const int64_t ldx = cols + 1;
        const int64_t ldy = cols + 2;
        buffer<float> x(rows == 0 ? 0 : rows * ldx - 1);
        buffer<float> weight(cols);
        buffer<float> bias(cols);
        fill(x, kind, 21, 3.0);
        fill(weight, inputs::uniform, 22);
        fill(bias, inputs::uniform, 23);
        const float eps = 1e-5f;
        const int64_t size = rows == 0 ? 0 : rows * ldy - 2;
        const size_t count = static_cast<size_t>(size);
        std::vector<double> rms(count, 5.0), layer(count, 5.0), plain(count, 5.0);
        std::vector<double> rms_limit(count, 0.0), layer_limit(count, 0.0);
        for (int64_t r = 0; r < rows; r++) {
          double squares = 0.0, sum = 0.0, variance = 0.0;
          for (int64_t c = 0; c < cols; c++) {
            const double value = x[r * ldx + c];
            squares += value * value;
            sum += value;
          }
          const double n = static_cast<double>(cols);
          for (int64_t c = 0; c < cols; c++) {
            const double centred = x[r * ldx + c] - sum / n;
            variance += centred * centred;
          }
          for (int64_t c = 0; c < cols; c++) {
            const size_t at = static_cast<size_t>(r * ldy + c);
            const double value = x[r * ldx + c];
            rms[at] = value / sqrt(squares / n + eps) * weight[c];
            rms_limit[at] = 4 * half_ulp * fabs(rms[at]) + least_normal;
            // fp64 noise of mean and variance is amplified where the variance vanishes.
            const double factor = 1.0 / sqrt(variance / n + eps);
            plain[at] = (value - sum / n) * factor * weight[c];
            layer[at] = plain[at] + bias[c];
            layer_limit[at] = 4 * half_ulp * (fabs(plain[at]) + fabs(bias[c])) +
                              1e-12 * fabs(value) * factor + least_normal;
          }
        }
        const auto prepared = [&](float* y) {
          for (int64_t i = 0; i < size; i++) y[i] = 5.0f;
        };
        against_definition<float>("rms_norm", shape("rms", rows, cols, kind), rms,
                                  limits_of(rms_limit), [&](esp_context* ctx, float* y) {
                                    prepared(y);
                                    return esp_rms_norm(ctx, rows, cols, x, ldx, weight, eps, y,
                                                        ldy);
                                  });
        against_definition<float>("layer_norm", shape("layer", rows, cols, kind), layer,
                                  limits_of(layer_limit), [&](esp_context* ctx, float* y) {
                                    prepared(y);
                                    return esp_layer_norm(ctx, rows, cols, x, ldx, weight, bias,
                                                          eps, y, ldy);
                                  });
        against_definition<float>("layer_norm", shape("layer without bias", rows, cols, kind),
                                  plain, limits_of(layer_limit), [&](esp_context* ctx, float* y) {
                                    prepared(y);
                                    return esp_layer_norm(ctx, rows, cols, x, ldx, weight, nullptr,
                                                          eps, y, ldy);
                                  });
      }
    }
  }
}

CASE(norms_work_in_place) {
  constexpr int64_t rows = 20;
  constexpr int64_t cols = 21;
  buffer<float> x(rows * cols);
  buffer<float> weight(cols);
  fill(x, inputs::heavy_tailed, 24);
  fill(weight, inputs::uniform, 25);
  std::vector<float> apart(rows * cols), same(x.begin(), x.end());
  esp_rms_norm(context(), rows, cols, x, cols, weight, 1e-6f, apart.data(), cols);
  esp_rms_norm(context(), rows, cols, same.data(), cols, weight, 1e-6f, same.data(), cols);
  expect(apart == same, "rms_norm in place differs");
  same.assign(x.begin(), x.end());
  esp_layer_norm(context(), rows, cols, x, cols, weight, weight, 1e-6f, apart.data(), cols);
  esp_layer_norm(context(), rows, cols, same.data(), cols, weight, weight, 1e-6f, same.data(),
                 cols);
  expect(apart == same, "layer_norm in place differs");
}

CASE(rope_turns_pairs_and_leaves_the_rest) {
  for (int64_t head_dim : {2, 6, 16, 18, 34, 64, 80, 128}) {
    for (int64_t rotary : {int64_t{0}, int64_t{2}, head_dim / 4 * 2, head_dim}) {
      if (rotary > head_dim) continue;
      for (int64_t tokens : {0, 1, 37}) {
        for (inputs kind : every_input) {
          constexpr int64_t heads = 3;
          constexpr int64_t start = 5;
          const int64_t half = rotary / 2;
          const int64_t positions = start + tokens;
          const int64_t ldx = heads * head_dim + 2;
          const int64_t size = tokens == 0 ? 0 : tokens * ldx - 2;
          buffer<float> x(size);
          buffer<float> cosines(positions * half);
          buffer<float> sines(positions * half);
          fill(x, kind, 31);
          for (int64_t i = 0; i < positions * half; i++) {
            cosines[i] = cosf(static_cast<float>(i) * 0.37f);
            sines[i] = sinf(static_cast<float>(i) * 0.37f);
          }
          std::vector<double> expected(x.begin(), x.end());
          std::vector<double> limits(expected.size(), 0.0);
          for (int64_t t = 0; t < tokens; t++) {
            for (int64_t h = 0; h < heads; h++) {
              for (int64_t i = 0; i < half; i++) {
                const size_t at = static_cast<size_t>(t * ldx + h * head_dim + i);
                const size_t other = at + static_cast<size_t>(half);
                const double c = cosines[(start + t) * half + i];
                const double s = sines[(start + t) * half + i];
                const double a = expected[at];
                const double b = expected[other];
                expected[at] = a * c - b * s;
                expected[other] = b * c + a * s;
                limits[at] = limits[other] = 2 * half_ulp * (fabs(a) + fabs(b));
              }
            }
          }
          against_definition<float>("rope", shape("rope", head_dim, rotary, kind), expected,
                                    limits_of(limits), [&](esp_context* ctx, float* y) {
                                      if (size > 0) memcpy(y, x, static_cast<size_t>(x.bytes()));
                                      return esp_rope(ctx, tokens, heads, head_dim, rotary, start,
                                                      positions, cosines, sines, y, ldx);
                                    });
        }
      }
    }
  }
}

CASE(elementwise_functions_match_their_definition) {
  for (int64_t n : {0, 1, 7, 8, 9, 15, 16, 17, 33, 1000, 40000}) {
    for (inputs kind : every_input) {
      buffer<float> a(n);
      buffer<float> b(n);
      fill(a, kind, 41, 6.0);
      fill(b, inputs::uniform, 42, 2.0);
      std::vector<double> product, product_limit, added, multiplied;
      for (int64_t i = 0; i < n; i++) {
        product.push_back(silu(a[i]) * b[i]);
        product_limit.push_back((12 + fabs(a[i])) * half_ulp * fabs(product.back()) +
                                200 * least_normal);
        added.push_back(a[i] + b[i]);
        multiplied.push_back(a[i] * b[i]);
      }
      const std::string label = format("n=%d %s", static_cast<int>(n), name_of(kind));
      against_definition<float>(
          "silu_mul", label, product, limits_of(product_limit),
          [&](esp_context* ctx, float* y) { return esp_silu_mul(ctx, n, a, b, y); });
      against_definition<float>("add", label, added, nullptr, [&](esp_context* ctx, float* y) {
        return esp_add(ctx, n, a, b, y);
      });
      against_definition<float>(
          "multiply", label, multiplied, nullptr,
          [&](esp_context* ctx, float* y) { return esp_multiply(ctx, n, a, b, y); });
      // In place.
      against_definition<float>("add", label + " in place", added, nullptr,
                                [&](esp_context* ctx, float* y) {
                                  if (n > 0) memcpy(y, b, static_cast<size_t>(b.bytes()));
                                  return esp_add(ctx, n, a, y, y);
                                });
      for (int32_t f = 0; f <= 3; f++) {
        std::vector<double> expected, limits;
        for (int64_t i = 0; i < n; i++) {
          expected.push_back(activated(f, a[i]));
          limits.push_back(activated_limit(f, a[i]));
        }
        against_definition<float>("activation", label + format(" kind=%d in place", f), expected,
                                  limits_of(limits), [&](esp_context* ctx, float* y) {
                                    if (n > 0) memcpy(y, a, static_cast<size_t>(a.bytes()));
                                    return esp_activation(ctx, n, f, y, y);
                                  });
      }
    }
  }
}

// One float of every 4096 consecutive ones of either sign, and the special ones.
CASE(activations_hold_over_the_whole_range) {
  std::vector<float> all;
  for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += 8191) {
    const uint32_t code = static_cast<uint32_t>(bits);
    float value;
    memcpy(&value, &code, sizeof value);
    if (fabsf(value) < 1e12f) all.push_back(value);
  }
  for (float value : {NAN, HUGE_VALF, 88.72f, 88.73f, -87.33f, -87.34f, -103.9f, -104.1f})
    all.push_back(value);
  const int64_t n = static_cast<int64_t>(all.size());
  buffer<float> x(n);
  memcpy(x, all.data(), all.size() * sizeof(float));
  for (int32_t f = 0; f <= 3; f++) {
    std::vector<double> expected, limits;
    for (float value : all) {
      expected.push_back(activated(f, value));
      limits.push_back(activated_limit(f, value));
    }
    against_definition<float>(
        "activation", format("kind=%d over the range", f), expected, limits_of(limits),
        [&](esp_context* ctx, float* y) { return esp_activation(ctx, n, f, x, y); });
  }
}

CASE(transformer_pieces_refuse_bad_arguments) {
  float x[16] = {};
  esp_context* const ctx = context();
  expect_status(ESP_INVALID_ARGUMENT, esp_rms_norm(ctx, 1, 4, x, 3, x, 0, x, 4), "rms_norm");
  expect_status(ESP_INVALID_ARGUMENT, esp_rms_norm(ctx, 1, 4, x, 4, nullptr, 0, x, 4), "rms_norm");
  expect_status(ESP_INVALID_ARGUMENT, esp_layer_norm(ctx, -1, 4, x, 4, x, x, 0, x, 4),
                "layer_norm");
  expect_status(ESP_INVALID_ARGUMENT, esp_rope(ctx, 1, 1, 4, 3, 0, 1, x, x, x, 4), "rope");
  expect_status(ESP_INVALID_ARGUMENT, esp_rope(ctx, 2, 1, 4, 4, 0, 1, x, x, x, 4), "rope");
  expect_status(ESP_INVALID_ARGUMENT, esp_activation(ctx, 1, 4, x, x), "activation");
  expect_status(ESP_INVALID_ARGUMENT, esp_add(ctx, 1, x, nullptr, x), "add");
  expect_status(ESP_OK, esp_add(ctx, 0, nullptr, nullptr, nullptr), "add");
}
