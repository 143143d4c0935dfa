// SPDX-License-Identifier: Apache-2.0
//
// The scale of a token of int8 activations, shared by the reference and the vector variants.
//
// Functions are static so that every instruction-set file keeps its own copy.
#ifndef ESPALIER_LAYOUT_TOKEN_H
#define ESPALIER_LAYOUT_TOKEN_H

#include "layout/affine.h"

namespace esp {

// From this bit pattern of |x| on, x is an infinity or NaN.
static constexpr uint32_t token_not_finite = 0x7f800000u;

// most: the largest bit pattern of |x| in the row. 127.5 = 255 / 2: half the width of int8.
static inline float token_scale(uint32_t most) {
  if (most >= token_not_finite) return float_of(0x7fc00000u);  // NaN
  const float scale = float_of(most) / 127.5f;
  return scale == 0.0f ? 1.1920928955078125e-7f : scale;  // 2^-23
}

}  // namespace esp

#endif  // ESPALIER_LAYOUT_TOKEN_H
