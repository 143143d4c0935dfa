// SPDX-License-Identifier: Apache-2.0
//
// What      Scores of, and what becomes of, one block of SparseGPT columns: prune_lanes.h over
//           AVX-512.
// Layout    gptq_lanes.h; a strip is 32 rows, four vectors of 8 doubles.
// Tile      64 rows, at most 16 columns.
// Numerics  the bits of the reference; no fused operation.
// Needs     AVX-512 F, DQ.
// Tail      none.
#include "cpu/gptq/vectors_avx512.h"
#include "cpu/prune/prune_lanes.h"

namespace esp {

prune_scores_kernel prune_scores_avx512;
prune_columns_kernel prune_columns_avx512;

void prune_scores_avx512(const gptq_panels* panels, int64_t first, int64_t last,
                         const float* importance, int32_t preserve, float* scores) {
  score_lanes<vectors_avx512>(*panels, first, last, importance, preserve, scores);
}

void prune_columns_avx512(const gptq_panels* panels, int64_t first, int64_t last,
                          const prune_rule* rule, const float* importance, const int32_t* groups,
                          const float* scales, const float* zeros, float* kept, float* values,
                          int8_t* codes) {
  drop_lanes<vectors_avx512>(*panels, first, last, *rule, importance, groups, scales, zeros, kept,
                             values, codes);
}

}  // namespace esp
