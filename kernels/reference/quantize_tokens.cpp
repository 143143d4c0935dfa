// SPDX-License-Identifier: Apache-2.0
//
// What      int8 codes of one token and their scale (int8_operations.h).
// Tile      one row.
// Numerics  fp32: one division for the scale, one for every code.
// Needs     nothing.
#include "layout/token.h"
#include "operations.h"

namespace esp {

quantize_tokens_kernel quantize_tokens_reference;

void quantize_tokens_reference(int64_t cols, const float* x, int8_t* codes, float* scale) {
  // Magnitudes order like their bits, NaN and infinity above all.
  uint32_t most = 0;
  for (int64_t c = 0; c < cols; c++) {
    const uint32_t magnitude = bits_of(x[c]) & 0x7fffffffu;
    most = magnitude > most ? magnitude : most;
  }
  *scale = token_scale(most);
  for (int64_t c = 0; c < cols; c++) {
    codes[c] = most >= token_not_finite
                   ? static_cast<int8_t>(0)
                   : static_cast<int8_t>(round_half_even(clamp(x[c] / *scale, -128.0f, 127.0f)));
  }
}

}  // namespace esp
