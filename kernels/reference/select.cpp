// SPDX-License-Identifier: Apache-2.0
//
// The choice of n in m along rows, and sums of squares down columns.
//
// Numerics  a score is one fp32 product; sums of squares are of exact fp64 products, in order:
//           every variant gives the same bits.
#include "layout/select.h"
#include "operations.h"

namespace esp {

select_nm_kernel select_nm_reference;
column_squares_kernel column_squares_reference;

void select_nm_reference(int64_t cols, const float* x, const float* factor, int32_t n, int32_t m,
                         uint8_t* kept) {
  for (int64_t c = 0; c < cols; c += m)
    select_set(x + c, factor == nullptr ? nullptr : factor + c, n, m, kept + c);
}

void column_squares_reference(int64_t tokens, int64_t cols, const float* x, int64_t ldx,
                              double* sums) {
  for (int64_t t = 0; t < tokens; t++) {
    for (int64_t c = 0; c < cols; c++) {
      const double value = static_cast<double>(x[t * ldx + c]);
      sums[c] += value * value;
    }
  }
}

}  // namespace esp
