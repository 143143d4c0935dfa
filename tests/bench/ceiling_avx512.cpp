// SPDX-License-Identifier: Apache-2.0
#include <immintrin.h>
#include <stdint.h>

namespace bench {
namespace {
typedef float vf __attribute__((vector_size(64)));
typedef double vd __attribute__((vector_size(64)));
typedef long long vi __attribute__((vector_size(64), may_alias));
inline vf fused(vf a, vf b, vf c) {
  return _mm512_fmadd_ps(a, b, c);
}
inline vd fused(vd a, vd b, vd c) {
  return _mm512_fmadd_pd(a, b, c);
}
}  // namespace
}  // namespace bench

#include "ceiling_lanes.h"

namespace bench {
const probe_kernels probe_avx512 = {read_all,           copy_all,   update_all,
                                    fp32_steps,         fp64_steps, flop_per_step_of(16),
                                    flop_per_step_of(8)};
}
