// SPDX-License-Identifier: Apache-2.0
//
// What      Gradients of silu(gate) * up and of the activations, and y += a * b.
// Layout    n consecutive elements; gradients are added to what is there.
// Tile      n elements.
// Numerics  Derivatives in fp64; the product with dy is added in fp64 and rounded once.
// multiply_add
//           rounds the product and the sum.
// Needs     Nothing.
// Tail      None: element by element.
#include <math.h>

#include "operations.h"

namespace esp {
namespace {

double sigmoid(double x) {
  return 1.0 / (1.0 + exp(-x));
}

double silu_slope(double x) {
  const double s = sigmoid(x);
  return s * (1.0 + x * (1.0 - s));
}

// Phi(x) + x phi(x).
double gelu_erf_slope(double x) {
  return 0.5 * erfc(-x * M_SQRT1_2) + x * exp(-0.5 * x * x) * (0.5 * M_2_SQRTPI * M_SQRT1_2);
}

// Of x s(2u), s the sigmoid, u = sqrt(2/pi) (x + 0.044715 x^3): s + x s (1 - s) 2u'.
double gelu_tanh_slope(double x) {
  const double c = sqrt(M_2_PI);
  const double s = sigmoid(2.0 * c * (x + 0.044715 * x * x * x));
  return s + x * s * (1.0 - s) * 2.0 * c * (1.0 + 3.0 * 0.044715 * x * x);
}

double relu_slope(double x) {
  return x > 0.0 ? 1.0 : 0.0;
}

template <double (*slope)(double)>
void add_slopes(int64_t n, const float* x, const float* dy, float* dx) {
  for (int64_t i = 0; i < n; i++) dx[i] = static_cast<float>(dx[i] + slope(x[i]) * dy[i]);
}

}  // namespace

void multiply_add_reference(int64_t n, const float* a, const float* b, float* y) {
  for (int64_t i = 0; i < n; i++) y[i] += a[i] * b[i];
}

void silu_mul_backward_reference(int64_t n, const float* gate, const float* up, const float* dy,
                                 float* dgate, float* dup) {
  for (int64_t i = 0; i < n; i++) {
    const double x = gate[i];
    const double upstream = dy[i];
    dgate[i] = static_cast<float>(dgate[i] + upstream * up[i] * silu_slope(x));
    dup[i] = static_cast<float>(dup[i] + upstream * x * sigmoid(x));
  }
}

void activation_backward_reference(int64_t n, int32_t kind, const float* x, const float* dy,
                                   float* dx) {
  if (kind == 0) add_slopes<silu_slope>(n, x, dy, dx);
  if (kind == 1) add_slopes<gelu_erf_slope>(n, x, dy, dx);
  if (kind == 2) add_slopes<gelu_tanh_slope>(n, x, dy, dx);
  if (kind == 3) add_slopes<relu_slope>(n, x, dy, dx);
}

}  // namespace esp
