// SPDX-License-Identifier: Apache-2.0
//
// Losses with their gradients, and optimiser steps: argument checks and tiles.
#include <math.h>
#include <string.h>

#include "internal.h"
#include "operations.h"

using namespace esp;

namespace {

constexpr int64_t tile_elements = 1 << 14;

// *total = the sum of f(begin, end) over tiles of n, added in the order of tiles.
template <class F>
esp_status sum_tiles(esp_context* ctx, const char* op, int64_t n, double* total, F f) {
  const int64_t tiles = esp::ceil_div(n, tile_elements);
  const int64_t bytes = tiles * static_cast<int64_t>(sizeof(double));
  double* const parts = static_cast<double*>(esp::scratch(ctx, 0, bytes));
  if (parts == nullptr)
    return esp::fail(ESP_OUT_OF_MEMORY, "%s: no scratch of %lld bytes", op,
                     static_cast<long long>(bytes));
  const esp_status status =
      esp::parallel_tiles(ctx, tiles, [&](int64_t tile, int32_t) -> esp_status {
        parts[tile] = f(tile * tile_elements, esp::min_of(n, (tile + 1) * tile_elements));
        return ESP_OK;
      });
  *total = 0.0;
  for (int64_t tile = 0; tile < tiles; tile++) *total += parts[tile];
  return status;
}

template <class F>
esp_status ranges(esp_context* ctx, int64_t n, F f) {
  return esp::parallel_tiles(ctx, esp::ceil_div(n, tile_elements),
                             [&](int64_t tile, int32_t) -> esp_status {
                               f(tile * tile_elements, esp::min_of(n, (tile + 1) * tile_elements));
                               return ESP_OK;
                             });
}

bool is_part(double skew) {
  return skew >= 0.0 && skew < 1.0;
}

}  // namespace

extern "C" {

esp_status esp_cross_entropy_backward(esp_context* ctx, int64_t rows, int64_t vocabulary,
                                      const float* logits, const int32_t* targets, float scale,
                                      float* gradient, double* loss) noexcept {
  const char* const op = "cross_entropy_backward";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, rows >= 0, "rows >= 0", rows);
  ESP_REQUIRE(op, vocabulary >= 0, "vocabulary >= 0", vocabulary);
  if (rows == 0) return ESP_OK;
  ESP_REQUIRE(op, targets != nullptr, "not NULL", targets != nullptr);
  ESP_REQUIRE(op, loss != nullptr, "not NULL", loss != nullptr);
  for (int64_t r = 0; r < rows; r++)
    ESP_REQUIRE(op, targets[r] < vocabulary, "target < vocabulary", targets[r]);
  const bool given = logits != nullptr && gradient != nullptr;
  ESP_REQUIRE(op, vocabulary == 0 || given, "logits and gradient not NULL", given);
  const auto kernel = ESP_KERNEL(ctx, cross_entropy_backward);
  return esp::parallel_tiles(ctx, rows, [&](int64_t r, int32_t) -> esp_status {
    float* const out = gradient + r * vocabulary;
    if (targets[r] < 0) {
      loss[r] = 0.0;
      memset(out, 0, static_cast<size_t>(vocabulary) * sizeof(float));
    } else {
      loss[r] = kernel(vocabulary, logits + r * vocabulary, targets[r], scale, out);
    }
    return ESP_OK;
  });
}

esp_status esp_divergence_backward(esp_context* ctx, int64_t rows, int64_t vocabulary,
                                   const float* teacher, const float* student,
                                   const int32_t* targets, double forward, double forward_skew,
                                   double reverse, double reverse_skew, double variation,
                                   double temperature, float scale, int32_t add, float* gradient,
                                   double* loss) noexcept {
  const char* const op = "divergence_backward";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, rows >= 0, "rows >= 0", rows);
  ESP_REQUIRE(op, vocabulary >= 0, "vocabulary >= 0", vocabulary);
  ESP_REQUIRE(op, is_part(forward_skew), "0 <= forward_skew < 1", forward_skew);
  ESP_REQUIRE(op, is_part(reverse_skew), "0 <= reverse_skew < 1", reverse_skew);
  ESP_REQUIRE(op, temperature > 0.0, "temperature > 0", temperature);
  if (rows == 0) return ESP_OK;
  ESP_REQUIRE(op, targets != nullptr, "not NULL", targets != nullptr);
  ESP_REQUIRE(op, loss != nullptr, "not NULL", loss != nullptr);
  const bool given = teacher != nullptr && student != nullptr && gradient != nullptr;
  ESP_REQUIRE(op, vocabulary == 0 || given, "teacher, student and gradient not NULL", given);
  ESP_REQUIRE(op, add == 0 || gradient != student, "a gradient apart from student", add);
  const esp::divergence_weights weights{forward, forward_skew, reverse, reverse_skew, variation};
  const auto kernel = ESP_KERNEL(ctx, divergence_backward);
  return esp::parallel_tiles(ctx, rows, [&](int64_t r, int32_t) -> esp_status {
    float* const out = gradient + r * vocabulary;
    loss[r] = 0.0;
    if (targets[r] >= 0) {
      loss[r] = kernel(vocabulary, teacher + r * vocabulary, student + r * vocabulary, weights,
                       temperature, scale, add != 0, out);
    } else if (add == 0) {
      memset(out, 0, static_cast<size_t>(vocabulary) * sizeof(float));
    }
    return ESP_OK;
  });
}

esp_status esp_squared_error_backward(esp_context* ctx, int64_t n, const float* x,
                                      const float* target, float scale, float* dx,
                                      double* sum) noexcept {
  const char* const op = "squared_error_backward";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, n >= 0, "n >= 0", n);
  ESP_REQUIRE(op, sum != nullptr, "not NULL", sum != nullptr);
  *sum = 0.0;
  if (n == 0) return ESP_OK;
  const bool given = x != nullptr && target != nullptr && dx != nullptr;
  ESP_REQUIRE(op, given, "no NULL operand", given);
  const auto kernel = ESP_KERNEL(ctx, squared_error_backward);
  return sum_tiles(ctx, op, n, sum, [=](int64_t begin, int64_t end) {
    return kernel(end - begin, x + begin, target + begin, scale, dx + begin);
  });
}

esp_status esp_sum_of_squares(esp_context* ctx, int64_t n, const float* x, double* sum) noexcept {
  const char* const op = "sum_of_squares";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, n >= 0, "n >= 0", n);
  ESP_REQUIRE(op, sum != nullptr, "not NULL", sum != nullptr);
  *sum = 0.0;
  if (n == 0) return ESP_OK;
  ESP_REQUIRE(op, x != nullptr, "not NULL", x != nullptr);
  const auto kernel = ESP_KERNEL(ctx, sum_of_squares);
  return sum_tiles(ctx, op, n, sum,
                   [=](int64_t begin, int64_t end) { return kernel(end - begin, x + begin); });
}

esp_status esp_adamw(esp_context* ctx, int64_t n, int64_t step, double rate, double beta1,
                     double beta2, double eps, double decay, double gradient_factor,
                     const float* gradient, float* moment, float* square,
                     float* parameter) noexcept {
  const char* const op = "adamw";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, n >= 0, "n >= 0", n);
  ESP_REQUIRE(op, step >= 1, "step >= 1", step);
  ESP_REQUIRE(op, is_part(beta1), "0 <= beta1 < 1", beta1);
  ESP_REQUIRE(op, is_part(beta2), "0 <= beta2 < 1", beta2);
  if (n == 0) return ESP_OK;
  const bool given =
      gradient != nullptr && moment != nullptr && square != nullptr && parameter != nullptr;
  ESP_REQUIRE(op, given, "no NULL operand", given);
  const double k = static_cast<double>(step);
  esp::adamw_step s{};
  s.decay = static_cast<float>(1.0 - rate * decay);
  s.first = static_cast<float>(beta1);
  s.second = static_cast<float>(beta2);
  s.first_left = static_cast<float>(1.0 - beta1);
  s.second_left = static_cast<float>(1.0 - beta2);
  s.step = static_cast<float>(rate / (1.0 - pow(beta1, k)));
  s.root_factor = static_cast<float>(1.0 / sqrt(1.0 - pow(beta2, k)));
  s.eps = static_cast<float>(eps);
  s.gradient_factor = static_cast<float>(gradient_factor);
  const auto kernel = ESP_KERNEL(ctx, adamw);
  return ranges(ctx, n, [=](int64_t begin, int64_t end) {
    kernel(end - begin, s, gradient + begin, moment + begin, square + begin, parameter + begin);
  });
}

esp_status esp_sgd(esp_context* ctx, int64_t n, int32_t sign, double rate, double momentum,
                   double decay, double gradient_factor, const float* gradient, float* velocity,
                   float* parameter) noexcept {
  const char* const op = "sgd";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, n >= 0, "n >= 0", n);
  if (n == 0) return ESP_OK;
  const bool given = gradient != nullptr && parameter != nullptr;
  ESP_REQUIRE(op, given, "gradient and parameter not NULL", given);
  const esp::sgd_step s{static_cast<float>(rate), static_cast<float>(1.0 - rate * decay),
                        static_cast<float>(momentum), static_cast<float>(gradient_factor),
                        sign != 0};
  const auto kernel = ESP_KERNEL(ctx, sgd);
  return ranges(ctx, n, [=](int64_t begin, int64_t end) {
    kernel(end - begin, s, gradient + begin, velocity == nullptr ? nullptr : velocity + begin,
           parameter + begin);
  });
}

}  // extern "C"
