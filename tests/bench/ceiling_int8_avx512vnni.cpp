// SPDX-License-Identifier: Apache-2.0
//
// vpdpbusd: 64 products.
#include <immintrin.h>
#include <stdint.h>

namespace bench {
namespace {
typedef int32_t vint __attribute__((vector_size(64)));
inline vint multiply_add(vint sum, vint a, vint b) {
  return reinterpret_cast<vint>(_mm512_dpbusd_epi32(
      reinterpret_cast<__m512i>(sum), reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
}
}  // namespace
}  // namespace bench

#define HIDE(a) __asm__("" : "+v"(a))
#include "ceiling_int8.h"

namespace bench {
const int8_probe int8_avx512vnni = {int8_steps, int8_op_per_step(64)};
}
