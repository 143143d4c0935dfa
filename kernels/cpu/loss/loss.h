// SPDX-License-Identifier: Apache-2.0
//
// What      Cross entropy log(sum exp(l)) - l[target] and KL(softmax(p) || softmax(q)) in nats.
// Layout    One row of logits.
// Tile      One row: a pass for the maximum, one for the sums.
// Numerics  fp64 differences, exponentials (2 ulp) and sums in 2 * lanes64 partial sums; relative
//           error of a sum of positive terms <= (n / (2 lanes64) + 8) * 2^-53. An outcome whose
//           probability under p is zero adds nothing.
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

inline double cross_entropy(int64_t vocabulary, const float* logits, int64_t target) {
  const double top = largest(vocabulary, logits);
  const f64s tops = every64(top);
  f64s low = zeros64();
  f64s high = zeros64();
  for (int64_t i = 0; i < vocabulary; i += lanes) {
    const f32s part = logits_at(logits, i, vocabulary);
    low = add(low, exponential(subtract(low_half(part), tops)));
    high = add(high, exponential(subtract(high_half(part), tops)));
  }
  return log(sum(add(low, high))) + top - logits[target];
}

// Sums over half a vector of outcomes.
struct divergence_sums {
  f64s p = zeros64();
  f64s q = zeros64();
  f64s mixed = zeros64();

  void take(f64s dp, f64s dq) {
    const f64s weight = exponential(dp);
    p = add(p, weight);
    q = add(q, exponential(dq));
    mixed = add(mixed, where_nonzero(weight, multiply(weight, subtract(dp, dq))));
  }
};

inline double divergence(int64_t vocabulary, const float* p, const float* q, uint8_t* same_top) {
  const float top_p = largest(vocabulary, p);
  const float top_q = largest(vocabulary, q);
  *same_top = first_equal(vocabulary, p, top_p) == first_equal(vocabulary, q, top_q) ? 1 : 0;
  const f64s tops_p = every64(static_cast<double>(top_p));
  const f64s tops_q = every64(static_cast<double>(top_q));
  divergence_sums low;
  divergence_sums high;
  for (int64_t i = 0; i < vocabulary; i += lanes) {
    const f32s part_p = logits_at(p, i, vocabulary);
    const f32s part_q = logits_at(q, i, vocabulary);
    low.take(subtract(low_half(part_p), tops_p), subtract(low_half(part_q), tops_q));
    high.take(subtract(high_half(part_p), tops_p), subtract(high_half(part_q), tops_q));
  }
  const double sum_p = sum(add(low.p, high.p));
  const double sum_q = sum(add(low.q, high.q));
  return sum(add(low.mixed, high.mixed)) / sum_p + log(sum_q) - log(sum_p);
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_LOSS_H
