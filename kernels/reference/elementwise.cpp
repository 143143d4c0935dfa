// SPDX-License-Identifier: Apache-2.0
//
// What      silu(gate) * up, the activations silu, gelu (erf), gelu (tanh), relu, and a + b, a * b.
// Layout    n consecutive elements; the output may be an input.
// Tile      n elements.
// Numerics  Functions in fp64, rounded once; add and multiply are the fp32 operations.
// Needs     Nothing.
// Tail      None: element by element.
#include <math.h>

#include "operations.h"

namespace esp {
namespace {

double silu(double x) {
  return x / (1.0 + exp(-x));
}

double gelu_erf(double x) {
  return 0.5 * x * erfc(-x * M_SQRT1_2);
}

// 0.5 x (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3), in the form x / (1 + exp(-2u)).
double gelu_tanh(double x) {
  const double u = sqrt(M_2_PI) * (x + 0.044715 * x * x * x);
  return x / (1.0 + exp(-2.0 * u));
}

// A NaN passes.
double relu(double x) {
  return x < 0.0 ? 0.0 : x;
}

template <double (*f)(double)>
void map(int64_t n, const float* x, float* y) {
  for (int64_t i = 0; i < n; i++) y[i] = static_cast<float>(f(x[i]));
}

}  // namespace

void silu_mul_reference(int64_t n, const float* gate, const float* up, float* y) {
  for (int64_t i = 0; i < n; i++) y[i] = static_cast<float>(silu(gate[i]) * up[i]);
}

void activation_reference(int64_t n, int32_t kind, const float* x, float* y) {
  if (kind == 0) map<silu>(n, x, y);
  if (kind == 1) map<gelu_erf>(n, x, y);
  if (kind == 2) map<gelu_tanh>(n, x, y);
  if (kind == 3) map<relu>(n, x, y);
}

void add_reference(int64_t n, const float* a, const float* b, float* y) {
  for (int64_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

void multiply_reference(int64_t n, const float* a, const float* b, float* y) {
  for (int64_t i = 0; i < n; i++) y[i] = a[i] * b[i];
}

}  // namespace esp
