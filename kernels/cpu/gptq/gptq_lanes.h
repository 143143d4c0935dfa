// SPDX-License-Identifier: Apache-2.0
//
// What      The column recurrence of kernels/reference/gptq.cpp over a vector type V; internal to
//           each instruction-set file that includes it.
// Layout    panels [column, 64 lanes]; a strip is `strip` neighbouring lanes (rows of the matrix).
//           The strip's finished D columns are copied together, [column, strip]: in the panel their
//           512-byte steps would fall into an eighth of the first-level cache's sets.
// Tile      one strip after the other; 4 independent sums hide the latency of the additions.
// Numerics  as the reference, operation for operation, product and sum rounded apart: same bits.
// Tail      none: 64 is a multiple of the strip.
//
// V offers: f64 (of half = lanes/2 doubles), f32 (of lanes floats), strip; load, store, set1, add,
// sub, mul, div on both, min and max as x < y ? x : y and x > y ? x : y; store_codes;
// wide_low, wide_high (f32 halves to f64), narrow (two f64 to f32), store_codes.
#ifndef ESPALIER_GPTQ_LANES_H
#define ESPALIER_GPTQ_LANES_H

#include <stdint.h>

#include "layout/affine.h"
#include "operations.h"

namespace esp {
namespace {

// Half to even for |x| < 2^22, as layout/affine.h does it: a rounding instruction would turn -0.3
// into -0, and -0 times a scale is not the +0 that a code 0 decodes to.
template <class V>
typename V::f32 half_even(typename V::f32 x) {
  const typename V::f32 shifter = V::set1(12582912.0f);  // 1.5 * 2^23
  return V::sub(V::add(x, shifter), shifter);
}

template <class V>
struct strip_of_lanes {
  using f64 = typename V::f64;
  using f32 = typename V::f32;
  static constexpr int64_t lanes = V::lanes;     // floats a vector
  static constexpr int64_t half = V::lanes / 2;  // doubles a vector
  static constexpr int64_t strip = 4 * half;     // four vectors of doubles
  alignas(64) double d[gptq_block * strip];      // [column, strip]

  void load_finished(const gptq_panels& g, int64_t lane, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
      for (int64_t s = 0; s < strip; s += half)
        V::store(d + i * strip + s, V::load(g.d + i * gptq_lanes + lane + s));
    }
  }

  // update[4]: P_j / U_jj.
  void update_of(const gptq_panels& g, int64_t j, int64_t lane, f64* update) const {
    const double* p = g.p + j * gptq_lanes + lane;
    const double* u = g.ut + j * gptq_block;
    f64 s0 = V::load(p), s1 = V::load(p + half);
    f64 s2 = V::load(p + 2 * half), s3 = V::load(p + 3 * half);
    for (int64_t i = 0; i < j; i++) {
      const f64 factor = V::set1(u[i]);
      const double* at = d + i * strip;
      s0 = V::add(s0, V::mul(V::load(at), factor));
      s1 = V::add(s1, V::mul(V::load(at + half), factor));
      s2 = V::add(s2, V::mul(V::load(at + 2 * half), factor));
      s3 = V::add(s3, V::mul(V::load(at + 3 * half), factor));
    }
    const f64 pivot = V::set1(u[j]);
    update[0] = V::div(s0, pivot);
    update[1] = V::div(s1, pivot);
    update[2] = V::div(s2, pivot);
    update[3] = V::div(s3, pivot);
  }

  void keep(const gptq_panels& g, int64_t j, int64_t lane, int64_t s, f64 value) {
    V::store(d + j * strip + s, value);
    V::store(g.d + j * gptq_lanes + lane + s, value);
  }
};

template <class V>
void preview_lanes(const gptq_panels& g, int64_t first, int64_t last, float* low, float* high) {
  using f64 = typename V::f64;
  using f32 = typename V::f32;
  strip_of_lanes<V> work;
  const f64 nothing = V::set1(0.0);
  for (int64_t lane = 0; lane < gptq_lanes; lane += work.strip) {
    work.load_finished(g, lane, first);
    for (int64_t j = first; j < last; j++) {
      f64 update[4];
      work.update_of(g, j, lane, update);
      for (int64_t v = 0; v < 2; v++) {
        const int64_t at = lane + v * V::lanes;
        const f32 original = V::load(g.w + j * gptq_lanes + at);
        const f32 w = V::narrow(V::add(V::wide_low(original), update[2 * v]),
                                V::add(V::wide_high(original), update[2 * v + 1]));
        V::store(low + at, V::min(w, V::load(low + at)));
        V::store(high + at, V::max(w, V::load(high + at)));
      }
      for (int64_t s = 0; s < 4; s++)
        work.keep(g, j, lane, s * work.half, V::sub(nothing, update[s]));
    }
  }
}

template <class V>
void round_lanes(const gptq_panels& g, int64_t first, int64_t last, int32_t bits,
                 const int32_t* groups,
                 const float* scales,  // [rows of groups, gptq_lanes]
                 const float* zeros,   // [rows of groups, gptq_lanes]
                 float* values,        // [columns, gptq_lanes]
                 int8_t* codes) {      // [columns, gptq_lanes]
  using f64 = typename V::f64;
  using f32 = typename V::f32;
  strip_of_lanes<V> work;
  const f32 lowest = V::set1(-static_cast<float>(1 << (bits - 1)));
  const f32 highest = V::set1(static_cast<float>((1 << (bits - 1)) - 1));
  const f32 tie = V::set1(tie_shifter(bits));
  for (int64_t lane = 0; lane < gptq_lanes; lane += work.strip) {
    work.load_finished(g, lane, first);
    for (int64_t j = first; j < last; j++) {
      f64 update[4];
      work.update_of(g, j, lane, update);
      const int64_t row = groups == nullptr ? 0 : groups[j];
      for (int64_t v = 0; v < 2; v++) {
        const int64_t at = lane + v * V::lanes;
        const f32 original = V::load(g.w + j * gptq_lanes + at);
        const f64 low = V::wide_low(original), high = V::wide_high(original);
        const f32 w = V::narrow(V::add(low, update[2 * v]), V::add(high, update[2 * v + 1]));
        const f32 scale = V::load(scales + row * gptq_lanes + at);
        const f32 zero = V::load(zeros + row * gptq_lanes + at);
        const f32 quotient = V::add(V::div(w, scale), zero);
        const f32 clamped = V::min(V::max(quotient, lowest), highest);
        const f32 q = half_even<V>(V::sub(V::add(clamped, tie), tie));
        const f32 value = V::mul(scale, V::sub(q, zero));
        V::store(values + j * gptq_lanes + at, value);
        V::store_codes(codes + j * gptq_lanes + at, q);
        work.keep(g, j, lane, v * V::lanes, V::sub(low, V::wide_low(value)));
        work.keep(g, j, lane, v * V::lanes + work.half, V::sub(high, V::wide_high(value)));
      }
    }
  }
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_GPTQ_LANES_H
