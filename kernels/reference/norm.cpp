// SPDX-License-Identifier: Apache-2.0
//
// What      Root mean square norm y = x / sqrt(mean(x^2) + eps) * weight, and layer norm
//           y = (x - mean) / sqrt(var + eps) * weight + bias with the biased variance.
// Layout    Row-major rows of `cols`; y may be x.
// Tile      `rows` rows.
// Numerics  All in fp64, the result rounded once.
// Needs     Nothing.
// Tail      None: element by element.
#include <math.h>

#include "operations.h"

namespace esp {

void rms_norm_reference(int64_t rows, int64_t cols, const float* x, int64_t ldx,
                        const float* weight, float eps, float* y, int64_t ldy) {
  for (int64_t r = 0; r < rows; r++) {
    const float* const in = x + r * ldx;
    float* const out = y + r * ldy;
    double squares = 0.0;
    for (int64_t c = 0; c < cols; c++) squares += static_cast<double>(in[c]) * in[c];
    const double factor = 1.0 / sqrt(squares / static_cast<double>(cols) + eps);
    for (int64_t c = 0; c < cols; c++) out[c] = static_cast<float>(in[c] * factor * weight[c]);
  }
}

void layer_norm_reference(int64_t rows, int64_t cols, const float* x, int64_t ldx,
                          const float* weight, const float* bias, float eps, float* y,
                          int64_t ldy) {
  for (int64_t r = 0; r < rows; r++) {
    const float* const in = x + r * ldx;
    float* const out = y + r * ldy;
    double sum = 0.0;
    for (int64_t c = 0; c < cols; c++) sum += in[c];
    const double mean = sum / static_cast<double>(cols);
    double squares = 0.0;
    for (int64_t c = 0; c < cols; c++) squares += (in[c] - mean) * (in[c] - mean);
    const double factor = 1.0 / sqrt(squares / static_cast<double>(cols) + eps);
    for (int64_t c = 0; c < cols; c++) {
      const double shift = bias != nullptr ? bias[c] : 0.0;
      out[c] = static_cast<float>((in[c] - mean) * factor * weight[c] + shift);
    }
  }
}

}  // namespace esp
