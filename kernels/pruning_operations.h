// SPDX-License-Identifier: Apache-2.0
//
// Kernel types of pruning: the column solver of SparseGPT, the choice of n in m, sums of squares.
#ifndef ESPALIER_PRUNING_OPERATIONS_H
#define ESPALIER_PRUNING_OPERATIONS_H

#include <stdint.h>

#include "quantization_operations.h"

namespace esp {

// What becomes of columns: see kernels/reference/prune.cpp.
struct prune_rule {
  int32_t drop;      // of every `of` columns `drop` go; the choice is made here. 0: nothing goes
  int32_t of;        // 1 .. gptq_block, or 0: `kept` says what stays
  int32_t preserve;  // weights that are 0 stay 0 and are the first to be chosen
  int32_t bits;      // of the codes that kept weights are rounded to; 0: they stay as they are
};

// For the columns j in [first, last): scores[j, lane] = |w_j| * importance[j], where w_j is what
// the column becomes when nothing in [first, last) is dropped; 0 where `preserve` and the weight is
// 0. Writes d = w - that.
using prune_scores_kernel = void(const gptq_panels* panels, int64_t first, int64_t last,
                                 const float* importance,  // [columns], >= 0
                                 int32_t preserve,
                                 float* scores);  // [columns, gptq_lanes]
// Drops, and rounds, the columns [first, last): last - first is a multiple of rule->of. Column j
// uses row groups[j] (null: row 0) of scales and zeros. scales, zeros and codes are not touched
// when bits is 0, importance not when `of` is 0.
using prune_columns_kernel = void(const gptq_panels* panels, int64_t first, int64_t last,
                                  const prune_rule* rule,
                                  const float* importance,  // [columns]
                                  const int32_t* groups,
                                  const float* scales,  // [rows of groups, gptq_lanes]
                                  const float* zeros,   // [rows of groups, gptq_lanes]
                                  float* kept,     // [columns, gptq_lanes]: 1, or 0 where dropped
                                  float* values,   // [columns, gptq_lanes]
                                  int8_t* codes);  // [columns, gptq_lanes]

// kept[c] = 0 for the n smallest |x[c]| * factor[c] (factor NULL: 1) of every m columns, 1 for the
// others; of equals the lowest column goes first. cols is a multiple of m.
using select_nm_kernel = void(int64_t cols, const float* x, const float* factor, int32_t n,
                              int32_t m, uint8_t* kept);

// sums[c] += x[t, c]^2 in fp64, in order of t: x [tokens, cols] ldx.
using column_squares_kernel = void(int64_t tokens, int64_t cols, const float* x, int64_t ldx,
                                   double* sums);

}  // namespace esp

#endif  // ESPALIER_PRUNING_OPERATIONS_H
