// SPDX-License-Identifier: Apache-2.0
//
// Kernel types of sparse weights. The stored form stands in native/include/espalier.h.
#ifndef ESPALIER_SPARSE_OPERATIONS_H
#define ESPALIER_SPARSE_OPERATIONS_H

#include <stdint.h>

namespace esp {

// A sparse matrix [rows, cols]. A kernel reads nothing outside [values, values_end), but inside it
// whatever suits it.
struct sparse_weights {
  int32_t pattern;  // esp_sparsity
  int32_t dtype;    // esp_dtype of values: F32, F16, BF16; I8, U8 (two 4-bit codes + 8) with scales
  int64_t rows;
  int64_t cols;
  const uint8_t* places;  // [rows, ceil(cols / 8)]
  const int64_t* starts;  // [rows]: the byte of values at which a row begins
  const uint8_t* values;
  const uint8_t* values_end;
  const float* scales;  // [rows, cols / group], null without codes
  int64_t group;        // 0 without codes
};

// y[0..m, begin..end) = x . W^T + bias of the rows [begin, end) of W; m <= sparse_rows_most.
static constexpr int64_t sparse_rows_most = 8;
struct sparse_product {
  sparse_weights w;
  int64_t m;
  const float* x;  // [m, cols] ldx
  int64_t ldx;
  const float* bias;  // [rows] or null
  float* y;           // [m, rows] ldy
  int64_t ldy;
};
using matmul_sparse_kernel = void(const sparse_product& p, int64_t begin, int64_t end);

// y[0..end - begin, cols] (ldy) = the rows [begin, end) of W, scale * code rounded once: every
// variant gives the same bits.
using sparse_expand_kernel = void(const sparse_weights& w, int64_t begin, int64_t end, float* y,
                                  int64_t ldy);
// The same for the codes themselves, ld = cols.
using sparse_codes_kernel = void(const sparse_weights& w, int64_t begin, int64_t end,
                                 int8_t* codes);

// One row: bit c & 7 of bitmask[c >> 3] = w[c] is not 0 (NaN is not, -0 is); pad bits 0. Returns
// their number.
using sparse_bits_f32_kernel = int64_t(int64_t cols, const float* w, uint8_t* bitmask);
using sparse_bits_u8_kernel = int64_t(int64_t cols, const uint8_t* w, uint8_t* bitmask);

// One row: kept[j] = the j-th element of w [cols] whose bit is set. kept has exactly their number.
using sparse_collect_f32_kernel = void(int64_t cols, const uint8_t* bitmask, const float* w,
                                       float* kept);
using sparse_collect_i8_kernel = void(int64_t cols, const uint8_t* bitmask, const int8_t* w,
                                      int8_t* kept);

// A block of a product with a sparse matrix: y[rows, spmm_columns] += A . b over at most 64 columns
// of A, in ascending order, fused steps.
static constexpr int64_t spmm_columns = 96;
static constexpr int64_t spmm_depth = 64;
struct spmm_block {
  int64_t rows;
  const uint64_t* masks;  // [rows] ldmasks: bit c is set: column c of the block is kept
  int64_t ldmasks;
  const float** values;  // [rows]: a row's values of this block; moved on behind them
  const float* b;        // [spmm_depth, spmm_columns], 64-byte aligned
  float* y;              // [rows, spmm_columns], 64-byte aligned
};
using spmm_f32_kernel = void(const spmm_block& a);

}  // namespace esp

#endif  // ESPALIER_SPARSE_OPERATIONS_H
