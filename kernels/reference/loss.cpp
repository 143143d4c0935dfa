// SPDX-License-Identifier: Apache-2.0
//
// What      Cross entropy log(sum exp(l)) - l[target] and KL(softmax(p) || softmax(q)) in nats.
// Layout    One row of logits.
// Tile      One row.
// Numerics  fp64 throughout, after subtraction of the largest logit. An outcome whose probability
//           under p is zero adds nothing. A row with a NaN gives NaN.
// Needs     Nothing.
// Tail      None: element by element.
#include <math.h>

#include "operations.h"

namespace esp {
namespace {

// Index of the first largest element; 0 when none compares (all NaN).
int64_t first_largest(int64_t n, const float* x) {
  int64_t best = 0;
  for (int64_t i = 1; i < n; i++) {
    if (x[i] > x[best]) best = i;
  }
  return best;
}

}  // namespace

double cross_entropy_reference(int64_t vocabulary, const float* logits, int64_t target) {
  const double largest = logits[first_largest(vocabulary, logits)];
  double sum = 0.0;
  for (int64_t v = 0; v < vocabulary; v++) sum += exp(logits[v] - largest);
  return log(sum) + largest - logits[target];
}

double divergence_reference(int64_t vocabulary, const float* p, const float* q, uint8_t* same_top) {
  const int64_t top_p = first_largest(vocabulary, p);
  const int64_t top_q = first_largest(vocabulary, q);
  *same_top = top_p == top_q ? 1 : 0;
  const double largest_p = p[top_p];
  const double largest_q = q[top_q];
  double sum_p = 0.0;
  double sum_q = 0.0;
  double mixed = 0.0;
  for (int64_t v = 0; v < vocabulary; v++) {
    const double dp = p[v] - largest_p;
    const double dq = q[v] - largest_q;
    const double weight = exp(dp);
    sum_p += weight;
    sum_q += exp(dq);
    if (weight != 0.0) mixed += weight * (dp - dq);
  }
  return mixed / sum_p + log(sum_q) - log(sum_p);
}

int64_t arg_max_reference(int64_t n, const float* logits) {
  int64_t best = -1;
  for (int64_t i = 0; i < n; i++) {
    if (isnan(logits[i])) return -1;
    if (logits[i] > (best < 0 ? -HUGE_VALF : logits[best])) best = i;
  }
  return best;
}

}  // namespace esp
