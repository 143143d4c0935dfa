// SPDX-License-Identifier: Apache-2.0
//
// What      Gradients through a softmax: a block of attention scores, and cross entropy of a row of
//           logits; reference/attention_backward.cpp and reference/loss_backward.cpp have the
//           formulas.
// Layout    Blocks [rows, keys] without gaps; one row of logits.
// Tile      One block of one head; one row.
// Numerics  fp32 exponentials (1.01 ulp, and half an ulp of the exponent's argument), sums of a row
//           of logits in fp64.
// Needs     The lanes of the file that includes this one; exponential.h; elementwise_backward.h;
//           cpu/loss/loss.h.
// Tail      Columns that are not visible are set to 0 one by one; logits beyond the end are
//           -infinity.
#ifndef ESPALIER_SOFTMAX_BACKWARD_H
#define ESPALIER_SOFTMAX_BACKWARD_H

#include <math.h>

#include "cpu/gradients/elementwise_backward.h"
#include "cpu/loss/loss.h"

namespace esp {
namespace {

inline void attention_block_backward(const attention_backward_block& b) {
  const f32s scale = every(b.scale);
  for (int64_t r = 0; r < b.rows; r++) {
    const int64_t place = b.ahead + r;
    float* const scores = b.scores + r * b.keys;
    float* const slopes = b.slopes + r * b.keys;
    int64_t from = b.window > 0 && place - b.window + 1 > 0 ? place - b.window + 1 : 0;
    int64_t to = place + 1 < b.keys ? place + 1 : b.keys;
    if (to < 0) to = 0;
    if (from > to) from = to;
    for (int64_t c = 0; c < from; c++) scores[c] = slopes[c] = 0.0f;
    for (int64_t c = to; c < b.keys; c++) scores[c] = slopes[c] = 0.0f;
    const f32s log_sum = every(b.log_sum[r * b.stride]);
    const f32s delta = every(b.delta[r]);
    for (int64_t c = from; c < to; c += lanes) {
      const f32s score = multiply(scale, take(scores, c, to));
      const f32s weight = exponential(subtract(score, log_sum));
      const f32s slope = subtract(take(slopes, c, to), delta);
      put(scores, c, to, weight);
      put(slopes, c, to, multiply(multiply(scale, weight), slope));
    }
  }
}

inline double cross_entropy_row_backward(int64_t vocabulary, const float* logits, int64_t target,
                                         float scale, float* gradient) {
  const float top = largest(vocabulary, logits);
  const float hit = logits[target];
  const f32s tops = every(top);
  wide_sum weights;
  for (int64_t i = 0; i < vocabulary; i += lanes) {
    const f32s weight = exponential(subtract(logits_at(logits, i, vocabulary), tops));
    weights.take(weight);
    put(gradient, i, vocabulary, weight);
  }
  const double total = weights.total();
  const f32s factor = every(static_cast<float>(static_cast<double>(scale) / total));
  for (int64_t i = 0; i < vocabulary; i += lanes)
    put(gradient, i, vocabulary, multiply(take(gradient, i, vocabulary), factor));
  // In fp64: the difference of a likely target from 1 would lose digits.
  const double chance = exp(static_cast<double>(hit) - static_cast<double>(top)) / total;
  gradient[target] = static_cast<float>(static_cast<double>(scale) * (chance - 1.0));
  return log(total) + static_cast<double>(top) - static_cast<double>(hit);
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_SOFTMAX_BACKWARD_H
