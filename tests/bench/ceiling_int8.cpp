// SPDX-License-Identifier: Apache-2.0
//
// The baseline: 32-bit products, four at a time at best.
#include <stdint.h>

namespace bench {
namespace {
typedef int32_t vint __attribute__((vector_size(16)));
inline vint multiply_add(vint sum, vint a, vint b) {
  return sum + a * b;
}
}  // namespace
}  // namespace bench

#define HIDE(a) __asm__("" : "+m"(a))
#include "ceiling_int8.h"

namespace bench {
const int8_probe int8_scalar = {int8_steps, int8_op_per_step(4)};
}
