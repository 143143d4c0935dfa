// SPDX-License-Identifier: Apache-2.0
//
// Correlated Hessians and the plain linear algebra of the textbook solvers: an explicit inverse and
// its Cholesky factor, in fp64. Another route to every number than the library takes.
#ifndef ESPALIER_TEXTBOOK_H
#define ESPALIER_TEXTBOOK_H

#include <math.h>

#include "harness.h"

namespace textbook_algebra {

using cases::generator;

using matrix = std::vector<double>;  // [n, n], row-major

inline size_t at(int64_t i, int64_t j, int64_t n) {
  return static_cast<size_t>(i * n + j);
}

// Correlated inputs: H = X^T X / tokens + damping, X a random walk along the columns.
inline matrix hessian(int64_t n, uint64_t seed) {
  generator g(seed);
  const int64_t tokens = 2 * n + 8;
  std::vector<double> x(static_cast<size_t>(tokens * n));
  for (int64_t t = 0; t < tokens; t++) {
    double walk = 0;
    for (int64_t c = 0; c < n; c++)
      x[at(t, c, n)] = (walk = 0.7 * walk + g.uniform(-1, 1)) * (1 + static_cast<double>(c % 5));
  }
  matrix h(static_cast<size_t>(n * n));
  double trace = 0;
  for (int64_t i = 0; i < n; i++) {
    for (int64_t j = i; j < n; j++) {
      double sum = 0;
      for (int64_t t = 0; t < tokens; t++) sum += x[at(t, i, n)] * x[at(t, j, n)];
      h[at(i, j, n)] = h[at(j, i, n)] = sum / static_cast<double>(tokens);
    }
    trace += h[at(i, i, n)];
  }
  for (int64_t i = 0; i < n; i++) h[at(i, i, n)] += 0.01 * trace / static_cast<double>(n);
  return h;
}

// By Gauss and Jordan; the matrices here are well conditioned.
inline matrix inverse(matrix a, int64_t n) {
  matrix b(static_cast<size_t>(n * n));
  for (int64_t i = 0; i < n; i++) b[at(i, i, n)] = 1;
  for (int64_t p = 0; p < n; p++) {
    const double pivot = a[at(p, p, n)];
    for (int64_t j = 0; j < n; j++) {
      a[at(p, j, n)] /= pivot;
      b[at(p, j, n)] /= pivot;
    }
    for (int64_t i = 0; i < n; i++) {
      const double factor = i == p ? 0 : a[at(i, p, n)];
      if (factor == 0) continue;
      for (int64_t j = 0; j < n; j++) {
        a[at(i, j, n)] -= factor * a[at(p, j, n)];
        b[at(i, j, n)] -= factor * b[at(p, j, n)];
      }
    }
  }
  return b;
}

// R upper with R^T R = a.
inline matrix upper_cholesky(matrix a, int64_t n) {
  for (int64_t k = 0; k < n; k++) {
    const double root = sqrt(a[at(k, k, n)]);
    for (int64_t j = k; j < n; j++) a[at(k, j, n)] /= root;
    for (int64_t i = k + 1; i < n; i++) {
      for (int64_t j = i; j < n; j++) a[at(i, j, n)] -= a[at(k, i, n)] * a[at(k, j, n)];
    }
  }
  return a;
}

}  // namespace textbook_algebra

#endif  // ESPALIER_TEXTBOOK_H
