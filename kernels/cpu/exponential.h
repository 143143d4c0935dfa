// SPDX-License-Identifier: Apache-2.0
//
// What      exp(x) of a vector, fp32 and fp64: 2^n * e^r with n = round(x / ln 2), |r| <= ln 2 / 2.
// Numerics  fp32: 1 + r + r^2 p(r) with p of degree 5 (Cephes expf); at most 1.01 ulp from the
//           exact value (scan of every 61st float), subnormal results within one spacing. fp64: the
//           Taylor series to r^13 (r^14/14! < 5e-18); at most 1 ulp in a scan of 8 million.
//           exp(-inf) = 0, large x gives infinity, a NaN stays. ln 2 is split so that n * high is
//           exact.
// Needs     The lanes of the file that includes this one.
#ifndef ESPALIER_EXPONENTIAL_H
#define ESPALIER_EXPONENTIAL_H

namespace esp {
namespace {

inline f32s exponential(f32s x) {
  // exp(-104) is below half of the least subnormal, exp(89) above the largest float. The second
  // operand of smaller and larger is returned when it is NaN.
  const f32s clamped = larger(every(-104.0f), smaller(every(89.0f), x));
  const f32s n = nearest_integer(multiply(clamped, every(0x1.715476p+0f)));  // 1 / ln 2
  f32s r = fnma(n, every(0x1.62e4p-1f), clamped);  // ln 2 = high (15 bits) + low
  r = fnma(n, every(0x1.7f7d1cp-20f), r);
  f32s p = every(1.9875691500e-4f);
  p = fma(p, r, every(1.3981999507e-3f));
  p = fma(p, r, every(8.3334519073e-3f));
  p = fma(p, r, every(4.1665795894e-2f));
  p = fma(p, r, every(1.6666665459e-1f));
  p = fma(p, r, every(5.0000001201e-1f));
  const f32s value = add(fma(p, multiply(r, r), r), every(1.0f));
  return scale_by_power(value, n);
}

inline f64s exponential(f64s x) {
  // exp(-746) is below half of the least subnormal, exp(710) above the largest double.
  const f64s clamped = larger(every64(-746.0), smaller(every64(710.0), x));
  const f64s n = nearest_integer(multiply(clamped, every64(0x1.71547652b82fep+0)));
  f64s r = fnma(n, every64(0x1.62e42fefa0000p-1), clamped);  // ln 2 = high (35 bits) + low
  r = fnma(n, every64(0x1.cf79abc9e3b3ap-40), r);
  f64s p = every64(1.0 / 6227020800.0);  // 1 / 13!
  p = fma(p, r, every64(1.0 / 479001600.0));
  p = fma(p, r, every64(1.0 / 39916800.0));
  p = fma(p, r, every64(1.0 / 3628800.0));
  p = fma(p, r, every64(1.0 / 362880.0));
  p = fma(p, r, every64(1.0 / 40320.0));
  p = fma(p, r, every64(1.0 / 5040.0));
  p = fma(p, r, every64(1.0 / 720.0));
  p = fma(p, r, every64(1.0 / 120.0));
  p = fma(p, r, every64(1.0 / 24.0));
  p = fma(p, r, every64(1.0 / 6.0));
  p = fma(p, r, every64(0.5));
  const f64s value = add(fma(p, multiply(r, r), r), every64(1.0));
  return scale_by_power(value, n);
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_EXPONENTIAL_H
