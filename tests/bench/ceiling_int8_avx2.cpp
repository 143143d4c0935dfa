// SPDX-License-Identifier: Apache-2.0
//
// vpmaddwd and an addition: 16 products. vpmaddubsw does 32, but its 16-bit sums saturate.
#include <immintrin.h>
#include <stdint.h>

namespace bench {
namespace {
typedef int32_t vint __attribute__((vector_size(32)));
inline vint multiply_add(vint sum, vint a, vint b) {
  return sum + reinterpret_cast<vint>(
                   _mm256_madd_epi16(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
}
}  // namespace
}  // namespace bench

#define HIDE(a) __asm__("" : "+x"(a))
#include "ceiling_int8.h"

namespace bench {
const int8_probe int8_avx2 = {int8_steps, int8_op_per_step(16)};
}
