// SPDX-License-Identifier: Apache-2.0
//
// Gradients of elementwise functions, norms, linear maps and embeddings, and optimiser steps,
// against their fp64 definitions. What is added to begins at 0.25.
#include <math.h>

#include "harness.h"

using namespace cases;

namespace {

constexpr double half_ulp = 0x1p-24;
constexpr double least_normal = 0x1p-126;
constexpr float before = 0.25f;
constexpr int64_t sizes[] = {0, 1, 7, 8, 9, 15, 16, 17, 33, 20000};

double sigmoid(double x) {
  return 1.0 / (1.0 + exp(-x));
}

double slope(int32_t kind, double x) {
  if (kind == 0) return sigmoid(x) * (1.0 + x * (1.0 - sigmoid(x)));
  if (kind == 1) return 0.5 * erfc(-x * M_SQRT1_2) + x * exp(-0.5 * x * x) / sqrt(2.0 * M_PI);
  if (kind == 2) {
    const double u = sqrt(M_2_PI) * (x + 0.044715 * x * x * x);
    const double t = tanh(u);
    return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * sqrt(M_2_PI) * (1.0 + 3 * 0.044715 * x * x);
  }
  return x > 0.0 ? 1.0 : 0.0;
}

struct expectation {
  std::vector<double> values;
  std::vector<double> limits;

  // A sum of `before` and terms, with the error of the terms.
  void expect_sum(double added, double error) {
    values.push_back(before + added);
    limits.push_back(half_ulp * fabs(before + added) + error + least_normal);
  }
  bound limit() const {
    return [this](int64_t i) { return limits[static_cast<size_t>(i)]; };
  }
};

void begin(float* y, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = before;
}

std::string label(const char* what, int64_t n, inputs kind) {
  return format("%s n=%d %s", what, static_cast<int>(n), name_of(kind));
}

}  // namespace

CASE(elementwise_gradients_match_their_definition) {
  for (int64_t n : sizes) {
    for (inputs kind : every_input) {
      buffer<float> x(n), up(n), dy(n), other(n);
      fill(x, kind, 201, 5.0);
      fill(up, inputs::uniform, 202, 2.0);
      fill(dy, inputs::heavy_tailed, 203, 1.0);
      expectation product, gate, ups;
      for (int64_t i = 0; i < n; i++) {
        const double d = dy[i];
        const double v = x[i];
        const double tail = 16 * half_ulp * (1.0 + fabs(v));
        product.expect_sum(v * d, half_ulp * fabs(v * d));
        gate.expect_sum(d * up[i] * slope(0, v), tail * fabs(d * up[i]));
        ups.expect_sum(d * v * sigmoid(v), tail * fabs(d * v));
      }
      against_definition<float>("multiply_add", label("product", n, kind), product.values,
                                product.limit(), [&](esp_context* ctx, float* y) {
                                  begin(y, n);
                                  return esp_multiply_add(ctx, n, x, dy, y);
                                });
      against_definition<float>("silu_mul_backward", label("gate", n, kind), gate.values,
                                gate.limit(), [&](esp_context* ctx, float* y) {
                                  begin(y, n);
                                  return esp_silu_mul_backward(ctx, n, x, up, dy, y, other);
                                });
      against_definition<float>("silu_mul_backward", label("up", n, kind), ups.values, ups.limit(),
                                [&](esp_context* ctx, float* y) {
                                  begin(y, n);
                                  return esp_silu_mul_backward(ctx, n, x, up, dy, other, y);
                                });
      for (int32_t function = 0; function < 4; function++) {
        expectation dx;
        for (int64_t i = 0; i < n; i++) {
          const double error = 16 * half_ulp * (1.0 + fabs(x[i])) * fabs(dy[i]);
          dx.expect_sum(slope(function, x[i]) * dy[i], function == 3 ? 0.0 : error);
        }
        against_definition<float>("activation_backward",
                                  label(format("function %d", function).c_str(), n, kind),
                                  dx.values, dx.limit(), [&](esp_context* ctx, float* y) {
                                    begin(y, n);
                                    return esp_activation_backward(ctx, n, function, x, dy, y);
                                  });
      }
    }
  }
}

CASE(norm_gradients_match_their_definition) {
  for (int64_t cols : {1, 7, 8, 9, 16, 17, 33, 100, 288}) {
    for (int64_t rows : {0, 1, 3, 37}) {
      for (inputs kind : {inputs::uniform, inputs::heavy_tailed, inputs::all_max}) {
        for (int32_t centred = 0; centred < 2; centred++) {
          const int64_t size = rows * cols;
          buffer<float> x(size), weight(cols), dy(size), other(size);
          buffer<float> dweight(cols), dbias(cols);
          buffer<double> statistics(2 * rows);
          fill(x, kind, 211, 2.0);
          fill(weight, inputs::uniform, 212);
          fill(dy, inputs::uniform, 213);
          const float eps = 1e-3f;
          const double n = static_cast<double>(cols);
          expectation dx, dw, db;
          std::vector<double> w(static_cast<size_t>(cols)), w_size(static_cast<size_t>(cols));
          std::vector<double> b(static_cast<size_t>(cols)), b_size(static_cast<size_t>(cols));
          for (int64_t r = 0; r < rows; r++) {
            const float* const row = x + r * cols;
            double mean = 0.0, squares = 0.0, plain = 0.0, along = 0.0, size_of_row = 0.0;
            for (int64_t c = 0; c < cols; c++) mean += row[c] / n;
            if (centred == 0) mean = 0.0;
            for (int64_t c = 0; c < cols; c++) squares += (row[c] - mean) * (row[c] - mean);
            const double factor = 1.0 / sqrt(squares / n + eps);
            for (int64_t c = 0; c < cols; c++) {
              const double g = static_cast<double>(dy[r * cols + c]) * weight[c];
              plain += g / n;
              along += g * (row[c] - mean) * factor / n;
              size_of_row += fabs(g) * (1.0 + fabs(row[c] - mean) * factor) / n;
            }
            for (int64_t c = 0; c < cols; c++) {
              const double g = static_cast<double>(dy[r * cols + c]) * weight[c];
              const double normed = (row[c] - mean) * factor;
              const double added = factor * (g - (centred != 0 ? plain : 0.0) - normed * along);
              dx.expect_sum(added,
                            6 * half_ulp * factor * (fabs(g) + size_of_row * (1.0 + fabs(normed))) +
                                1e-12 * fabs(mean) * factor);
              const size_t at = static_cast<size_t>(c);
              w[at] += dy[r * cols + c] * normed;
              w_size[at] += fabs(dy[r * cols + c] * normed);
              b[at] += dy[r * cols + c];
              b_size[at] += fabs(dy[r * cols + c]);
            }
          }
          for (int64_t c = 0; c < cols; c++) {
            const size_t at = static_cast<size_t>(c);
            if (rows == 0) break;
            dw.expect_sum(w[at], 4 * half_ulp * w_size[at] * 1e-3 + half_ulp * fabs(w[at]) + 1e-10);
            db.expect_sum(b[at], half_ulp * fabs(b[at]) + 1e-12 * b_size[at]);
          }
          const std::string name =
              format("%s %d x %d %s", centred != 0 ? "layer" : "rms", static_cast<int>(rows),
                     static_cast<int>(cols), name_of(kind));
          against_definition<float>(
              "norm_backward", name, dx.values, dx.limit(), [&](esp_context* ctx, float* y) {
                begin(y, size);
                return esp_norm_backward(ctx, rows, cols, centred, x, weight, eps, dy, statistics,
                                         y, nullptr, nullptr);
              });
          if (rows == 0) continue;
          against_definition<float>("norm_parameters_backward", name + " weight", dw.values,
                                    dw.limit(), [&](esp_context* ctx, float* y) {
                                      begin(y, cols);
                                      return esp_norm_backward(ctx, rows, cols, centred, x, weight,
                                                               eps, dy, statistics, nullptr, y,
                                                               nullptr);
                                    });
          against_definition<float>("norm_parameters_backward", name + " bias", db.values,
                                    db.limit(), [&](esp_context* ctx, float* y) {
                                      begin(y, cols);
                                      return esp_norm_backward(ctx, rows, cols, centred, x, weight,
                                                               eps, dy, statistics, nullptr,
                                                               nullptr, y);
                                    });
        }
      }
    }
  }
}

CASE(linear_gradients_match_their_definition) {
  struct size {
    int64_t m, n, k;
  };
  for (const size s : {size{1, 1, 1}, size{5, 7, 9}, size{17, 33, 16}, size{600, 40, 130},
                       size{3, 2100, 20}, size{20, 300, 270}}) {
    for (int32_t in_out = 0; in_out < 2; in_out++) {
      for (esp_dtype type : {ESP_F32, ESP_BF16, ESP_F16}) {
        buffer<float> x(s.m * s.k), w(s.n * s.k), dy(s.m * s.n);
        fill(x, inputs::uniform, 221);
        fill(w, inputs::uniform, 222);
        fill(dy, inputs::uniform, 223);
        // Weights of 16 bits that fp32 holds exactly.
        buffer<uint16_t> codes(type == ESP_F32 ? 0 : s.n * s.k);
        if (type != ESP_F32) {
          esp_convert_from_f32(context(), s.n * s.k, type, w, codes);
          esp_convert_to_f32(context(), s.n * s.k, type, codes, w);
        }
        const void* const weights =
            type == ESP_F32 ? static_cast<const void*>(w.data()) : codes.data();
        const auto weight = [&](int64_t out, int64_t in) {
          return static_cast<double>(in_out != 0 ? w[in * s.n + out] : w[out * s.k + in]);
        };
        expectation dx, dw, db;
        for (int64_t i = 0; i < s.m; i++) {
          for (int64_t c = 0; c < s.k; c++) {
            double sum = 0.0, total = 0.0;
            for (int64_t o = 0; o < s.n; o++) {
              sum += dy[i * s.n + o] * weight(o, c);
              total += fabs(dy[i * s.n + o] * weight(o, c));
            }
            dx.expect_sum(sum, static_cast<double>(s.n + 2) * half_ulp * (total + before));
          }
        }
        const int64_t height = in_out != 0 ? s.k : s.n;
        const int64_t width = in_out != 0 ? s.n : s.k;
        for (int64_t a = 0; a < height; a++) {
          for (int64_t b = 0; b < width; b++) {
            const int64_t out = in_out != 0 ? b : a;
            const int64_t in = in_out != 0 ? a : b;
            double sum = 0.0, total = 0.0;
            for (int64_t i = 0; i < s.m; i++) {
              const double term = static_cast<double>(dy[i * s.n + out]) * x[i * s.k + in];
              sum += term;
              total += fabs(term);
            }
            dw.expect_sum(sum, static_cast<double>(s.m + 2) * half_ulp * (total + before));
          }
        }
        for (int64_t o = 0; o < s.n; o++) {
          double sum = 0.0;
          for (int64_t i = 0; i < s.m; i++) sum += dy[i * s.n + o];
          db.expect_sum(sum, half_ulp * fabs(sum) + 1e-10);
        }
        const std::string name = format("%d x %d x %d in_out=%d type=%d", static_cast<int>(s.m),
                                        static_cast<int>(s.n), static_cast<int>(s.k), in_out, type);
        // The rows of the operation are those of its bias; the products are BLAS's.
        against_definition<float>(
            "column_sums", name + " dx", dx.values, dx.limit(), [&](esp_context* ctx, float* y) {
              begin(y, s.m * s.k);
              return esp_linear_backward(ctx, s.m, s.n, s.k, in_out, nullptr, type, weights, dy, y,
                                         nullptr, nullptr);
            });
        if (type != ESP_F32) continue;
        against_definition<float>("column_sums", name + " dw", dw.values, dw.limit(),
                                  [&](esp_context* ctx, float* y) {
                                    begin(y, s.n * s.k);
                                    return esp_linear_backward(ctx, s.m, s.n, s.k, in_out, x, type,
                                                               nullptr, dy, nullptr, y, nullptr);
                                  });
        against_definition<float>(
            "column_sums", name + " db", db.values, db.limit(), [&](esp_context* ctx, float* y) {
              begin(y, s.n);
              return esp_linear_backward(ctx, s.m, s.n, s.k, in_out, nullptr, type, nullptr, dy,
                                         nullptr, nullptr, y);
            });
      }
    }
  }
}

CASE(embedding_gradient_sums_the_rows_of_an_id) {
  constexpr int64_t tokens = 9;
  constexpr int64_t vocabulary = 5;
  for (int64_t width : {1, 8, 63, 65, 200}) {
    buffer<int32_t> ids(tokens);
    fill_integers(ids.data(), tokens, 0, vocabulary - 1, inputs::uniform, 231);
    buffer<float> dy(tokens * width);
    fill(dy, inputs::uniform, 232);
    expectation table;
    for (int64_t v = 0; v < vocabulary; v++) {
      for (int64_t c = 0; c < width; c++) {
        double sum = 0.0, total = before;
        for (int64_t t = 0; t < tokens; t++) {
          if (ids[t] == v) sum += dy[t * width + c];
          if (ids[t] == v) total += fabs(dy[t * width + c]);
        }
        table.expect_sum(sum, tokens * half_ulp * total);
      }
    }
    against_definition<float>("add", format("width %d", static_cast<int>(width)), table.values,
                              table.limit(), [&](esp_context* ctx, float* y) {
                                begin(y, vocabulary * width);
                                return esp_embedding_backward(ctx, tokens, vocabulary, width, ids,
                                                              dy, y);
                              });
    ids[3] = vocabulary;
    buffer<float> unused(vocabulary * width);
    expect_status(ESP_INVALID_ARGUMENT,
                  esp_embedding_backward(context(), tokens, vocabulary, width, ids, dy, unused),
                  "embedding_backward");
  }
}

CASE(accumulate_adds_columns_and_zero_clears) {
  constexpr int64_t rows = 35;
  constexpr int64_t cols = 9;
  buffer<float> x(rows * 20 - 11);
  fill(x, inputs::uniform, 241);
  std::vector<double> sums(rows * 12 - 3, 0.25);
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < cols; c++)
      sums[static_cast<size_t>(r * 12 + c)] = static_cast<double>(0.25f + x[r * 20 + c]);
  against_definition<float>("add", "columns", sums, within(0.0), [&](esp_context* ctx, float* y) {
    begin(y, rows * 12 - 3);
    return esp_accumulate(ctx, rows, cols, x, 20, y, 12);
  });
  buffer<float> y(40000);
  begin(y, y.size());
  expect_status(ESP_OK, esp_zero(context(3), y.size(), y), "zero");
  for (float value : y) expect(value == 0.0f, "zero left %g", static_cast<double>(value));
}

CASE(optimizer_steps_match_their_definition) {
  for (int64_t n : sizes) {
    buffer<float> g(n), start(n), moment(n), square(n);
    fill(g, inputs::heavy_tailed, 251, 0.5);
    fill(start, inputs::uniform, 252);
    if (n > 3) g[3] = 0.0f;
    const double rate = 0.01, b1 = 0.9, b2 = 0.95, eps = 1e-8, decay = 0.1, factor = 0.5;
    expectation adam, sgd, momentum, sign;
    for (int64_t i = 0; i < n; i++) {
      const double p = start[i];
      const double gradient = factor * g[i];
      const double m = b1 * 0.25 + (1 - b1) * gradient;
      const double v = b2 * 0.25 + (1 - b2) * gradient * gradient;
      const double step = rate * (m / (1 - pow(b1, 3))) / (sqrt(v / (1 - pow(b2, 3))) + eps);
      const double kept = p - rate * decay * p;
      const double velocity = 0.7 * 0.25 + gradient;
      const auto add = [&](expectation* e, double moved) {
        e->values.push_back(kept - moved);
        e->limits.push_back(4 * half_ulp * (fabs(p) + 3 * fabs(moved)) + least_normal);
      };
      // A moment of near cancellation keeps the absolute error of its terms.
      add(&adam, step);
      adam.limits.back() += 8 * half_ulp * rate * (0.25 + fabs(gradient)) / sqrt(v);
      add(&sgd, rate * gradient);
      add(&momentum, rate * velocity);
      momentum.limits.back() += 4 * half_ulp * rate * (0.25 + fabs(gradient));
      add(&sign, g[i] > 0.0f ? rate : (g[i] < 0.0f ? -rate : 0.0));
    }
    const auto reset = [&](float* y) {
      for (int64_t i = 0; i < n; i++) y[i] = start[i];
      begin(moment, n);
      begin(square, n);
    };
    const std::string name = format("n=%d", static_cast<int>(n));
    against_definition<float>(
        "adamw", name, adam.values, adam.limit(), [&](esp_context* ctx, float* y) {
          reset(y);
          return esp_adamw(ctx, n, 3, rate, b1, b2, eps, decay, factor, g, moment, square, y);
        });
    against_definition<float>("sgd", name, sgd.values, sgd.limit(),
                              [&](esp_context* ctx, float* y) {
                                reset(y);
                                return esp_sgd(ctx, n, 0, rate, 0.0, decay, factor, g, nullptr, y);
                              });
    against_definition<float>("sgd", name + " momentum", momentum.values, momentum.limit(),
                              [&](esp_context* ctx, float* y) {
                                reset(y);
                                return esp_sgd(ctx, n, 0, rate, 0.7, decay, factor, g, moment, y);
                              });
    against_definition<float>("sgd", name + " sign", sign.values, sign.limit(),
                              [&](esp_context* ctx, float* y) {
                                reset(y);
                                return esp_sgd(ctx, n, 1, rate, 0.0, decay, factor, g, nullptr, y);
                              });
    double total = 0.0;
    for (int64_t i = 0; i < n; i++) total += static_cast<double>(g[i]) * g[i];
    against_definition<double>(
        "sum_of_squares", name, {total}, within(1e-12 * total),
        [&](esp_context* ctx, double* sum) { return esp_sum_of_squares(ctx, n, g, sum); });
  }
}
