// SPDX-License-Identifier: Apache-2.0
//
// What      Sums of squares in AVX-512. The choice of n in m has no row here: it reads a matrix
// once,
//           at the pace of the memory with AVX2 already.
// Layout    column_squares.h.
// Tile      column_squares.h.
// Numerics  the bits of the reference.
// Needs     AVX-512 F, BW, DQ, VL.
// Tail      column_squares.h.
#include "cpu/lanes_avx512.h"
#include "cpu/select/column_squares.h"
#include "operations.h"

namespace esp {

column_squares_kernel column_squares_avx512;

void column_squares_avx512(int64_t tokens, int64_t cols, const float* x, int64_t ldx,
                           double* sums) {
  column_squares(tokens, cols, x, ldx, sums);
}

}  // namespace esp
