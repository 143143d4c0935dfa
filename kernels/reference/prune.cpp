// SPDX-License-Identifier: Apache-2.0
//
// SparseGPT (Frantar and Alistarh, arXiv 2301.00774) on the left-looking recurrence of gptq.cpp: a
// dropped weight is one that is rounded to 0, so D = w0 - 0 there, and every later column makes up
// for it as for any other error. A kept weight stays what it has become, or is rounded to a code:
// then both losses are solved in one pass.
//
// What to drop. The paper's score of weight j is w_j^2 / [H^-1]_jj of the columns from j on, with
// H^-1 = R^T R that is (w_j / R_jj)^2, and R_jj = 1 / U_jj: the order of |w_j| U_jj. Columns are
// compared as they are when the first of them is reached, which is what the preview of gptq.cpp
// gives. Of m columns the n with the smallest scores go, of equals the lowest column.
//
// What      one block of columns; sums over the columns before the block (p) are a product done by
//           the caller.
// Layout    panels [column, lane], a lane is a row of the matrix.
// Tile      64 lanes, at most 16 columns.
// Numerics  as gptq.cpp; scores in fp32 (two roundings, relative 2^-23). Product and sum are
// rounded
//           apart: every variant gives the same bits.
// Needs     nothing.
// Tail      none: lanes past the last row hold zeros.
#include "layout/affine.h"
#include "operations.h"

namespace esp {

prune_scores_kernel prune_scores_reference;
prune_columns_kernel prune_columns_reference;

namespace {

// P_j / U_jj of one lane.
double update_of(const gptq_panels& g, int64_t j, int64_t lane) {
  double sum = g.p[j * gptq_lanes + lane];
  for (int64_t i = 0; i < j; i++) sum += g.d[i * gptq_lanes + lane] * g.ut[j * gptq_block + i];
  return sum / g.ut[j * gptq_block + j];
}

float magnitude(float x) {
  return x < 0.0f ? -x : x;
}

void score(const gptq_panels& g, int64_t j, int64_t lane, float importance, int32_t preserve,
           float* to) {
  const int64_t at = j * gptq_lanes + lane;
  const double update = update_of(g, j, lane);
  const float w = static_cast<float>(static_cast<double>(g.w[at]) + update);
  *to = preserve && g.w[at] == 0.0f ? 0.0f : magnitude(w) * importance;
  g.d[at] = -update;
}

// Of `count` columns from j on.
void choose(const gptq_panels& g, int64_t j, const prune_rule& rule, const float* scores,
            float* kept) {
  for (int64_t lane = 0; lane < gptq_lanes; lane++) {
    for (int32_t a = 0; a < rule.of; a++) {
      const float mine = scores[a * gptq_lanes + lane];
      int32_t rank = 0;  // how many go before this one
      for (int32_t b = 0; b < rule.of; b++) {
        const float other = scores[b * gptq_lanes + lane];
        rank += b < a ? other <= mine : b > a ? other < mine : 0;
      }
      const int64_t at = (j + a) * gptq_lanes + lane;
      const bool zero = rule.preserve && g.w[at] == 0.0f;
      kept[at] = rank >= rule.drop && !zero ? 1.0f : 0.0f;
    }
  }
}

}  // namespace

void prune_scores_reference(const gptq_panels* panels, int64_t first, int64_t last,
                            const float* importance, int32_t preserve, float* scores) {
  for (int64_t j = first; j < last; j++) {
    for (int64_t lane = 0; lane < gptq_lanes; lane++)
      score(*panels, j, lane, importance[j], preserve, scores + j * gptq_lanes + lane);
  }
}

void prune_columns_reference(const gptq_panels* panels, int64_t first, int64_t last,
                             const prune_rule* rule, const float* importance, const int32_t* groups,
                             const float* scales, const float* zeros, float* kept, float* values,
                             int8_t* codes) {
  const gptq_panels& g = *panels;
  const int64_t set = rule->of == 0 ? last - first : rule->of;
  float scores[gptq_block * gptq_lanes];
  for (int64_t begin = first; begin < last; begin += set) {
    if (rule->of > 0) {
      for (int64_t j = begin; j < begin + set; j++) {
        for (int64_t lane = 0; lane < gptq_lanes; lane++)
          score(g, j, lane, importance[j], rule->preserve,
                scores + (j - begin) * gptq_lanes + lane);
      }
      choose(g, begin, *rule, scores, kept);
    }
    for (int64_t j = begin; j < begin + set; j++) {
      for (int64_t lane = 0; lane < gptq_lanes; lane++) {
        const int64_t at = j * gptq_lanes + lane;
        const double original = static_cast<double>(g.w[at]);
        const float w = static_cast<float>(original + update_of(g, j, lane));
        const bool stays = kept[at] > 0.0f;
        if (rule->bits == 0) {
          values[at] = stays ? w : 0.0f;
        } else {
          const int64_t row = (groups == nullptr ? 0 : groups[j]) * gptq_lanes + lane;
          const float q = quantize_code(w, scales[row], zeros[row], code_low(rule->bits),
                                        code_high(rule->bits), tie_shifter(rule->bits));
          values[at] = stays ? scales[row] * (q - zeros[row]) : 0.0f;
          codes[at] = static_cast<int8_t>(stays ? q : zeros[row]);
        }
        g.d[at] = original - static_cast<double>(values[at]);
      }
    }
  }
}

}  // namespace esp
