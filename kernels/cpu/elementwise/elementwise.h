// SPDX-License-Identifier: Apache-2.0
//
// What      silu(gate) * up, the activations silu, gelu (erf), gelu (tanh), relu, and a + b, a * b.
// Layout    n consecutive elements; the output may be an input.
// Tile      n elements.
// Numerics  silu and gelu (tanh): relative error <= 8 eps plus that of the exponent,
//           eps * |exponent|; below the normal range the result may be 0. gelu (erf):
//           |error| <= 8 eps * |x|. relu, add and multiply: the bits of the reference.
// Needs     The lanes of the file that includes this one; exponential.h.
// Tail      The last n % lanes elements are masked.
#ifndef ESPALIER_ELEMENTWISE_H
#define ESPALIER_ELEMENTWISE_H

#include <stdint.h>

namespace esp {
namespace {

inline f32s silu(f32s x) {
  return divide(x, add(every(1.0f), exponential(subtract(zeros(), x))));
}

inline f32s silu_product(f32s gate, f32s up) {
  return multiply(silu(gate), up);
}

// Phi(x) = erfc(-x / sqrt 2) / 2. For z >= 0, t = 1 / (1 + z / 2): erfc(z) = t exp(-z^2 + p(t)), a
// Chebyshev fit with relative error 1.2e-7 (Numerical Recipes, section 6.2).
inline f32s normal_distribution(f32s x) {
  const f32s z = multiply(magnitude(x), every(0.70710678f));
  const f32s t = divide(every(1.0f), fma(z, every(0.5f), every(1.0f)));
  f32s p = every(0.17087277f);
  p = fma(p, t, every(-0.82215223f));
  p = fma(p, t, every(1.48851587f));
  p = fma(p, t, every(-1.13520398f));
  p = fma(p, t, every(0.27886807f));
  p = fma(p, t, every(-0.18628806f));
  p = fma(p, t, every(0.09678418f));
  p = fma(p, t, every(0.37409196f));
  p = fma(p, t, every(1.00002368f));
  p = fma(p, t, every(-1.26551223f));
  const f32s half_tail = multiply(multiply(every(0.5f), t), exponential(fnma(z, z, p)));
  return where_negative(x, half_tail, subtract(every(1.0f), half_tail));
}

inline f32s gelu_erf(f32s x) {
  return multiply(x, normal_distribution(x));
}

// x / (1 + exp(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3).
inline f32s gelu_tanh(f32s x) {
  const f32s square = multiply(x, x);
  const f32s u = multiply(x, fma(square, every(-0.0713548163f), every(-1.5957691216f)));
  return divide(x, add(every(1.0f), exponential(u)));
}

// The second operand when either is NaN: a NaN passes.
inline f32s relu(f32s x) {
  return larger(zeros(), x);
}

template <f32s (*f)(f32s)>
void map(int64_t n, const float* x, float* y) {
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) store(y + i, f(load(x + i)));
  if (i < n) store_tail(y + i, f(load_tail(x + i, n - i)), n - i);
}

template <f32s (*f)(f32s, f32s)>
void map(int64_t n, const float* a, const float* b, float* y) {
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) store(y + i, f(load(a + i), load(b + i)));
  if (i < n) store_tail(y + i, f(load_tail(a + i, n - i), load_tail(b + i, n - i)), n - i);
}

inline void activation(int64_t n, int32_t kind, const float* x, float* y) {
  if (kind == 0) map<silu>(n, x, y);
  if (kind == 1) map<gelu_erf>(n, x, y);
  if (kind == 2) map<gelu_tanh>(n, x, y);
  if (kind == 3) map<relu>(n, x, y);
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_ELEMENTWISE_H
