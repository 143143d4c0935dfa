// SPDX-License-Identifier: Apache-2.0
//
// What      Gradients of the norms and sums of columns; reference/norm_backward.cpp has the
// formulas. Layout    Row-major rows of `cols`, without gaps. Tile      norm_backward: some rows,
// one after the other. The others: a vector of columns over all
//           rows.
// Numerics  Sums in fp64; normalised inputs and products in fp32: 6 eps of the largest term.
// Needs     The lanes of the file that includes this one; elementwise_backward.h.
// Tail      Columns beyond the last vector are masked.
#ifndef ESPALIER_NORM_BACKWARD_H
#define ESPALIER_NORM_BACKWARD_H

#include <math.h>

#include "cpu/gradients/elementwise_backward.h"

namespace esp {
namespace {

// Sums over a row of fp32 vectors, in two halves.
struct row_sum {
  f64s low = zeros64();
  f64s high = zeros64();

  void take(f32s x) {
    low = add(low, low_half(x));
    high = add(high, high_half(x));
  }
  void take_product(f32s a, f32s b) {
    low = fma(low_half(a), low_half(b), low);
    high = fma(high_half(a), high_half(b), high);
  }
  double total() const { return sum(add(low, high)); }
};

inline double mean_of(int64_t cols, const float* x) {
  row_sum plain;
  for (int64_t c = 0; c < cols; c += lanes) plain.take(take(x, c, cols));
  return plain.total() / static_cast<double>(cols);
}

// sum (x - mean)^2; the masked lanes of a tail would count as 0 - mean.
inline double spread(int64_t cols, const float* x, double mean) {
  if (mean == 0.0) return squares(cols, x);
  const f64s means = every64(mean);
  f64s low = zeros64();
  f64s high = zeros64();
  int64_t c = 0;
  for (; c + lanes <= cols; c += lanes) {
    const f32s part = load(x + c);
    const f64s first = subtract(low_half(part), means);
    const f64s second = subtract(high_half(part), means);
    low = fma(first, first, low);
    high = fma(second, second, high);
  }
  double total = sum(add(low, high));
  for (; c < cols; c++) total += (x[c] - mean) * (x[c] - mean);
  return total;
}

// (x - mean) * factor, differences in fp64: a mean far from 0 must not cost digits.
inline f32s normalised(f32s x, f64s mean, f64s factor) {
  return join(multiply(subtract(low_half(x), mean), factor),
              multiply(subtract(high_half(x), mean), factor));
}

inline void norm_rows_backward(int64_t rows, int64_t cols, bool centred, const float* x,
                               const float* weight, float eps, const float* dy, double* statistics,
                               float* dx) {
  const double count = static_cast<double>(cols);
  for (int64_t r = 0; r < rows; r++) {
    const float* const in = x + r * cols;
    const double mean = centred ? mean_of(cols, in) : 0.0;
    const double factor = 1.0 / sqrt(spread(cols, in, mean) / count + static_cast<double>(eps));
    statistics[2 * r] = mean;
    statistics[2 * r + 1] = factor;
    if (dx == nullptr) continue;
    const float* const upstream = dy + r * cols;
    float* const out = dx + r * cols;
    const f64s means = every64(mean);
    const f64s factors = every64(factor);
    row_sum plain;
    row_sum along;
    for (int64_t c = 0; c < cols; c += lanes) {
      // The lanes beyond the end have weight 0.
      const f32s g = multiply(take(upstream, c, cols), take(weight, c, cols));
      if (centred) plain.take(g);
      along.take_product(g, normalised(take(in, c, cols), means, factors));
    }
    const f32s shift = every(static_cast<float>(centred ? plain.total() / count : 0.0));
    const f32s tilt = every(static_cast<float>(along.total() / count));
    const f32s size = every(static_cast<float>(factor));
    for (int64_t c = 0; c < cols; c += lanes) {
      const f32s g = multiply(take(upstream, c, cols), take(weight, c, cols));
      const f32s n = normalised(take(in, c, cols), means, factors);
      put(out, c, cols, fma(size, fnma(n, tilt, subtract(g, shift)), take(out, c, cols)));
    }
  }
}

// y[c..] += the sums, if y is there.
inline void add_sums(float* y, int64_t c, int64_t end, f64s low, f64s high) {
  if (y == nullptr) return;
  const f32s before = take(y, c, end);
  put(y, c, end, join(add(low_half(before), low), add(high_half(before), high)));
}

inline void norm_columns_backward(int64_t rows, int64_t cols, int64_t begin, int64_t end,
                                  const float* x, const double* statistics, const float* dy,
                                  float* dweight, float* dbias) {
  for (int64_t c = begin; c < end; c += lanes) {
    f64s weight_low = zeros64();
    f64s weight_high = zeros64();
    f64s bias_low = zeros64();
    f64s bias_high = zeros64();
    for (int64_t r = 0; r < rows; r++) {
      const f32s upstream = take(dy + r * cols, c, end);
      const f32s in = take(x + r * cols, c, end);
      const f64s mean = every64(statistics[2 * r]);
      const f64s factor = every64(statistics[2 * r + 1]);
      const f64s low = low_half(upstream);
      const f64s high = high_half(upstream);
      weight_low = fma(low, multiply(subtract(low_half(in), mean), factor), weight_low);
      weight_high = fma(high, multiply(subtract(high_half(in), mean), factor), weight_high);
      bias_low = add(bias_low, low);
      bias_high = add(bias_high, high);
    }
    add_sums(dweight, c, end, weight_low, weight_high);
    add_sums(dbias, c, end, bias_low, bias_high);
  }
}

inline void add_column_sums(int64_t rows, int64_t cols, int64_t begin, int64_t end, const float* x,
                            float* y) {
  for (int64_t c = begin; c < end; c += lanes) {
    f64s low = zeros64();
    f64s high = zeros64();
    for (int64_t r = 0; r < rows; r++) {
      const f32s part = take(x + r * cols, c, end);
      low = add(low, low_half(part));
      high = add(high, high_half(part));
    }
    add_sums(y, c, end, low, high);
  }
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_NORM_BACKWARD_H
