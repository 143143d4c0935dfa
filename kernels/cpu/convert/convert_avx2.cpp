// SPDX-License-Identifier: Apache-2.0
//
// The kernels of convert.h over the lanes of lanes_avx2.h (AVX2, FMA, F16C: 8 lanes); convert.h
// says what they compute.
#include "cpu/lanes_avx2.h"
#include "cpu/convert/convert.h"
#include "operations.h"

namespace esp {

void widen_bf16_avx2(int64_t n, const uint16_t* x, float* y) {
  widen<load_bf16, load_bf16_tail>(n, x, y);
}

void widen_f16_avx2(int64_t n, const uint16_t* x, float* y) {
  widen<load_f16, load_f16_tail>(n, x, y);
}

void narrow_bf16_avx2(int64_t n, const float* x, uint16_t* y) {
  narrow<store_bf16, store_bf16_tail>(n, x, y);
}

void narrow_f16_avx2(int64_t n, const float* x, uint16_t* y) {
  narrow<store_f16, store_f16_tail>(n, x, y);
}

int64_t nonfinite_f32_avx2(int64_t n, const float* x) {
  return nonfinite(n, x);
}

int64_t nonfinite_16_avx2(int64_t n, const uint16_t* x, uint16_t exponent) {
  return nonfinite(n, x, exponent);
}

}  // namespace esp
