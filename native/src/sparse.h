// SPDX-License-Identifier: Apache-2.0
//
// What the entry points of sparse weights share: the operands as they were given, their checks, and
// where the values of a row begin.
#ifndef ESPALIER_SPARSE_H
#define ESPALIER_SPARSE_H

#include "internal.h"
#include "operations.h"

namespace esp {

struct sparse_operands {
  const char* op;
  int64_t rows, cols;
  esp_sparsity pattern;
  esp_dtype dtype;
  const uint8_t* places;       // [rows, sparse_place_bytes(cols)]
  const int64_t* row_offsets;  // [rows], null for S24
  const void* values;
  const float* scales;  // [rows, cols / group] or null
  int64_t group;
};

constexpr bool sparse_dtype_is_codes(esp_dtype dtype) {
  return dtype == ESP_I8 || dtype == ESP_U8;
}
constexpr int32_t sparse_value_bits(esp_dtype dtype) {
  return dtype == ESP_F32 ? 32 : dtype == ESP_U8 ? 4 : dtype == ESP_I8 ? 8 : 16;
}

// Sizes, pattern and dtype; legal for a matrix without elements too.
esp_status check_sparse_sizes(const sparse_operands& w);
// Addresses of a matrix that has elements; with_values: values, and scales if they are codes, too.
esp_status check_sparse_addresses(const sparse_operands& w, bool with_values);

// Kept weights of row r.
int64_t kept_in_row(const sparse_operands& w, int64_t r);
// starts[r - begin] = the byte of values at which row r of [begin, end) begins.
void sparse_row_starts(const sparse_operands& w, int64_t begin, int64_t end, int64_t* starts);
// The length of all values in bytes; rows > 0.
int64_t sparse_values_length(const sparse_operands& w);
// The rows [begin, end) as a matrix of its own, for kernels; starts from sparse_row_starts.
sparse_weights sparse_rows_of(const sparse_operands& w, int64_t begin, int64_t end,
                              const int64_t* starts, int64_t values_length);

// What is multiplied: y[m, rows] = x[m, cols] . W^T + bias.
struct sparse_activations {
  int64_t m;
  const float* x;  // [m, cols] ldx
  int64_t ldx;
  const float* bias;  // [rows] or null
  float* y;           // [m, rows] ldy
  int64_t ldy;
};

// All kept weights; rows > 0.
int64_t sparse_kept(const sparse_operands& w);

// Many rows of x as panels of spmm_f32, with operands that were checked;
// native/src/sparse_panels.cpp.
esp_status multiply_panels(esp_context* ctx, const sparse_operands& w, const sparse_activations& d);

}  // namespace esp

#endif  // ESPALIER_SPARSE_H
