// SPDX-License-Identifier: Apache-2.0
//
// What      Cross entropy log(sum exp(l)) - l[target] and KL(softmax(p) || softmax(q)) in nats; the
//           first largest logit.
// Layout    One row of logits.
// Tile      One row: a pass for the maximum, one for the sums; four vectors a turn, so that
//           polynomials overlap.
// Numerics  Differences from the maximum are taken in fp32, where they are exact to half an ulp of
//           the difference; exponentials in fp32 (1.01 ulp), sums in fp64. |error of a loss| <=
//           2^-22 + 2^-24 * (largest difference that still counts, 104). The terms of a divergence
//           are weight * ((p - top p) - (q - top q)) with the bracket in fp64. A row diverges from
//           itself by exactly 0. An outcome whose probability under p is zero adds nothing.
// Needs     The lanes of the file that includes this one; exponential.h.
// Tail      Lanes beyond the end hold -infinity, whose exponential is 0.
#ifndef ESPALIER_LOSS_H
#define ESPALIER_LOSS_H

#include <math.h>
#include <stdint.h>

namespace esp {
namespace {

inline f32s logits_at(const float* x, int64_t i, int64_t n) {
  return i + lanes <= n ? load(x + i)
                        : keep(load_tail(x + i, n - i), n - i, every(-__builtin_inff()));
}

inline float largest(int64_t n, const float* x) {
  f32s most = every(-__builtin_inff());
  for (int64_t i = 0; i < n; i += lanes) most = larger(most, logits_at(x, i, n));
  return maximum(most);
}

// 0 when nothing equals it (NaN).
inline int64_t first_equal(int64_t n, const float* x, float value) {
  for (int64_t i = 0; i < n; i += lanes) {
    const int64_t width = n - i < lanes ? n - i : lanes;
    const uint32_t real = static_cast<uint32_t>((uint64_t{1} << width) - 1);
    const uint32_t found = equal_lanes(logits_at(x, i, n), every(value)) & real;
    if (found != 0) return i + __builtin_ctz(found);
  }
  return 0;
}

// Sums of two halves of a vector.
struct wide_sum {
  f64s low = zeros64();
  f64s high = zeros64();

  void take(f32s x) {
    low = add(low, low_half(x));
    high = add(high, high_half(x));
  }
  double total() const { return sum(add(low, high)); }
};

inline double cross_entropy(int64_t vocabulary, const float* logits, int64_t target) {
  const float top = largest(vocabulary, logits);
  const f32s tops = every(top);
  wide_sum weights;
  for (int64_t i = 0; i < vocabulary; i += lanes)
    weights.take(exponential(subtract(logits_at(logits, i, vocabulary), tops)));
  return log(weights.total()) + static_cast<double>(top) - static_cast<double>(logits[target]);
}

inline double divergence(int64_t vocabulary, const float* p, const float* q, uint8_t* same_top) {
  const float top_p = largest(vocabulary, p);
  const float top_q = largest(vocabulary, q);
  *same_top = first_equal(vocabulary, p, top_p) == first_equal(vocabulary, q, top_q) ? 1 : 0;
  const f32s tops_p = every(top_p);
  const f32s tops_q = every(top_q);
  const f64s apart = every64(static_cast<double>(top_p) - static_cast<double>(top_q));
  wide_sum weights_p;
  wide_sum weights_q;
  f64s low = zeros64();
  f64s high = zeros64();
  const auto mixed = [&](f64s weight, f64s a, f64s b) {
    return where_nonzero(weight, multiply(weight, subtract(subtract(a, b), apart)));
  };
  for (int64_t i = 0; i < vocabulary; i += lanes) {
    const f32s part_p = logits_at(p, i, vocabulary);
    const f32s part_q = logits_at(q, i, vocabulary);
    const f32s weight = exponential(subtract(part_p, tops_p));
    weights_p.take(weight);
    weights_q.take(exponential(subtract(part_q, tops_q)));
    low = add(low, mixed(low_half(weight), low_half(part_p), low_half(part_q)));
    high = add(high, mixed(high_half(weight), high_half(part_p), high_half(part_q)));
  }
  const double sum_p = weights_p.total();
  return sum(add(low, high)) / sum_p + log(weights_q.total()) - log(sum_p);
}

inline int64_t arg_max(int64_t n, const float* logits) {
  for (int64_t i = 0; i < n; i += lanes) {
    const f32s part = logits_at(logits, i, n);
    if (equal_lanes(part, part) != equal_lanes(zeros(), zeros())) return -1;  // a NaN
  }
  const float top = largest(n, logits);
  return top > -__builtin_inff() ? first_equal(n, logits, top) : -1;
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_LOSS_H
