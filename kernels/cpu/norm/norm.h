// SPDX-License-Identifier: Apache-2.0
//
// What      Root mean square norm y = x / sqrt(mean(x^2) + eps) * weight, and layer norm
//           y = (x - mean) / sqrt(var + eps) * weight + bias with the biased variance.
// Layout    Row-major rows of `cols`; y may be x.
// Tile      `rows` rows, one after the other.
// Numerics  Sums, mean and factor in fp64. rms_norm rounds three times after that (factor, x *
//           factor, * weight): |error| <= 1.5 ulp + 0.5; layer_norm twice.
// Needs     The lanes of the file that includes this one.
// Tail      The last cols % lanes elements are masked.
#ifndef ESPALIER_NORM_H
#define ESPALIER_NORM_H

#include <math.h>
#include <stdint.h>

namespace esp {
namespace {

inline f32s part_at(const float* x, int64_t c, int64_t cols) {
  return c + lanes <= cols ? load(x + c) : load_tail(x + c, cols - c);
}

inline void put_at(float* y, int64_t c, int64_t cols, f32s value) {
  if (c + lanes <= cols) {
    store(y + c, value);
  } else {
    store_tail(y + c, value, cols - c);
  }
}

inline void rms_norm_rows(int64_t rows, int64_t cols, const float* x /* [rows, cols] */,
                          int64_t ldx, const float* weight, float eps, float* y /* [rows, cols] */,
                          int64_t ldy) {
  for (int64_t r = 0; r < rows; r++) {
    const float* const in = x + r * ldx;
    float* const out = y + r * ldy;
    f64s low = zeros64();
    f64s high = zeros64();
    for (int64_t c = 0; c < cols; c += lanes) {
      const f32s part = part_at(in, c, cols);
      low = fma(low_half(part), low_half(part), low);
      high = fma(high_half(part), high_half(part), high);
    }
    const double mean = sum(add(low, high)) / static_cast<double>(cols);
    const f32s factor = every(static_cast<float>(1.0 / sqrt(mean + static_cast<double>(eps))));
    for (int64_t c = 0; c < cols; c += lanes) {
      const f32s scaled = multiply(part_at(in, c, cols), factor);
      put_at(out, c, cols, multiply(scaled, part_at(weight, c, cols)));
    }
  }
}

inline void layer_norm_rows(int64_t rows, int64_t cols, const float* x /* [rows, cols] */,
                            int64_t ldx, const float* weight, const float* bias, float eps,
                            float* y /* [rows, cols] */, int64_t ldy) {
  for (int64_t r = 0; r < rows; r++) {
    const float* const in = x + r * ldx;
    float* const out = y + r * ldy;
    f64s low = zeros64();
    f64s high = zeros64();
    for (int64_t c = 0; c < cols; c += lanes) {
      const f32s part = part_at(in, c, cols);
      low = add(low, low_half(part));
      high = add(high, high_half(part));
    }
    const double mean = sum(add(low, high)) / static_cast<double>(cols);
    const f64s means = every64(mean);
    low = high = zeros64();
    int64_t whole = 0;
    for (; whole + lanes <= cols; whole += lanes) {
      const f32s part = load(in + whole);
      const f64s first = subtract(low_half(part), means);
      const f64s second = subtract(high_half(part), means);
      low = fma(first, first, low);
      high = fma(second, second, high);
    }
    // The zeros of a masked tail would count as 0 - mean: the last elements one by one.
    double squares = sum(add(low, high));
    for (int64_t c = whole; c < cols; c++) squares += (in[c] - mean) * (in[c] - mean);
    const double variance = squares / static_cast<double>(cols);
    const f64s factor = every64(1.0 / sqrt(variance + static_cast<double>(eps)));
    for (int64_t c = 0; c < cols; c += lanes) {
      const f32s part = part_at(in, c, cols);
      const f32s scaled = join(multiply(subtract(low_half(part), means), factor),
                               multiply(subtract(high_half(part), means), factor));
      const f32s shift = bias != nullptr ? part_at(bias, c, cols) : zeros();
      put_at(out, c, cols, fma(scaled, part_at(weight, c, cols), shift));
    }
  }
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_NORM_H
