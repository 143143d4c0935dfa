// SPDX-License-Identifier: Apache-2.0
//
// What      Rotary position embedding (arXiv 2104.09864) in the half layout: the pair
//           (x[i], x[i + r/2]) is turned by the angle of (token, i).
// Layout    One head: [ first half r/2 | second half r/2 | head_dim - r untouched ].
// Tile      `tokens` tokens, all heads; in place.
// Numerics  Two products and one sum in fp64, rounded once.
// Needs     Nothing.
// Tail      None: element by element.
#include "operations.h"

namespace esp {

void rope_reference(int64_t tokens, int64_t heads, int64_t head_dim, int64_t rotary,
                    const float* cosines /* [tokens, rotary/2] */,
                    const float* sines /* [tokens, rotary/2] */,
                    float* x /* [tokens, heads, head_dim] */, int64_t ldx) {
  const int64_t half = rotary / 2;
  for (int64_t t = 0; t < tokens; t++) {
    for (int64_t h = 0; h < heads; h++) {
      float* const head = x + t * ldx + h * head_dim;
      for (int64_t i = 0; i < half; i++) {
        const double c = cosines[t * half + i];
        const double s = sines[t * half + i];
        const double first = head[i];
        const double second = head[i + half];
        head[i] = static_cast<float>(first * c - second * s);
        head[i + half] = static_cast<float>(second * c + first * s);
      }
    }
  }
}

}  // namespace esp
