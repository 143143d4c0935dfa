// SPDX-License-Identifier: Apache-2.0
//
// What      Divergences of a student's distribution from a teacher's, with their gradient;
//           reference/loss_backward.cpp has the formulas.
// Layout    One row of logits each.
// Tile      One row, three passes: the sums of exponentials, the loss with sum q dL/dq, the
//           gradient.
// Numerics  Differences, exponentials and logs in fp32, sums in fp64. With d the largest difference
//           of a row's logits over T: a log errs by (d + 4) eps, a probability by that and an ulp,
//           relative; the gradient by 4 (d + 8) eps of the largest |q dL/dq|. A mixture's log is
//           the larger one's plus log1p(e^-apart).
// Needs     The lanes of the file that includes this one; exponential.h; elementwise_backward.h;
//           cpu/loss/loss.h.
// Tail      Logits beyond the end are -infinity, whose probability is 0, and are not written.
#ifndef ESPALIER_DIVERGENCE_BACKWARD_H
#define ESPALIER_DIVERGENCE_BACKWARD_H

#include <math.h>

#include "cpu/gradients/elementwise_backward.h"
#include "cpu/loss/loss.h"

namespace esp {
namespace {

// log(1 + x) for 0 <= x <= 1: 2 artanh(s), s = x / (2 + x) <= 1/3; the first term left out is below
// (1/9)^7 / 15 = 1.4e-8 of the result.
inline f32s log_of_one_more(f32s x) {
  const f32s s = divide(x, add(every(2.0f), x));
  const f32s square = multiply(s, s);
  f32s p = every(1.0f / 13.0f);
  p = fma(p, square, every(1.0f / 11.0f));
  p = fma(p, square, every(1.0f / 9.0f));
  p = fma(p, square, every(1.0f / 7.0f));
  p = fma(p, square, every(1.0f / 5.0f));
  p = fma(p, square, every(1.0f / 3.0f));
  const f32s twice = add(s, s);
  return fma(multiply(twice, square), p, twice);
}

inline f32s where_positive(f32s x, f32s a) {
  return where_negative(subtract(zeros(), x), a, zeros());
}

// A row of logits as a distribution at a temperature.
struct distribution {
  const float* logits;
  f32s top;
  f32s cold;
  f32s log_sum;

  distribution(int64_t n, const float* x, double temperature) : logits(x) {
    top = every(largest(n, x));
    cold = every(static_cast<float>(1.0 / temperature));
    wide_sum sum;
    for (int64_t i = 0; i < n; i += lanes) sum.take(exponential(scaled(i, n)));
    log_sum = every(static_cast<float>(log(sum.total())));
  }
  f32s scaled(int64_t i, int64_t n) const {
    return multiply(subtract(logits_at(logits, i, n), top), cold);
  }
  f32s log_at(int64_t i, int64_t n) const { return subtract(scaled(i, n), log_sum); }
};

// log(share e^a + (1 - share) e^b), 0 < share < 1.
struct mixture {
  bool plain;  // share 0
  f32s log_share;
  f32s log_rest;

  explicit mixture(double share) : plain(share == 0.0) {
    log_share = every(plain ? 0.0f : static_cast<float>(log(share)));
    log_rest = every(static_cast<float>(log1p(-share)));
  }
  f32s log_of(f32s a, f32s b) const {
    if (plain) return b;
    const f32s first = add(log_share, a);
    const f32s second = add(log_rest, b);
    const f32s most = larger(first, second);
    const f32s apart = subtract(smaller(first, second), most);
    return add(most, log_of_one_more(exponential(apart)));
  }
};

struct divergence_row {
  distribution teacher;
  distribution student;
  const divergence_weights& weights;
  mixture forward;
  mixture reverse;

  // The loss of `lanes` outcomes; *q their probabilities, *flow = q dL/dq.
  f32s terms(int64_t i, int64_t n, f32s* q, f32s* flow) const {
    const f32s log_p = teacher.log_at(i, n);
    const f32s log_q = student.log_at(i, n);
    const f32s p = exponential(log_p);
    *q = exponential(log_q);
    *flow = zeros();
    f32s loss = zeros();
    if (weights.forward != 0.0) {
      const f32s log_m = forward.log_of(log_p, log_q);
      const f32s weighted = multiply(every(static_cast<float>(weights.forward)), p);
      loss = where_positive(p, multiply(weighted, subtract(log_p, log_m)));
      f32s share = multiply(weighted, every(static_cast<float>(1.0 - weights.forward_skew)));
      if (!forward.plain) share = multiply(share, exponential(subtract(log_q, log_m)));
      *flow = subtract(*flow, where_positive(p, share));
    }
    if (weights.reverse != 0.0) {
      const f32s log_m = reverse.log_of(log_q, log_p);
      const f32s weighted = multiply(every(static_cast<float>(weights.reverse)), *q);
      const f32s apart = subtract(log_q, log_m);
      loss = add(loss, where_positive(*q, multiply(weighted, apart)));
      f32s slope = add(apart, every(1.0f));
      if (!reverse.plain)
        slope = fnma(every(static_cast<float>(weights.reverse_skew)), exponential(apart), slope);
      *flow = add(*flow, where_positive(*q, multiply(weighted, slope)));
    }
    if (weights.variation != 0.0) {
      const f32s half = every(static_cast<float>(0.5 * weights.variation));
      loss = fma(half, magnitude(subtract(p, *q)), loss);
      *flow = fma(multiply(half, sign_of(subtract(*q, p))), *q, *flow);
    }
    return loss;
  }
};

inline double divergence_row_backward(int64_t vocabulary, const float* teacher,
                                      const float* student, const divergence_weights& weights,
                                      double temperature, float scale, bool add_to,
                                      float* gradient) {
  const divergence_row row{distribution(vocabulary, teacher, temperature),
                           distribution(vocabulary, student, temperature), weights,
                           mixture(weights.forward_skew), mixture(weights.reverse_skew)};
  wide_sum losses;
  wide_sum flows;
  f32s q = zeros();
  f32s flow = zeros();
  for (int64_t i = 0; i < vocabulary; i += lanes) {
    losses.take(row.terms(i, vocabulary, &q, &flow));
    flows.take(flow);
  }
  const f32s mean = every(static_cast<float>(flows.total()));
  const f32s factor = every(static_cast<float>(static_cast<double>(scale) * temperature));
  for (int64_t i = 0; i < vocabulary; i += lanes) {
    row.terms(i, vocabulary, &q, &flow);
    const f32s slope = multiply(factor, fnma(q, mean, flow));
    put(gradient, i, vocabulary, add_to ? add(take(gradient, i, vocabulary), slope) : slope);
  }
  return temperature * temperature * losses.total();
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_DIVERGENCE_BACKWARD_H
