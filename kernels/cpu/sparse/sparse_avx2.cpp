// SPDX-License-Identifier: Apache-2.0
//
// The kernels of sparse_rows.h over the coders of coders_avx2.h (AVX2, FMA, F16C, BMI2: 8 lanes),
// with a row of x that is alone going through pairs_avx2.h where that has a way for the weights;
// those headers say what they compute.
#include "cpu/sparse/coders_avx2.h"
#include "cpu/sparse/pairs_avx2.h"
#include "cpu/sparse/sparse_rows.h"

namespace esp {

matmul_sparse_kernel matmul_sparse_avx2;
sparse_expand_kernel sparse_expand_avx2;

namespace {

// The last row of y, if V fits.
template <class V>
bool multiply_by_pairs(const sparse_product& p, int64_t begin, int64_t end) {
  if (p.m % 2 == 0 || !pairs_fit<V>(p.w)) return false;
  multiply_row_of_x<V>(p, begin, end, p.m - 1);
  return true;
}

bool multiply_last_row(const sparse_product& p, int64_t begin, int64_t end) {
  if (p.w.pattern != ESP_SPARSE_24) return false;
  switch (p.w.dtype) {
    case ESP_BF16:
      return multiply_by_pairs<bf16_pairs>(p, begin, end);
    case ESP_I8:
      return multiply_by_pairs<int8_pairs>(p, begin, end);
    case ESP_U8:
      return multiply_by_pairs<int4_pairs>(p, begin, end);
    default:
      return false;
  }
}

}  // namespace

void matmul_sparse_avx2(const sparse_product& p, int64_t begin, int64_t end) {
  sparse_product rest = p;
  if (multiply_last_row(p, begin, end)) rest.m--;
  with_coder(p.w, [&](auto coder) { multiply_sparse<decltype(coder)>(rest, begin, end); });
}

void sparse_expand_avx2(const sparse_weights& w, int64_t begin, int64_t end, float* y,
                        int64_t ldy) {
  with_coder(w, [&](auto coder) { expand_rows<decltype(coder)>(w, begin, end, y, ldy); });
}

}  // namespace esp
