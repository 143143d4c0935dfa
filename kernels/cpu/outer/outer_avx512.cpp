// SPDX-License-Identifier: Apache-2.0
//
// The products of outer.h over the lanes of lanes_avx512.h (AVX-512 F, DQ: 16 floats, 8 doubles);
// outer.h says what they compute.
#include "cpu/lanes_avx512.h"

namespace esp {
namespace {

inline f64s load64(const double* p) {
  return _mm512_loadu_pd(p);
}
inline void store64(double* p, f64s x) {
  _mm512_storeu_pd(p, x);
}

}  // namespace
}  // namespace esp

#include "cpu/outer/outer.h"

namespace esp {

outer_f32_kernel outer_f32_avx512;
outer_f64_kernel outer_f64_avx512;

void outer_f32_avx512(int64_t depth, const float* a, const float* b, double* c, int64_t ldc) {
  outer_add_f32(depth, a, b, c, ldc);
}

void outer_f64_avx512(int64_t depth, const double* a, const double* b, double* c, int64_t ldc) {
  outer_take_f64(depth, a, b, c, ldc);
}

}  // namespace esp
