// SPDX-License-Identifier: Apache-2.0
//
// The kernels of attention.h over the lanes of lanes_avx512.h (AVX-512 F, BW, DQ, VL: 16 lanes);
// attention.h says what they compute.
#include "cpu/lanes_avx512.h"
#include "cpu/exponential.h"
#include "cpu/attention/attention.h"
#include "operations.h"

namespace esp {

void attention_avx512(const attention_tile& a) {
  attend(a);
}

}  // namespace esp
