// SPDX-License-Identifier: Apache-2.0
//
// Kernel types of quantization: packed products, ranges, codes, packing, the GPTQ solver.
#ifndef ESPALIER_QUANTIZATION_OPERATIONS_H
#define ESPALIER_QUANTIZATION_OPERATIONS_H

#include <stdint.h>

namespace esp {

// ---- products from packed weights; operands as in espalier.h

// Products are summed in fp32 over chunks of at most this many columns, none crossing a group,
// before the group's scale is applied: a chunk's rounding stays below 128 eps sum|q - zero||x|.
static constexpr int64_t packed_chunk = 128;
// Chunks of one row of `k` columns: every group has its own.
static constexpr int64_t packed_chunks(int64_t k, int64_t group) {
  return group == 0 ? 0 : k / group * ((group + packed_chunk - 1) / packed_chunk);
}

// One row of x in block fixed point: layout/fixed_point.h.
// digits: fixed_row_steps() steps, 64-byte aligned. quanta: packed_chunks(k, group) entries. sums:
// k / group entries, the sum of X * quantum over every group, through which zeros are folded. Every
// variant gives the same bits.
using fix_row_kernel = void(int32_t bits, int32_t fine, int64_t k, int64_t group, const float* x,
                            int8_t* digits, float* quanta, float* sums);

// y[m, n] = x[m, k] . W[n, k]^T + bias, straight from the bit streams.
struct packed_operands {
  int32_t bits;
  int32_t fine;  // which fixed point `digits` holds
  int64_t m, n, k;
  const float* x;  // [m, k] ldx: what the reference reads
  int64_t ldx;
  const int8_t* digits;   // [m, digit_bytes]: the same in fixed point, which other variants read
  int64_t digit_bytes;    // of a row
  const float* quanta;    // [m, packed_chunks(k, group)]
  const float* sums;      // [m, k / group]
  const uint32_t* codes;  // [n, ceil(k * bits / 32)] ldcodes
  int64_t ldcodes;
  const float* scales;  // [n, k / group]
  const int8_t* zeros;  // [n, k / group] or null
  int64_t group;
  const float* bias;  // [n] or null
  float* y;           // [m, n] ldy
  int64_t ldy;
};
using matmul_packed_kernel = void(const packed_operands& o);
using matmul_w4a16_kernel = matmul_packed_kernel;
using matmul_w8a16_kernel = matmul_packed_kernel;
using matmul_wna16_kernel = matmul_packed_kernel;
// w[n, k] = scale * (q - zero), rounded once: every variant gives the same bits.
using dequantize_kernel = void(int32_t bits, int64_t n, int64_t k,
                               const uint32_t* codes,  // [n, ceil(k * bits / 32)] ldcodes
                               int64_t ldcodes,
                               const float* scales,         // [n, k / group]
                               const int8_t* zeros,         // [n, k / group] or null
                               int64_t group,               //
                               const int32_t* group_index,  // [k] or null
                               float* w,                    // [n, k] ldw
                               int64_t ldw);

// ---- products with panels; see kernels/reference/panels.cpp

static constexpr int64_t panel_width = 16;
// W [n, k] lies in panels of 16 rows, [ceil(n / 16)][k][16], zeros behind the last row.
struct panel_product {
  int64_t m, n, k;
  const float* x;  // [m, k] ldx
  int64_t ldx;
  const float* panels;
  int64_t panel_stride;  // floats from one panel to the next, >= 16 k
  const float* bias;     // [n] or null
  bool adds;             // to y, instead of to the bias or 0
  float* y;              // [m, n] ldy
  int64_t ldy;
};
using panel_product_kernel = void(const panel_product& p);
// One panel from up to 16 rows of W.
using fill_panel_kernel = void(int64_t rows, int64_t k, const float* w, int64_t ldw, float* panel);

// ---- ranges and codes: one row a call; every variant gives the same bits

// Partial sums of a candidate's error: column c adds to sum c % mse_sums.
static constexpr int64_t mse_sums = 16;

// How a range is chosen: see esp_quantize_range.
struct range_options {
  int32_t bits;
  int32_t symmetric;
  int32_t scale_dtype;
  int32_t mse_grid;
  double mse_shrink;
  double mse_norm;
  int32_t mse_patience;
  int32_t tell_ties;
};
// scales, zeros: cols / group entries.
using quantize_range_kernel = void(int64_t cols, int64_t group, const float* w,
                                   const range_options* options, float* scales, int8_t* zeros);
// zeros may be null. shifter: 0, or tie_shifter(bits) of layout/affine.h to tell ties; with zeros
// ties are told by exact_code there, and the shifter only says so.
using quantize_nearest_kernel = void(int64_t cols, const float* w, int32_t bits, float shifter,
                                     int64_t group, const float* scales, const int8_t* zeros,
                                     int8_t* codes);
// words: ceil(cols * bits / 32), pad bits 0.
using pack_kernel = void(int64_t cols, int32_t bits, const int8_t* codes, uint32_t* words);
using unpack_kernel = void(int64_t cols, int32_t bits, const uint32_t* words, int8_t* codes);

// ---- products of two strips, [depth, outer_width] each; see kernels/reference/outer.cpp

static constexpr int64_t outer_width = 16;
// fp32 sums are folded into fp64 after so many products.
static constexpr int64_t outer_chunk = 256;
// c[outer_width, outer_width] (ldc) += a^T b, products in fp32.
using outer_f32_kernel = void(int64_t depth, const float* a, const float* b, double* c,
                              int64_t ldc);
// c[outer_width, outer_width] (ldc) -= a^T b.
using outer_f64_kernel = void(int64_t depth, const double* a, const double* b, double* c,
                              int64_t ldc);

// ---- GPTQ: at most gptq_block columns for gptq_lanes rows of the matrix at once

static constexpr int64_t gptq_block = outer_width;
static constexpr int64_t gptq_lanes = 64;

// Panels are [column of the block, lane]; a lane is a row of the matrix. Lanes past the last row
// hold zeros.
struct gptq_panels {
  const double* ut;  // [gptq_block, gptq_block]: ut[j, i] = U[i, j], i <= j
  const double* p;   // [columns, gptq_lanes]: sum of D[:, c] U[c, j] over the columns before these
  const float* w;    // [columns, gptq_lanes]: original weights
  double* d;         // [columns, gptq_lanes]: D = w - value, columns before `first` finished
};
// For the columns j in [first, last): what they become when nothing in [first, last) is rounded.
// Writes d = w - that, and widens low, high [gptq_lanes] to it.
using gptq_preview_kernel = void(const gptq_panels* panels, int64_t first, int64_t last, float* low,
                                 float* high);
// Rounds the columns [first, last). Column j uses row groups[j] (null: row 0) of scales and zeros.
using gptq_columns_kernel = void(const gptq_panels* panels, int64_t first, int64_t last,
                                 int32_t bits, const int32_t* groups,
                                 const float* scales,  // [rows of groups, gptq_lanes]
                                 const float* zeros,   // [rows of groups, gptq_lanes]
                                 float* values,        // [columns, gptq_lanes]
                                 int8_t* codes);       // [columns, gptq_lanes]

}  // namespace esp

#endif  // ESPALIER_QUANTIZATION_OPERATIONS_H
