// SPDX-License-Identifier: Apache-2.0
//
// The int8 probe of one instruction set: independent chains of `multiply_add(sum, a, b)` on its
// type `vint`. `a` is hidden from the compiler before each, or it would multiply once.
#include "bench.h"

namespace bench {
namespace {

// More than latency (4) times ports (2), and with both operands no more than 16 registers.
constexpr int int8_chains = 12;

int32_t int8_steps(int64_t steps) {
  vint sums[int8_chains] = {};
  vint a = vint{} + 3, b = vint{} + 5;
  for (int64_t i = 0; i < steps; i++) {
#pragma GCC unroll 12
    for (int j = 0; j < int8_chains; j++) {
      HIDE(a);
      sums[j] = multiply_add(sums[j], a, b);
    }
  }
  int32_t folded = 0;
  for (int j = 0; j < int8_chains; j++) folded ^= sums[j][0];
  return folded;
}

constexpr double int8_op_per_step(double products) {
  return 2.0 * int8_chains * products;
}

}  // namespace
}  // namespace bench
