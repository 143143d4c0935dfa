// SPDX-License-Identifier: Apache-2.0
//
// What      Gradients of silu(gate) * up and of the activations, y += a * b, and optimiser steps;
// the
//           formulas stand in reference/elementwise_backward.cpp and reference/optimizer.cpp.
// Layout    n consecutive elements; gradients are added to what is there.
// Tile      n elements.
// Numerics  fp32: a slope errs by 16 eps * (1 + |x|) (the exponent's rounding, multiplied by it),
//           the sum by eps. Sums of squares and of squared errors in fp64.
// Needs     The lanes of the file that includes this one; exponential.h; elementwise.h.
// Tail      The last n % lanes elements are masked.
#ifndef ESPALIER_ELEMENTWISE_BACKWARD_H
#define ESPALIER_ELEMENTWISE_BACKWARD_H

#include "cpu/elementwise/elementwise.h"
#include "operations.h"

namespace esp {
namespace {

inline f32s take(const float* x, int64_t i, int64_t n) {
  return i + lanes <= n ? load(x + i) : load_tail(x + i, n - i);
}

inline void put(float* y, int64_t i, int64_t n, f32s value) {
  if (i + lanes <= n) {
    store(y + i, value);
  } else {
    store_tail(y + i, value, n - i);
  }
}

inline void add_products(int64_t n, const float* a, const float* b, float* y) {
  for (int64_t i = 0; i < n; i += lanes)
    put(y, i, n, add(take(y, i, n), multiply(take(a, i, n), take(b, i, n))));
}

inline f32s sigmoid(f32s x) {
  return divide(every(1.0f), add(every(1.0f), exponential(subtract(zeros(), x))));
}

// s + x s (1 - s) of s = sigmoid(x).
inline f32s silu_slope_of(f32s x, f32s s) {
  return fma(multiply(x, s), subtract(every(1.0f), s), s);
}

inline f32s silu_slope(f32s x) {
  return silu_slope_of(x, sigmoid(x));
}

inline f32s gelu_erf_slope(f32s x) {
  const f32s density = multiply(every(0.39894228f),  // 1 / sqrt(2 pi)
                                exponential(multiply(multiply(x, x), every(-0.5f))));
  return fma(x, density, normal_distribution(x));
}

inline f32s gelu_tanh_slope(f32s x) {
  // Beyond |x| = 100 the sigmoid is 0 or 1; the square must not overflow.
  const f32s square = smaller(multiply(x, x), every(1e4f));
  const f32s u = multiply(x, fma(square, every(0.0713548163f), every(1.5957691216f)));
  const f32s s = sigmoid(u);
  const f32s slope = fma(square, every(3 * 0.0713548163f), every(1.5957691216f));
  return fma(multiply(multiply(x, s), subtract(every(1.0f), s)), slope, s);
}

inline f32s relu_slope(f32s x) {
  return where_negative(subtract(zeros(), x), every(1.0f), zeros());
}

template <f32s (*slope)(f32s)>
void add_slopes(int64_t n, const float* x, const float* dy, float* dx) {
  for (int64_t i = 0; i < n; i += lanes)
    put(dx, i, n, fma(slope(take(x, i, n)), take(dy, i, n), take(dx, i, n)));
}

inline void activation_slopes(int64_t n, int32_t kind, const float* x, const float* dy, float* dx) {
  if (kind == 0) add_slopes<silu_slope>(n, x, dy, dx);
  if (kind == 1) add_slopes<gelu_erf_slope>(n, x, dy, dx);
  if (kind == 2) add_slopes<gelu_tanh_slope>(n, x, dy, dx);
  if (kind == 3) add_slopes<relu_slope>(n, x, dy, dx);
}

inline void silu_product_slopes(int64_t n, const float* gate, const float* up, const float* dy,
                                float* dgate, float* dup) {
  for (int64_t i = 0; i < n; i += lanes) {
    const f32s x = take(gate, i, n);
    const f32s s = sigmoid(x);
    const f32s upstream = take(dy, i, n);
    put(dgate, i, n,
        fma(multiply(upstream, take(up, i, n)), silu_slope_of(x, s), take(dgate, i, n)));
    put(dup, i, n, fma(multiply(upstream, x), s, take(dup, i, n)));
  }
}

// ---- optimisers

inline double squares(int64_t n, const float* x) {
  f64s low = zeros64();
  f64s high = zeros64();
  for (int64_t i = 0; i < n; i += lanes) {
    const f32s part = take(x, i, n);
    low = fma(low_half(part), low_half(part), low);
    high = fma(high_half(part), high_half(part), high);
  }
  return sum(add(low, high));
}

// Returns the sum of (x - target)^2 and adds its gradient.
inline double squared_errors(int64_t n, const float* x, const float* target, float scale,
                             float* dx) {
  f64s low = zeros64();
  f64s high = zeros64();
  for (int64_t i = 0; i < n; i += lanes) {
    const f32s apart = subtract(take(x, i, n), take(target, i, n));
    low = fma(low_half(apart), low_half(apart), low);
    high = fma(high_half(apart), high_half(apart), high);
    put(dx, i, n, fma(every(scale), apart, take(dx, i, n)));
  }
  return sum(add(low, high));
}

inline void adamw_steps(int64_t n, const adamw_step& s, const float* gradient, float* moment,
                        float* square, float* parameter) {
  for (int64_t i = 0; i < n; i += lanes) {
    const f32s g = multiply(take(gradient, i, n), every(s.gradient_factor));
    const f32s m =
        add(multiply(every(s.first), take(moment, i, n)), multiply(every(s.first_left), g));
    const f32s v = add(multiply(every(s.second), take(square, i, n)),
                       multiply(every(s.second_left), multiply(g, g)));
    const f32s root = add(multiply(square_root(v), every(s.root_factor)), every(s.eps));
    put(moment, i, n, m);
    put(square, i, n, v);
    put(parameter, i, n,
        subtract(multiply(take(parameter, i, n), every(s.decay)),
                 divide(multiply(every(s.step), m), root)));
  }
}

inline f32s sign_of(f32s x) {
  const f32s positive = where_negative(subtract(zeros(), x), every(1.0f), zeros());
  return where_negative(x, every(-1.0f), positive);
}

inline void sgd_steps(int64_t n, const sgd_step& s, const float* gradient, float* velocity,
                      float* parameter) {
  for (int64_t i = 0; i < n; i += lanes) {
    f32s g = multiply(take(gradient, i, n), every(s.gradient_factor));
    if (velocity != nullptr) {
      g = add(multiply(every(s.momentum), take(velocity, i, n)), g);
      put(velocity, i, n, g);
    }
    if (s.sign) g = sign_of(g);
    put(parameter, i, n,
        subtract(multiply(take(parameter, i, n), every(s.decay)), multiply(every(s.rate), g)));
  }
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_ELEMENTWISE_BACKWARD_H
