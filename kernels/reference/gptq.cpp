// SPDX-License-Identifier: Apache-2.0
//
// GPTQ (Frantar et al., arXiv 2210.17323), left-looking and without an inverse.
//
//   paper                                   here
//   H^-1 = R^T R, R upper                   H = U U^T, U upper, so R = U^-1
//   E[:, j] = (w_j - q_j) / R_jj            D[:, j] = w0_j - q_j, w0 the weight before any update
//   w_k -= E[:, j] R_jk for all k > j       w_j = w0_j + (sum over i < j of D[:, i] U_ij) / U_jj
//
// Why they are equal. When column j is reached, w_j = w0_j - sum_{i<j} E_i R_ij. Adding E_j R_jj =
// w_j - q_j on both sides of w0_j - q_j gives D = E R, hence E = D U, hence E_j = P_j + D_j U_jj
// with P_j = sum_{i<j} D_i U_ij. With R_jj = 1 / U_jj: w_j - q_j = E_j / U_jj = P_j / U_jj + D_j,
// that is w_j = w0_j + P_j / U_jj. A column needs only finished columns of D: no inverse, and W is
// read and written once.
//
// A group's scale needs all its columns as they are when the first one is reached. They are what
// the recurrence gives when nothing inside the group is rounded: take q_j = w_j, so that D_j =
// -P_j / U_jj, and go on. That is the preview.
//
// What      one block of columns; sums over the columns before the block (p) are a product done by
//           the caller.
// Layout    panels [column, lane], a lane is a row of the matrix.
// Tile      64 lanes, at most 128 columns.
// Numerics  p, D and sums in fp64 (128 products: relative 128 * 2^-53); the updated weight is
//           rounded to fp32 before scale and rounding, so that with a diagonal H the result is
//           round to nearest, ties apart: they are told by snap_to_tie. Product and sum are rounded
//           apart: every variant gives the same bits.
// Needs     nothing.
// Tail      none: lanes past the last row hold zeros.
#include "layout/affine.h"
#include "operations.h"

namespace esp {

gptq_preview_kernel gptq_preview_reference;
gptq_columns_kernel gptq_columns_reference;

namespace {

// P_j / U_jj of one lane.
double update_of(const gptq_panels& g, int64_t j, int64_t lane) {
  double sum = g.p[j * gptq_lanes + lane];
  for (int64_t i = 0; i < j; i++) sum += g.d[i * gptq_lanes + lane] * g.ut[j * gptq_block + i];
  return sum / g.ut[j * gptq_block + j];
}

}  // namespace

void gptq_preview_reference(const gptq_panels* panels, int64_t first, int64_t last, float* low,
                            float* high) {
  const gptq_panels& g = *panels;
  for (int64_t j = first; j < last; j++) {
    for (int64_t lane = 0; lane < gptq_lanes; lane++) {
      const double update = update_of(g, j, lane);
      const float w = static_cast<float>(static_cast<double>(g.w[j * gptq_lanes + lane]) + update);
      low[lane] = w < low[lane] ? w : low[lane];
      high[lane] = w > high[lane] ? w : high[lane];
      g.d[j * gptq_lanes + lane] = -update;
    }
  }
}

void gptq_columns_reference(const gptq_panels* panels, int64_t first, int64_t last, int32_t bits,
                            const int32_t* groups, const float* scales, const float* zeros,
                            float* values, int8_t* codes) {
  const gptq_panels& g = *panels;
  for (int64_t j = first; j < last; j++) {
    const int64_t row = groups == nullptr ? 0 : groups[j];
    for (int64_t lane = 0; lane < gptq_lanes; lane++) {
      const int64_t at = j * gptq_lanes + lane;
      const double original = static_cast<double>(g.w[at]);
      const float w = static_cast<float>(original + update_of(g, j, lane));
      const float scale = scales[row * gptq_lanes + lane];
      const float zero = zeros[row * gptq_lanes + lane];
      const float q =
          quantize_code(w, scale, zero, code_low(bits), code_high(bits), tie_shifter(bits));
      values[at] = scale * (q - zero);
      codes[at] = static_cast<int8_t>(q);
      g.d[at] = original - static_cast<double>(values[at]);
    }
  }
}

}  // namespace esp
