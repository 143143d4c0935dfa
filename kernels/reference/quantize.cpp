// SPDX-License-Identifier: Apache-2.0
//
// What      Scale and zero of every group of a row, and round to nearest under them.
// Tile      one row.
// Numerics  fp32 as layout/affine.h. The errors of the MSE search are powers (layout/power.h) of
//           differences in steps, summed in fp64 by column modulo 16, then in order; a candidate's
//           sum times scale^norm is compared.
// Needs     nothing.
#include <math.h>

#include "layout/affine.h"
#include "layout/power.h"
#include "operations.h"

namespace esp {

quantize_range_kernel quantize_range_reference;
quantize_nearest_kernel quantize_nearest_reference;

void quantize_range_reference(int64_t cols, int64_t group, const float* w,
                              const range_options* options, float* scales, int8_t* zeros) {
  const range_options o = *options;
  for (int64_t g = 0; g < cols / group; g++) {
    const float* values = w + g * group;
    float low = 0.0f, high = 0.0f;
    for (int64_t c = 0; c < group; c++) {
      low = values[c] < low ? values[c] : low;
      high = values[c] > high ? values[c] : high;
    }
    float scale, zero;
    affine_of_range(low, high, o.bits, o.symmetric, o.scale_dtype, o.tell_ties != 0, &scale, &zero);

    double best = INFINITY;
    int32_t worse = 0;
    for (int32_t i = 0; i < o.mse_grid && i < o.mse_shrink * o.mse_grid; i++) {
      const float p = static_cast<float>(1.0 - static_cast<double>(i) / o.mse_grid);
      float candidate, shift;
      affine_of_range(p * low, p * high, o.bits, o.symmetric, o.scale_dtype, o.tell_ties != 0,
                      &candidate, &shift);
      const float p_norm = static_cast<float>(o.mse_norm), steps = 1.0f / candidate;
      double sums[mse_sums] = {};
      for (int64_t c = 0; c < group; c++) {
        const float q =
            quantize_code(values[c], candidate, shift, code_low(o.bits), code_high(o.bits));
        const float difference = fabsf(values[c] - candidate * (q - shift));
        sums[c % mse_sums] += static_cast<double>(power_of(difference * steps, p_norm));
      }
      double error = 0.0;
      for (int64_t c = 0; c < mse_sums; c++) error += sums[c];
      error *= pow(static_cast<double>(candidate), o.mse_norm);
      if (error < best) {
        best = error;
        scale = candidate;
        zero = shift;
        worse = 0;
      } else if (++worse == o.mse_patience) {
        break;
      }
    }
    scales[g] = scale;
    zeros[g] = static_cast<int8_t>(zero);
  }
}

void quantize_nearest_reference(int64_t cols, const float* w, int32_t bits, float shifter,
                                int64_t group, const float* scales, const int8_t* zeros,
                                int8_t* codes) {
  for (int64_t c = 0; c < cols; c++) {
    const float zero = zeros == nullptr ? 0.0f : static_cast<float>(zeros[c / group]);
    const float scale = scales[c / group];
    const float low = code_low(bits), high = code_high(bits);
    codes[c] = static_cast<int8_t>(zeros != nullptr && shifter != 0.0f
                                       ? exact_code(w[c], scale, zero, low, high)
                                       : quantize_code(w[c], scale, zero, low, high, shifter));
  }
}

}  // namespace esp
