// SPDX-License-Identifier: Apache-2.0
//
// What      y = softmax(scale * q . k^T) v over the keys a query may see: j <= position and, with a
//           window, j > position - window.
// Layout    Rows of head_dim; queries and outputs [queries, heads, head_dim].
// Tile      The queries and heads of one attention_tile, one key head.
//           With `running` a part of the keys is added to what is there.
// Numerics  Scores, exponentials and sums in fp64, the result rounded once. Scores are computed
//           twice (maximum, then sum), so that no buffer of `keys` elements is needed.
// Needs     Nothing. The scratch holds head_dim doubles.
// Tail      None: element by element.
#include <math.h>

#include "operations.h"

namespace esp {
namespace {

double score(const attention_tile& a, const float* q, int64_t key) {
  double sum = 0.0;
  for (int64_t d = 0; d < a.head_dim; d++) sum += static_cast<double>(q[d]) * a.k[key * a.ldk + d];
  return sum * a.scale;
}

}  // namespace

void attention_reference(const attention_tile& a) {
  double* const mixed = reinterpret_cast<double*>(a.scratch);
  for (int64_t t = 0; t < a.queries; t++) {
    int64_t end = a.position + t + 1;
    int64_t begin = a.window > 0 && end > a.window ? end - a.window : 0;
    if (a.running != nullptr) {
      if (begin < a.key_begin) begin = a.key_begin;
      if (end > a.key_end) end = a.key_end;
    }
    for (int64_t h = 0; h < a.heads; h++) {
      const float* const q = a.q + t * a.ldq + h * a.head_dim;
      float* const y = a.y + t * a.ldy + h * a.head_dim;
      float* const running = a.running == nullptr ? nullptr : a.running + 2 * (t * a.heads + h);
      const double before = running == nullptr ? -HUGE_VAL : running[0];
      double largest = before;
      for (int64_t j = begin; j < end; j++) largest = fmax(largest, score(a, q, j));
      // What is left behind is fp32; sums belong to the value that is left.
      if (running != nullptr) largest = static_cast<double>(static_cast<float>(largest));
      const double kept = before == -HUGE_VAL ? 0.0 : exp(before - largest);
      double sum = kept == 0.0 ? 0.0 : running[1] * kept;
      for (int64_t d = 0; d < a.head_dim; d++) mixed[d] = kept == 0.0 ? 0.0 : y[d] * kept;
      for (int64_t j = begin; j < end; j++) {
        const double weight = exp(score(a, q, j) - largest);
        sum += weight;
        for (int64_t d = 0; d < a.head_dim; d++) mixed[d] += weight * a.v[j * a.ldv + d];
      }
      if (running != nullptr) {
        running[0] = static_cast<float>(largest);
        running[1] = static_cast<float>(sum);
        sum = 1.0;
      }
      for (int64_t d = 0; d < a.head_dim; d++) y[d] = static_cast<float>(mixed[d] / sum);
    }
  }
}

}  // namespace esp
