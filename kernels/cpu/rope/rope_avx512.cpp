// SPDX-License-Identifier: Apache-2.0
//
// The kernels of rope.h over the lanes of lanes_avx512.h (AVX-512 F, BW, DQ, VL: 16 lanes); rope.h
// says what they compute.
#include "cpu/lanes_avx512.h"
#include "cpu/rope/rope.h"
#include "operations.h"

namespace esp {

void rope_avx512(int64_t tokens, int64_t heads, int64_t head_dim, int64_t rotary,
                 const float* cosines, const float* sines, float* x, int64_t ldx) {
  rope(tokens, heads, head_dim, rotary, cosines, sines, x, ldx);
}

}  // namespace esp
