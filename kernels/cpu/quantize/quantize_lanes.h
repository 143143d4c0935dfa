// SPDX-License-Identifier: Apache-2.0
//
// What      Ranges and codes of one row over a vector type V; internal to each instruction-set file
//           that includes it.
// Tile      one row, group by group.
// Numerics  the operations of layout/affine.h and layout/power.h in their order, errors of the MSE
//           search in the same 16 sums: the bits of the reference.
// Tail      the columns of a group that do not fill a vector go through layout/affine.h.
//
// V offers: f32 (of lanes floats), load, store, set1, add, sub, mul, div, min and max as x < y ? x
// : y and x > y ? x : y, magnitude, store_codes; accumulate (sums[i] += x[i] in fp64); i32 (as many
// 32-bit integers): set1, add, sub, left_23 and right_23 (shifts by 23, zeros in), bits and floats
// (the same bits), to_f32 and to_i32.
#ifndef ESPALIER_QUANTIZE_LANES_H
#define ESPALIER_QUANTIZE_LANES_H

#include <math.h>
#include <stdint.h>

#include "layout/affine.h"
#include "layout/power.h"
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
void group_range(int64_t group, const float* w, float* low, float* high) {
  using f32 = typename V::f32;
  f32 least = V::set1(0.0f), most = V::set1(0.0f);
  int64_t c = 0;
  for (; c + V::lanes <= group; c += V::lanes) {
    const f32 x = V::load(w + c);
    least = V::min(x, least);
    most = V::max(x, most);
  }
  float lows[V::lanes], highs[V::lanes];
  V::store(lows, least);
  V::store(highs, most);
  *low = *high = 0.0f;
  for (int64_t i = 0; i < V::lanes; i++) {
    *low = lows[i] < *low ? lows[i] : *low;
    *high = highs[i] > *high ? highs[i] : *high;
  }
  for (; c < group; c++) {
    *low = w[c] < *low ? w[c] : *low;
    *high = w[c] > *high ? w[c] : *high;
  }
}

// layout/power.h, operation for operation.
template <class V>
typename V::f32 power(typename V::f32 x, typename V::f32 p) {
  using f32 = typename V::f32;
  using i32 = typename V::i32;
  const i32 bits = V::bits(x);
  const i32 above = V::right_23(V::sub(bits, V::set1(power_split)));
  const f32 f =
      V::sub(V::floats(V::sub(bits, V::sub(V::left_23(above), V::set1(uint32_t{0x40000000})))),
             V::set1(1.0f));
  f32 t = V::set1(power_logarithm[power_logarithm_degree]);
  for (int32_t i = power_logarithm_degree - 1; i >= 0; i--)
    t = V::add(V::mul(t, f), V::set1(power_logarithm[i]));
  const f32 k = V::to_f32(V::sub(above, V::set1(uint32_t{128})));
  const f32 y =
      V::min(V::max(V::mul(V::add(k, V::mul(t, f)), p), V::set1(-126.0f)), V::set1(127.0f));
  const f32 n = half_even<V>(y);
  const f32 r = V::sub(y, n);
  f32 e = V::set1(power_exponential[power_exponential_degree]);
  for (int32_t i = power_exponential_degree - 1; i >= 0; i--)
    e = V::add(V::mul(e, r), V::set1(power_exponential[i]));
  return V::mul(e, V::floats(V::left_23(V::add(V::to_i32(n), V::set1(uint32_t{127})))));
}

template <class V>
double group_error(int64_t group, const float* w, int32_t bits, float scale, float zero,
                   double norm) {
  using f32 = typename V::f32;
  const float steps = 1.0f / scale, exponent = static_cast<float>(norm);
  const f32 s = V::set1(scale), z = V::set1(zero), inverse = V::set1(steps);
  const f32 p = V::set1(exponent);
  const f32 lowest = V::set1(code_low(bits)), highest = V::set1(code_high(bits));
  double sums[mse_sums] = {};
  int64_t c = 0;
  for (; c + mse_sums <= group; c += mse_sums) {
    for (int64_t i = 0; i < mse_sums; i += V::lanes) {
      const f32 x = V::load(w + c + i);
      const f32 q = half_even<V>(V::min(V::max(V::add(V::div(x, s), z), lowest), highest));
      const f32 difference = V::magnitude(V::sub(x, V::mul(s, V::sub(q, z))));
      V::accumulate(sums + i, power<V>(V::mul(difference, inverse), p));
    }
  }
  for (; c < group; c++) {
    const float q = quantize_code(w[c], scale, zero, code_low(bits), code_high(bits));
    const float difference = fabsf(w[c] - scale * (q - zero));
    sums[c % mse_sums] += static_cast<double>(power_of(difference * steps, exponent));
  }
  double error = 0.0;
  for (int64_t i = 0; i < mse_sums; i++) error += sums[i];
  return error * pow(static_cast<double>(scale), norm);
}

template <class V>
void range_lanes(int64_t cols, int64_t group, const float* w, const range_options& o, float* scales,
                 int8_t* zeros) {
  for (int64_t g = 0; g < cols / group; g++) {
    const float* values = w + g * group;
    float low, high, scale, zero;
    group_range<V>(group, values, &low, &high);
    affine_of_range(low, high, o.bits, o.symmetric, o.scale_dtype, o.tell_ties != 0, &scale, &zero);
    double best = INFINITY;
    int32_t worse = 0;
    for (int32_t i = 0; i < o.mse_grid && i < o.mse_shrink * o.mse_grid; i++) {
      const float p = static_cast<float>(1.0 - static_cast<double>(i) / o.mse_grid);
      float candidate, shift;
      affine_of_range(p * low, p * high, o.bits, o.symmetric, o.scale_dtype, o.tell_ties != 0,
                      &candidate, &shift);
      const double error = group_error<V>(group, values, o.bits, candidate, shift, o.mse_norm);
      if (error < best) {
        best = error;
        scale = candidate;
        zero = shift;
        worse = 0;
      } else if (++worse == o.mse_patience) {
        break;
      }
    }
    scales[g] = scale;
    zeros[g] = static_cast<int8_t>(zero);
  }
}

template <class V>
void nearest_lanes(int64_t cols, const float* w, int32_t bits, float shifter, int64_t group,
                   const float* scales, const int8_t* zeros, int8_t* codes) {
  using f32 = typename V::f32;
  const f32 lowest = V::set1(code_low(bits)), highest = V::set1(code_high(bits));
  const f32 tie = V::set1(shifter);
  const bool exact = zeros != nullptr && shifter != 0.0f;
  for (int64_t g = 0; g < cols / group; g++) {
    const float scale = scales[g];
    const float zero = zeros == nullptr ? 0.0f : static_cast<float>(zeros[g]);
    const f32 s = V::set1(scale), z = V::set1(zero);
    const int64_t end = (g + 1) * group;
    int64_t c = g * group;
    for (; exact && c < end; c++) {
      codes[c] =
          static_cast<int8_t>(exact_code(w[c], scale, zero, code_low(bits), code_high(bits)));
    }
    for (; c + V::lanes <= end; c += V::lanes) {
      const f32 quotient = V::add(V::div(V::load(w + c), s), z);
      const f32 clamped = V::min(V::max(quotient, lowest), highest);
      V::store_codes(codes + c, half_even<V>(V::sub(V::add(clamped, tie), tie)));
    }
    for (; c < end; c++) {
      codes[c] = static_cast<int8_t>(
          quantize_code(w[c], scale, zero, code_low(bits), code_high(bits), shifter));
    }
  }
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_QUANTIZE_LANES_H
