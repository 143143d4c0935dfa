// SPDX-License-Identifier: Apache-2.0
//
// The kernels of sparse_rows.h over the coders of coders_avx512.h (AVX-512 F, BW, DQ, VL: 16
// lanes); those headers say what they compute.
#include "cpu/sparse/coders_avx512.h"
#include "cpu/sparse/sparse_rows.h"

namespace esp {

matmul_sparse_kernel matmul_sparse_avx512;
sparse_expand_kernel sparse_expand_avx512;

void matmul_sparse_avx512(const sparse_product& p, int64_t begin, int64_t end) {
  with_coder(p.w, [&](auto coder) { multiply_sparse<decltype(coder)>(p, begin, end); });
}

void sparse_expand_avx512(const sparse_weights& w, int64_t begin, int64_t end, float* y,
                          int64_t ldy) {
  with_coder(w, [&](auto coder) { expand_rows<decltype(coder)>(w, begin, end, y, ldy); });
}

}  // namespace esp
