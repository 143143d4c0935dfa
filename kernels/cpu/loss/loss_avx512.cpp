// SPDX-License-Identifier: Apache-2.0
//
// The kernels of loss.h over the lanes of lanes_avx512.h (AVX-512 F, BW, DQ, VL: 16 lanes); loss.h
// says what they compute.
#include "cpu/lanes_avx512.h"
#include "cpu/exponential.h"
#include "cpu/loss/loss.h"
#include "operations.h"

namespace esp {

double cross_entropy_avx512(int64_t vocabulary, const float* logits, int64_t target) {
  return cross_entropy(vocabulary, logits, target);
}

double divergence_avx512(int64_t vocabulary, const float* p, const float* q, uint8_t* same_top) {
  return divergence(vocabulary, p, q, same_top);
}

int64_t arg_max_avx512(int64_t n, const float* logits) {
  return arg_max(n, logits);
}

}  // namespace esp
