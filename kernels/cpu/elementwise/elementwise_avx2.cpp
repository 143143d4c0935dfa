// SPDX-License-Identifier: Apache-2.0
//
// The kernels of elementwise.h over the lanes of lanes_avx2.h (AVX2, FMA, F16C: 8 lanes);
// elementwise.h says what they compute.
#include "cpu/lanes_avx2.h"
#include "cpu/exponential.h"
#include "cpu/elementwise/elementwise.h"
#include "operations.h"

namespace esp {

void silu_mul_avx2(int64_t n, const float* gate, const float* up, float* y) {
  map<silu_product>(n, gate, up, y);
}

void activation_avx2(int64_t n, int32_t kind, const float* x, float* y) {
  activation(n, kind, x, y);
}

void add_avx2(int64_t n, const float* a, const float* b, float* y) {
  map<add>(n, a, b, y);
}

void multiply_avx2(int64_t n, const float* a, const float* b, float* y) {
  map<multiply>(n, a, b, y);
}

}  // namespace esp
