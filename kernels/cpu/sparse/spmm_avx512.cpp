// SPDX-License-Identifier: Apache-2.0
//
// The kernel of spmm.h over the lanes of lanes_avx512.h; spmm.h says what it computes.
#include "cpu/lanes_avx512.h"
#include "cpu/sparse/spmm.h"

namespace esp {

spmm_f32_kernel spmm_f32_avx512;

void spmm_f32_avx512(const spmm_block& a) {
  spmm_rows(a);
}

}  // namespace esp
