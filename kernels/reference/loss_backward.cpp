// SPDX-License-Identifier: Apache-2.0
//
// What      Losses of one row of logits together with their gradients:
//             cross entropy  -log softmax(l)[target]: softmax(l) - 1[target]
//             divergences    p = softmax(teacher / T), q = softmax(student / T), times T^2:
//               forward   KL(p || m), m = a p + (1 - a) q:  dL/dq = -(1 - a) p / m
//               reverse   KL(q || m), m = b q + (1 - b) p:  dL/dq = log q - log m + 1 - b q / m
//               variation sum |p - q| / 2:                  dL/dq = sign(q - p) / 2
//             d student = T q (dL/dq - sum q dL/dq)
//             squared error of n elements
// Layout    One row.
// Tile      One row; squared error: n elements.
// Numerics  fp64 throughout, after subtraction of the largest logit; logs of p and q from their
//           logits, so that a probability that underflows keeps its log. The gradient is rounded
//           once.
// Needs     Nothing.
// Tail      None: element by element.
#include <math.h>

#include "operations.h"

namespace esp {
namespace {

double log_sum(int64_t n, const float* x, double factor) {
  double largest = -HUGE_VAL;
  for (int64_t i = 0; i < n; i++) largest = x[i] * factor > largest ? x[i] * factor : largest;
  double sum = 0.0;
  for (int64_t i = 0; i < n; i++) sum += exp(x[i] * factor - largest);
  return largest + log(sum);
}

struct outcome {
  double p;
  double q;
  double log_p;
  double log_q;
};

// log(a x + (1 - a) y) where x = e^log_x, y = e^log_y.
double log_mixture(double a, double log_x, double log_y) {
  if (a == 0.0) return log_y;
  const double first = log(a) + log_x;
  const double second = log1p(-a) + log_y;
  const double most = fmax(first, second);
  return most + log1p(exp(fmin(first, second) - most));
}

// The loss of one outcome; *flow = q dL/dq.
double terms(const outcome& o, const divergence_weights& w, double* flow) {
  double loss = 0.0;
  *flow = 0.0;
  if (w.forward != 0.0 && o.p > 0.0) {
    const double log_m = log_mixture(w.forward_skew, o.log_p, o.log_q);
    loss += w.forward * o.p * (o.log_p - log_m);
    *flow -= w.forward * (1.0 - w.forward_skew) * o.p * exp(o.log_q - log_m);
  }
  if (w.reverse != 0.0 && o.q > 0.0) {
    const double log_m = log_mixture(w.reverse_skew, o.log_q, o.log_p);
    loss += w.reverse * o.q * (o.log_q - log_m);
    *flow += w.reverse * o.q * (o.log_q - log_m + 1.0 - w.reverse_skew * exp(o.log_q - log_m));
  }
  if (w.variation != 0.0) {
    loss += w.variation * 0.5 * fabs(o.p - o.q);
    const double sign = o.q > o.p ? 1.0 : (o.q < o.p ? -1.0 : 0.0);
    *flow += w.variation * 0.5 * sign * o.q;
  }
  return loss;
}

}  // namespace

double cross_entropy_backward_reference(int64_t vocabulary, const float* logits, int64_t target,
                                        float scale, float* gradient) {
  const double norm = log_sum(vocabulary, logits, 1.0);
  const double loss = norm - logits[target];
  for (int64_t v = 0; v < vocabulary; v++) {
    const double hit = v == target ? 1.0 : 0.0;
    gradient[v] = static_cast<float>(scale * (exp(logits[v] - norm) - hit));
  }
  return loss;
}

double divergence_backward_reference(int64_t vocabulary, const float* teacher, const float* student,
                                     const divergence_weights& weights, double temperature,
                                     float scale, bool add, float* gradient) {
  const double cold = 1.0 / temperature;
  const double norm_p = log_sum(vocabulary, teacher, cold);
  const double norm_q = log_sum(vocabulary, student, cold);
  const auto at = [&](int64_t v) {
    const double log_p = teacher[v] * cold - norm_p;
    const double log_q = student[v] * cold - norm_q;
    return outcome{exp(log_p), exp(log_q), log_p, log_q};
  };
  double loss = 0.0;
  double flows = 0.0;
  double flow = 0.0;
  for (int64_t v = 0; v < vocabulary; v++) {
    loss += terms(at(v), weights, &flow);
    flows += flow;
  }
  for (int64_t v = 0; v < vocabulary; v++) {
    const outcome o = at(v);
    terms(o, weights, &flow);
    const double slope = scale * temperature * (flow - o.q * flows);
    gradient[v] = static_cast<float>(add ? gradient[v] + slope : slope);
  }
  return temperature * temperature * loss;
}

double squared_error_backward_reference(int64_t n, const float* x, const float* target, float scale,
                                        float* dx) {
  double sum = 0.0;
  for (int64_t i = 0; i < n; i++) {
    const double apart = static_cast<double>(x[i]) - target[i];
    sum += apart * apart;
    dx[i] = static_cast<float>(dx[i] + scale * apart);
  }
  return sum;
}

}  // namespace esp
