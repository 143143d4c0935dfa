// SPDX-License-Identifier: Apache-2.0
//
// The kernels of attention.h over the lanes of lanes_avx2.h (AVX2, FMA, F16C: 8 lanes); attention.h
// says what they compute.
#include "cpu/lanes_avx2.h"
#include "cpu/exponential.h"
#include "cpu/attention/attention.h"
#include "operations.h"

namespace esp {

void attention_avx2(const attention_tile& a) {
  attend(a);
}

}  // namespace esp
