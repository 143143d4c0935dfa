// SPDX-License-Identifier: Apache-2.0
//
// The kernels of elementwise.h over the lanes of lanes_avx512.h (AVX-512 F, BW, DQ, VL: 16 lanes);
// elementwise.h says what they compute.
#include "cpu/lanes_avx512.h"
#include "cpu/exponential.h"
#include "cpu/elementwise/elementwise.h"
#include "operations.h"

namespace esp {

void silu_mul_avx512(int64_t n, const float* gate, const float* up, float* y) {
  map<silu_product>(n, gate, up, y);
}

void activation_avx512(int64_t n, int32_t kind, const float* x, float* y) {
  activation(n, kind, x, y);
}

void add_avx512(int64_t n, const float* a, const float* b, float* y) {
  map<add>(n, a, b, y);
}

void multiply_avx512(int64_t n, const float* a, const float* b, float* y) {
  map<multiply>(n, a, b, y);
}

}  // namespace esp
