// SPDX-License-Identifier: Apache-2.0
//
// What      The column recurrence of kernels/reference/prune.cpp over a vector type V; internal to
//           each instruction-set file that includes it.
// Layout    gptq_lanes.h. The scores of a set of m columns lie in [m, strip] on the stack, and the
//           choice is made in registers: every pair of columns is compared once, the one with the
//           smaller score (of equals the lower one) adds 1 to the other's rank, and the n lowest
//           ranks go.
// Tile      one strip after the other.
// Numerics  as the reference, operation for operation: same bits. Ranks are small integers in fp32.
// Tail      none: 64 is a multiple of the strip.
//
// V offers what gptq_lanes.h asks for, and abs and where_less(a, b, x): x where a < b, else +0.
#ifndef ESPALIER_PRUNE_LANES_H
#define ESPALIER_PRUNE_LANES_H

#include <stdint.h>

#include "cpu/gptq/gptq_lanes.h"
#include "operations.h"

namespace esp {
namespace {

// Columns [first, last) of one strip: d = -update, score of each into scores[j - first] (steps of
// `step` floats).
template <class V>
void score_strip(strip_of_lanes<V>& work, const gptq_panels& g, int64_t lane, int64_t first,
                 int64_t last, const float* importance, int32_t preserve, float* scores,
                 int64_t step) {
  using f64 = typename V::f64;
  using f32 = typename V::f32;
  const f64 nothing = V::set1(0.0);
  for (int64_t j = first; j < last; j++) {
    f64 update[4];
    work.update_of(g, j, lane, update);
    const f32 factor = V::set1(importance[j]);
    for (int64_t v = 0; v < 2; v++) {
      const f32 original = V::load(g.w + j * gptq_lanes + lane + v * V::lanes);
      const f32 w = V::narrow(V::add(V::wide_low(original), update[2 * v]),
                              V::add(V::wide_high(original), update[2 * v + 1]));
      f32 score = V::mul(V::abs(w), factor);
      if (preserve) score = V::where_less(V::set1(0.0f), V::abs(original), score);
      V::store(scores + (j - first) * step + v * V::lanes, score);
    }
    for (int64_t s = 0; s < 4; s++)
      work.keep(g, j, lane, s * work.half, V::sub(nothing, update[s]));
  }
}

template <class V>
void score_lanes(const gptq_panels& g, int64_t first, int64_t last, const float* importance,
                 int32_t preserve, float* scores) {
  strip_of_lanes<V> work;
  for (int64_t lane = 0; lane < gptq_lanes; lane += work.strip) {
    work.load_finished(g, lane, first);
    score_strip<V>(work, g, lane, first, last, importance, preserve,
                   scores + first * gptq_lanes + lane, gptq_lanes);
  }
}

// kept of the columns [begin, begin + rule.of) of one strip, from their scores [of, strip].
template <class V>
void choose_strip(const gptq_panels& g, int64_t lane, int64_t begin, const prune_rule& rule,
                  const float* scores, float* kept) {
  using f32 = typename V::f32;
  constexpr int64_t strip = strip_of_lanes<V>::strip;
  const f32 one = V::set1(1.0f);
  const f32 last_to_go = V::set1(static_cast<float>(rule.drop) - 0.5f);
  for (int64_t v = 0; v < 2; v++) {
    const float* const mine = scores + v * V::lanes;
    for (int64_t a = 0; a < rule.of; a++) {
      const f32 score = V::load(mine + a * strip);
      f32 rank = V::set1(static_cast<float>(a));  // the lower columns, less those that stay longer
      for (int64_t b = 0; b < a; b++)
        rank = V::sub(rank, V::where_less(score, V::load(mine + b * strip), one));
      for (int64_t b = a + 1; b < rule.of; b++)
        rank = V::add(rank, V::where_less(V::load(mine + b * strip), score, one));
      const int64_t at = (begin + a) * gptq_lanes + lane + v * V::lanes;
      f32 stays = V::where_less(last_to_go, rank, one);
      if (rule.preserve) stays = V::where_less(V::set1(0.0f), V::abs(V::load(g.w + at)), stays);
      V::store(kept + at, stays);
    }
  }
}

template <class V>
void drop_lanes(const gptq_panels& g, int64_t first, int64_t last, const prune_rule& rule,
                const float* importance, const int32_t* groups, const float* scales,
                const float* zeros, float* kept, float* values, int8_t* codes) {
  using f64 = typename V::f64;
  using f32 = typename V::f32;
  strip_of_lanes<V> work;
  alignas(64) float scores[gptq_block * strip_of_lanes<V>::strip];
  const int32_t bits = rule.bits == 0 ? 8 : rule.bits;
  const f32 lowest = V::set1(-static_cast<float>(1 << (bits - 1)));
  const f32 highest = V::set1(static_cast<float>((1 << (bits - 1)) - 1));
  const f32 tie = V::set1(tie_shifter(bits));
  const f32 none = V::set1(0.0f);
  const int64_t set = rule.of == 0 ? last - first : rule.of;
  for (int64_t lane = 0; lane < gptq_lanes; lane += work.strip) {
    work.load_finished(g, lane, first);
    for (int64_t begin = first; begin < last; begin += set) {
      if (rule.of > 0) {
        score_strip<V>(work, g, lane, begin, begin + set, importance, rule.preserve, scores,
                       work.strip);
        choose_strip<V>(g, lane, begin, rule, scores, kept);
      }
      for (int64_t j = begin; j < begin + set; j++) {
        f64 update[4];
        work.update_of(g, j, lane, update);
        const int64_t row = (groups == nullptr ? 0 : groups[j]) * gptq_lanes;
        for (int64_t v = 0; v < 2; v++) {
          const int64_t in_row = lane + v * V::lanes, at = j * gptq_lanes + in_row;
          const f32 original = V::load(g.w + at);
          const f64 low = V::wide_low(original), high = V::wide_high(original);
          const f32 w = V::narrow(V::add(low, update[2 * v]), V::add(high, update[2 * v + 1]));
          const f32 stays = V::load(kept + at);
          f32 value = w;
          if (rule.bits > 0) {
            const f32 scale = V::load(scales + row + in_row);
            const f32 zero = V::load(zeros + row + in_row);
            const f32 quotient = V::add(V::div(w, scale), zero);
            const f32 clamped = V::min(V::max(quotient, lowest), highest);
            const f32 q = half_even<V>(V::sub(V::add(clamped, tie), tie));
            value = V::mul(scale, V::sub(q, zero));
            // Either q or the zero point: the other summand is 0.
            V::store_codes(codes + at, V::add(V::where_less(none, stays, q),
                                              V::where_less(stays, V::set1(0.5f), zero)));
          }
          value = V::where_less(none, stays, value);
          V::store(values + at, value);
          work.keep(g, j, lane, v * V::lanes, V::sub(low, V::wide_low(value)));
          work.keep(g, j, lane, v * V::lanes + work.half, V::sub(high, V::wide_high(value)));
        }
      }
    }
  }
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_PRUNE_LANES_H
