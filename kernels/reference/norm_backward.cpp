// SPDX-License-Identifier: Apache-2.0
//
// What      Gradients of the norms: with n = (x - mean) * factor, mean 0 for rms_norm, and
//           g = dy * weight,
//             dx      += factor * (g - mean(g) - n * mean(g * n))   (no mean(g) for rms_norm)
//             dweight += sum over rows of dy * n,  dbias += sum over rows of dy
//           and sums of columns.
// Layout    Row-major rows of `cols`, without gaps.
// Tile      norm_backward: some rows. The others: some columns of all rows, so that a sum over rows
//           has one order whoever computes it.
// Numerics  All in fp64, the result rounded once.
// Needs     Nothing.
// Tail      None: element by element.
#include <math.h>

#include "operations.h"

namespace esp {

void norm_backward_reference(int64_t rows, int64_t cols, bool centred, const float* x,
                             const float* weight, float eps, const float* dy, double* statistics,
                             float* dx) {
  const double count = static_cast<double>(cols);
  for (int64_t r = 0; r < rows; r++) {
    const float* const in = x + r * cols;
    double mean = 0.0;
    for (int64_t c = 0; centred && c < cols; c++) mean += in[c];
    mean /= count;
    double squares = 0.0;
    for (int64_t c = 0; c < cols; c++) squares += (in[c] - mean) * (in[c] - mean);
    const double factor = 1.0 / sqrt(squares / count + eps);
    statistics[2 * r] = mean;
    statistics[2 * r + 1] = factor;
    if (dx == nullptr) continue;
    const float* const upstream = dy + r * cols;
    double plain = 0.0;
    double along = 0.0;
    for (int64_t c = 0; c < cols; c++) {
      const double g = static_cast<double>(upstream[c]) * weight[c];
      plain += g;
      along += g * (in[c] - mean) * factor;
    }
    plain = centred ? plain / count : 0.0;
    along /= count;
    for (int64_t c = 0; c < cols; c++) {
      const double g = static_cast<double>(upstream[c]) * weight[c];
      const double n = (in[c] - mean) * factor;
      dx[r * cols + c] = static_cast<float>(dx[r * cols + c] + factor * (g - plain - n * along));
    }
  }
}

void norm_parameters_backward_reference(int64_t rows, int64_t cols, int64_t begin, int64_t end,
                                        const float* x, const double* statistics, const float* dy,
                                        float* dweight, float* dbias) {
  for (int64_t c = begin; c < end; c++) {
    double weight = 0.0;
    double bias = 0.0;
    for (int64_t r = 0; r < rows; r++) {
      const double upstream = dy[r * cols + c];
      weight += upstream * (x[r * cols + c] - statistics[2 * r]) * statistics[2 * r + 1];
      bias += upstream;
    }
    if (dweight != nullptr) dweight[c] = static_cast<float>(dweight[c] + weight);
    if (dbias != nullptr) dbias[c] = static_cast<float>(dbias[c] + bias);
  }
}

void column_sums_reference(int64_t rows, int64_t cols, int64_t begin, int64_t end, const float* x,
                           float* y) {
  for (int64_t c = begin; c < end; c++) {
    double sum = 0.0;
    for (int64_t r = 0; r < rows; r++) sum += x[r * cols + c];
    y[c] = static_cast<float>(y[c] + sum);
  }
}

}  // namespace esp
