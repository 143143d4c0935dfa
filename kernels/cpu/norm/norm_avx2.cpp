// SPDX-License-Identifier: Apache-2.0
//
// The kernels of norm.h over the lanes of lanes_avx2.h (AVX2, FMA, F16C: 8 lanes); norm.h says what
// they compute.
#include "cpu/lanes_avx2.h"
#include "cpu/norm/norm.h"
#include "operations.h"

namespace esp {

void rms_norm_avx2(int64_t rows, int64_t cols, const float* x, int64_t ldx, const float* weight,
                   float eps, float* y, int64_t ldy) {
  rms_norm_rows(rows, cols, x, ldx, weight, eps, y, ldy);
}

void layer_norm_avx2(int64_t rows, int64_t cols, const float* x, int64_t ldx, const float* weight,
                     const float* bias, float eps, float* y, int64_t ldy) {
  layer_norm_rows(rows, cols, x, ldx, weight, bias, eps, y, ldy);
}

}  // namespace esp
