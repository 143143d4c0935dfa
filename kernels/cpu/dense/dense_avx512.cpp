// SPDX-License-Identifier: Apache-2.0
//
// The kernels of dense.h over the lanes of lanes_avx512.h (AVX-512 F, BW, DQ, VL: 16 lanes);
// dense.h says what they compute.
#include "cpu/lanes_avx512.h"
#include "cpu/dense/dense.h"
#include "operations.h"

namespace esp {

void dense_f32_avx512(const dense_operands& a, int64_t begin, int64_t end) {
  dense<f32_weights>(a, begin, end);
}

void dense_bf16_avx512(const dense_operands& a, int64_t begin, int64_t end) {
  dense<bf16_weights>(a, begin, end);
}

void dense_f16_avx512(const dense_operands& a, int64_t begin, int64_t end) {
  dense<f16_weights>(a, begin, end);
}

void dense_in_out_f32_avx512(const dense_operands& a, int64_t begin, int64_t end) {
  dense_in_out<f32_weights>(a, begin, end);
}

void dense_in_out_bf16_avx512(const dense_operands& a, int64_t begin, int64_t end) {
  dense_in_out<bf16_weights>(a, begin, end);
}

void dense_in_out_f16_avx512(const dense_operands& a, int64_t begin, int64_t end) {
  dense_in_out<f16_weights>(a, begin, end);
}

}  // namespace esp
