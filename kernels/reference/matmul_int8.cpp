// SPDX-License-Identifier: Apache-2.0
//
// What      y = x . W^T + bias of int8 activations and 8- or 4-bit weights (int8_operations.h).
// Layout    layout/bit_stream.h.
// Tile      one output after the other.
// Numerics  a group is summed in int64 (no bound to keep), the rest in fp32 in the one order there
//           is: the bits of every variant.
// Needs     nothing.
#include "layout/bit_stream.h"
#include "operations.h"

namespace esp {

matmul_w8a8_kernel matmul_w8a8_reference;
matmul_w4a8_kernel matmul_w4a8_reference;

namespace {

void multiply(const int8_product& p, int32_t bits) {
  const int64_t groups = p.k / p.group;
  for (int64_t i = 0; i < p.m; i++) {
    for (int64_t r = 0; r < p.n; r++) {
      float sum = 0.0f;
      for (int64_t g = 0; g < groups; g++) {
        const int64_t zero = p.zeros == nullptr ? 0 : p.zeros[r * groups + g];
        int64_t total = 0;
        for (int64_t c = g * p.group; c < (g + 1) * p.group; c++)
          total += (stream_read(p.codes + r * p.ldcodes, c, bits) - zero) * p.x[i * p.ldx + c];
        sum += p.scales[r * groups + g] * static_cast<float>(total);
      }
      const float y = sum * p.x_scales[i];
      p.y[i * p.ldy + r] = p.bias == nullptr ? y : y + p.bias[r];
    }
  }
}

}  // namespace

void matmul_w8a8_reference(const int8_product* p) {
  multiply(*p, 8);
}

void matmul_w4a8_reference(const int8_product* p) {
  multiply(*p, 4);
}

}  // namespace esp
