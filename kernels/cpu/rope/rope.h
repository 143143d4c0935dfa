// SPDX-License-Identifier: Apache-2.0
//
// What      Rotary position embedding (arXiv 2104.09864) in the half layout.
// Layout    One head: [ first half r/2 | second half r/2 | head_dim - r untouched ].
// Tile      `tokens` tokens, all heads; in place. A vector of each half is turned at a time.
// Numerics  One product and one fused product-sum: |error| <= 1 eps * (|x1| + |x2|).
// Needs     The lanes of the file that includes this one.
// Tail      The last (r/2) % lanes pairs are masked.
#ifndef ESPALIER_ROPE_H
#define ESPALIER_ROPE_H

#include <stdint.h>

namespace esp {
namespace {

inline void turn(f32s c, f32s s, f32s* first, f32s* second) {
  const f32s a = *first;
  const f32s b = *second;
  *first = fnma(b, s, multiply(a, c));
  *second = fma(a, s, multiply(b, c));
}

inline void rope(int64_t tokens, int64_t heads, int64_t head_dim, int64_t rotary,
                 const float* cosines /* [tokens, rotary/2] */,
                 const float* sines /* [tokens, rotary/2] */,
                 float* x /* [tokens, heads, head_dim] */, int64_t ldx) {
  const int64_t half = rotary / 2;
  const int64_t whole = half / lanes * lanes;
  for (int64_t t = 0; t < tokens; t++) {
    const float* const c = cosines + t * half;
    const float* const s = sines + t * half;
    for (int64_t h = 0; h < heads; h++) {
      float* const head = x + t * ldx + h * head_dim;
      for (int64_t i = 0; i < whole; i += lanes) {
        f32s first = load(head + i);
        f32s second = load(head + half + i);
        turn(load(c + i), load(s + i), &first, &second);
        store(head + i, first);
        store(head + half + i, second);
      }
      if (whole < half) {
        const int64_t rest = half - whole;
        f32s first = load_tail(head + whole, rest);
        f32s second = load_tail(head + half + whole, rest);
        turn(load_tail(c + whole, rest), load_tail(s + whole, rest), &first, &second);
        store_tail(head + whole, first, rest);
        store_tail(head + half + whole, second, rest);
      }
    }
  }
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_ROPE_H
