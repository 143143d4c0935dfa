// SPDX-License-Identifier: Apache-2.0
//
// What      The elementwise part of attention's gradient: with s = q . k,
//             weight = exp(scale * s - log_sum)
//             ds     = scale * weight * (dy . v - delta),  delta = sum of dy * y
//           from the log of the row's sum that the forward pass kept (arXiv 2205.14135, algorithm
//           4).
// Layout    Blocks [rows, keys] without gaps.
// Tile      One block of scores of one head.
// Numerics  fp64, rounded once.
// Needs     Nothing.
// Tail      None: element by element.
#include <math.h>

#include "operations.h"

namespace esp {

void attention_backward_reference(const attention_backward_block& b) {
  for (int64_t r = 0; r < b.rows; r++) {
    const int64_t place = b.ahead + r;
    float* const scores = b.scores + r * b.keys;
    float* const slopes = b.slopes + r * b.keys;
    for (int64_t c = 0; c < b.keys; c++) {
      const bool visible = c <= place && (b.window == 0 || c > place - b.window);
      const double score = static_cast<double>(b.scale) * scores[c];
      const double weight = visible ? exp(score - b.log_sum[r * b.stride]) : 0.0;
      const double slope = visible ? b.scale * weight * (slopes[c] - b.delta[r]) : 0.0;
      scores[c] = static_cast<float>(weight);
      slopes[c] = static_cast<float>(slope);
    }
  }
}

}  // namespace esp
