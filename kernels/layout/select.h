// SPDX-License-Identifier: Apache-2.0
//
// Scores of weights and the choice of the n smallest of m, in scalar fp32: the one definition that
// references, tails of vector variants and the selection by threshold share.
//
// Functions are static so that every instruction-set file keeps its own copy.
#ifndef ESPALIER_LAYOUT_SELECT_H
#define ESPALIER_LAYOUT_SELECT_H

#include <stdint.h>

#include "layout/affine.h"

namespace esp {

// The sign goes as a bit: a comparison would be mispredicted for every other weight.
static inline float score_of(float x, const float* factor, int64_t c) {
  const float magnitude = float_of(bits_of(x) & 0x7fffffffu);
  return factor == nullptr ? magnitude : magnitude * factor[c];
}

// One set of m columns: kept[c] = 0 for the n with the smallest scores, of equals the lowest
// column.
static inline void select_set(const float* x, const float* factor, int32_t n, int32_t m,
                              uint8_t* kept) {
  for (int32_t a = 0; a < m; a++) {
    const float mine = score_of(x[a], factor, a);
    int32_t rank = 0;  // how many go before this one
    for (int32_t b = 0; b < a; b++) rank += score_of(x[b], factor, b) <= mine;
    for (int32_t b = a + 1; b < m; b++) rank += score_of(x[b], factor, b) < mine;
    kept[a] = rank >= n;
  }
}

}  // namespace esp

#endif  // ESPALIER_LAYOUT_SELECT_H
