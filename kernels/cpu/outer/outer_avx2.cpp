// SPDX-License-Identifier: Apache-2.0
//
// The products of outer.h over the lanes of lanes_avx2.h (AVX2, FMA: 8 floats, 4 doubles); outer.h
// says what they compute.
#include "cpu/lanes_avx2.h"

namespace esp {
namespace {

inline f64s load64(const double* p) {
  return _mm256_loadu_pd(p);
}
inline void store64(double* p, f64s x) {
  _mm256_storeu_pd(p, x);
}

}  // namespace
}  // namespace esp

#include "cpu/outer/outer.h"

namespace esp {

outer_f32_kernel outer_f32_avx2;
outer_f64_kernel outer_f64_avx2;

void outer_f32_avx2(int64_t depth, const float* a, const float* b, double* c, int64_t ldc) {
  outer_add_f32(depth, a, b, c, ldc);
}

void outer_f64_avx2(int64_t depth, const double* a, const double* b, double* c, int64_t ldc) {
  outer_take_f64(depth, a, b, c, ldc);
}

}  // namespace esp
