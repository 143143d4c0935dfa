// SPDX-License-Identifier: Apache-2.0
//
// What      c += a^T b (fp32 operands) and c -= a^T b (fp64) of strips of 16 columns.
// Layout    a and b [depth, 16], c [16, 16] ldc.
// Tile      one.
// Numerics  fused multiply-adds in order of depth. fp32: sums of at most outer_chunk products are
//           added to the fp64 c, so that neither a long text nor a deep block lets rounding grow:
//           each is off by at most outer_chunk * 2^-24 sum|a||b|. fp64: depth * 2^-53 sum|a||b|.
// Needs     nothing (the C library fuses in software where the CPU cannot).
// Tail      none: strips are padded with zeros.
#include <math.h>

#include "operations.h"

namespace esp {

outer_f32_kernel outer_f32_reference;
outer_f64_kernel outer_f64_reference;

void outer_f32_reference(int64_t depth, const float* a, const float* b, double* c, int64_t ldc) {
  for (int64_t first = 0; first < depth; first += outer_chunk) {
    const int64_t end = depth < first + outer_chunk ? depth : first + outer_chunk;
    for (int64_t i = 0; i < outer_width; i++) {
      for (int64_t j = 0; j < outer_width; j++) {
        float sum = 0.0f;
        for (int64_t k = first; k < end; k++)
          sum = fmaf(a[k * outer_width + i], b[k * outer_width + j], sum);
        c[i * ldc + j] += static_cast<double>(sum);
      }
    }
  }
}

void outer_f64_reference(int64_t depth, const double* a, const double* b, double* c, int64_t ldc) {
  for (int64_t i = 0; i < outer_width; i++) {
    for (int64_t j = 0; j < outer_width; j++) {
      double sum = c[i * ldc + j];
      for (int64_t k = 0; k < depth; k++)
        sum = fma(-a[k * outer_width + i], b[k * outer_width + j], sum);
      c[i * ldc + j] = sum;
    }
  }
}

}  // namespace esp
