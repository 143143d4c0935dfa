// SPDX-License-Identifier: Apache-2.0
//
// What      A step of AdamW (arXiv 1711.05101, decay apart from the gradient) and of SGD with an
//           optional momentum, or with only its sign; sums of squares.
// Layout    n consecutive elements, in place.
// Tile      n elements.
// Numerics  The fp32 operations in the order written; sums of squares in fp64.
// Needs     Nothing.
// Tail      None: element by element.
#include <math.h>

#include "operations.h"

namespace esp {

double sum_of_squares_reference(int64_t n, const float* x) {
  double sum = 0.0;
  for (int64_t i = 0; i < n; i++) sum += static_cast<double>(x[i]) * x[i];
  return sum;
}

void adamw_reference(int64_t n, const adamw_step& s, const float* gradient, float* moment,
                     float* square, float* parameter) {
  for (int64_t i = 0; i < n; i++) {
    const float g = gradient[i] * s.gradient_factor;
    moment[i] = s.first * moment[i] + s.first_left * g;
    square[i] = s.second * square[i] + s.second_left * (g * g);
    const float root = sqrtf(square[i]) * s.root_factor + s.eps;
    parameter[i] = parameter[i] * s.decay - s.step * moment[i] / root;
  }
}

void sgd_reference(int64_t n, const sgd_step& s, const float* gradient, float* velocity,
                   float* parameter) {
  for (int64_t i = 0; i < n; i++) {
    float g = gradient[i] * s.gradient_factor;
    if (velocity != nullptr) g = velocity[i] = s.momentum * velocity[i] + g;
    if (s.sign) g = g > 0.0f ? 1.0f : (g < 0.0f ? -1.0f : 0.0f);
    parameter[i] = parameter[i] * s.decay - s.rate * g;
  }
}

}  // namespace esp
