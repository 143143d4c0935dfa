// SPDX-License-Identifier: Apache-2.0
//
// What      Widening of bf16 and f16, narrowing to them, and the search for NaN and infinity.
// Layout    16-bit codes, consecutive.
// Tile      n consecutive elements.
// Numerics  Exact one way, to nearest even the other, subnormals included; the bits of the
//           reference.
// Needs     The lanes of the file that includes this one.
// Tail      The last n % lanes elements are masked.
#ifndef ESPALIER_CONVERT_H
#define ESPALIER_CONVERT_H

#include <stdint.h>

namespace esp {
namespace {

template <f32s (*whole)(const uint16_t*), f32s (*tail)(const uint16_t*, int64_t)>
void widen(int64_t n, const uint16_t* x, float* y) {
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) store(y + i, whole(x + i));
  if (i < n) store_tail(y + i, tail(x + i, n - i), n - i);
}

template <void (*whole)(uint16_t*, f32s), void (*tail)(uint16_t*, f32s, int64_t)>
void narrow(int64_t n, const float* x, uint16_t* y) {
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) whole(y + i, load(x + i));
  if (i < n) tail(y + i, load_tail(x + i, n - i), n - i);
}

inline int64_t nonfinite(int64_t n, const float* x) {
  for (int64_t i = 0; i < n; i += lanes) {
    const f32s part = i + lanes <= n ? load(x + i) : load_tail(x + i, n - i);
    const uint32_t found = nonfinite_lanes(part);
    if (found != 0) return i + __builtin_ctz(found);
  }
  return -1;
}

// The zeros beyond a tail are finite.
inline int64_t nonfinite(int64_t n, const uint16_t* x, uint16_t exponent) {
  for (int64_t i = 0; i < n; i += lanes) {
    const uint32_t found =
        full_exponents(i + lanes <= n ? codes(x + i) : codes_tail(x + i, n - i), exponent);
    if (found != 0) return i + __builtin_ctz(found);
  }
  return -1;
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_CONVERT_H
