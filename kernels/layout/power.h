// SPDX-License-Identifier: Apache-2.0
//
// x^p in scalar fp32: the one definition that the MSE search of the reference and of the vector
// variants share, so that they choose the same candidate.
//
// What      x^p = 2^(p log2 x), x = 2^k m with m in [sqrt(1/2), sqrt(2)): log2 m by a polynomial of
//           degree 9 in m - 1 (least-squares in Chebyshev points, relative error 5e-8),
//           2^r, |r| <= 1/2, by one of degree 6 (3e-9).
// Numerics  no fused operation. Relative error at most 3e-7 + 1.2e-7 |p log2 x|, which is that of
//           rounding p log2 x: differences are measured in steps of the quantizer, so that those
//           that decide have a small logarithm. Below 2^-126 the result is 2^-126, which also
//           stands for 0^p; above 2^127.5 it is not defined.
#ifndef ESPALIER_LAYOUT_POWER_H
#define ESPALIER_LAYOUT_POWER_H

#include <stdint.h>

#include "layout/affine.h"

namespace esp {

// log2(1 + f) / f, lowest coefficient first.
static constexpr float power_logarithm[] = {
    1.4426950216293335f,   -0.7213473320007324f,  0.48091059923171997f,
    -0.36070483922958374f, 0.2879183292388916f,   -0.23892034590244293f,
    0.21566985547542572f,  -0.20742103457450867f, 0.12614846229553223f};
static constexpr float power_exponential[] = {1.0f,
                                              0.6931471824645996f,
                                              0.24022650718688965f,
                                              0.05550327152013779f,
                                              0.00961802527308464f,
                                              0.0013400432653725147f,
                                              0.00015469732170458883f};
static constexpr int32_t power_logarithm_degree = 8, power_exponential_degree = 6;
// The bits of sqrt(1/2) less 128 exponents: what is left after subtraction is never negative.
static constexpr uint32_t power_split = 0x3f3504f3u - 0x40000000u;

// x >= 0, finite.
static inline float power_of(float x, float p) {
  const uint32_t above = (bits_of(x) - power_split) >> 23;  // k + 128
  const float f = float_of(bits_of(x) - ((above << 23) - 0x40000000u)) - 1.0f;
  float t = power_logarithm[power_logarithm_degree];
  for (int32_t i = power_logarithm_degree - 1; i >= 0; i--) t = t * f + power_logarithm[i];
  const float k = static_cast<float>(static_cast<int32_t>(above) - 128);
  const float y = clamp((k + t * f) * p, -126.0f, 127.0f);
  const float n = round_half_even(y);
  const float r = y - n;
  float e = power_exponential[power_exponential_degree];
  for (int32_t i = power_exponential_degree - 1; i >= 0; i--) e = e * r + power_exponential[i];
  return e * float_of(static_cast<uint32_t>(static_cast<int32_t>(n) + 127) << 23);
}

}  // namespace esp

#endif  // ESPALIER_LAYOUT_POWER_H
