// SPDX-License-Identifier: Apache-2.0
//
// What      Products with a sparse matrix, the matrix itself, its masks and its values.
// Layout    layout/sparse.h.
// Tile      Rows [begin, end), one kept weight after the other.
// Numerics  matmul_sparse: products and sums in fp64, rounded once. The others are exact, but for
//           scale * code, which is rounded once, and spmm_f32, whose steps are fused.
// Needs     Nothing.
// Tail      None: element by element.
#include "layout/sparse.h"

#include <math.h>
#include <string.h>

#include "espalier.h"
#include "operations.h"

namespace esp {

matmul_sparse_kernel matmul_sparse_reference;
sparse_expand_kernel sparse_expand_reference;
sparse_codes_kernel sparse_codes_reference;
sparse_bits_f32_kernel sparse_bits_f32_reference;
sparse_bits_u8_kernel sparse_bits_u8_reference;
sparse_collect_f32_kernel sparse_collect_f32_reference;
sparse_collect_i8_kernel sparse_collect_i8_reference;
spmm_f32_kernel spmm_f32_reference;
widen_bf16_kernel widen_bf16_reference;
widen_f16_kernel widen_f16_reference;

namespace {

// Calls f(column, j) for every kept weight j of row r.
template <class F>
void each_kept(const sparse_weights& w, int64_t r, F f) {
  const uint8_t* places = w.places + r * sparse_place_bytes(w.cols);
  int64_t j = 0;
  if (w.pattern == ESP_SPARSE_24) {
    for (; j < w.cols / 2; j++) f(4 * (j / 2) + (places[j >> 2] >> (2 * (j & 3)) & 3), j);
    return;
  }
  for (int64_t c = 0; c < w.cols; c++) {
    if ((places[c >> 3] >> (c & 7) & 1) != 0) f(c, j++);
  }
}

// Value j of row r: the number, or the code where the weights are codes.
float stored_value(const sparse_weights& w, int64_t r, int64_t j) {
  const uint8_t* row = w.values + w.starts[r];
  float value = 0.0f;
  uint16_t half = 0;
  switch (w.dtype) {
    case ESP_F32:
      memcpy(&value, row + 4 * j, sizeof value);
      return value;
    case ESP_BF16:
      memcpy(&half, row + 2 * j, sizeof half);
      widen_bf16_reference(1, &half, &value);
      return value;
    case ESP_F16:
      memcpy(&half, row + 2 * j, sizeof half);
      widen_f16_reference(1, &half, &value);
      return value;
    case ESP_I8:
      return static_cast<float>(static_cast<int8_t>(row[j]));
    default:
      return static_cast<float>((row[j >> 1] >> (4 * (j & 1)) & 15) - 8);
  }
}

float scale_of(const sparse_weights& w, int64_t r, int64_t c) {
  return w.scales == nullptr ? 1.0f : w.scales[r * (w.cols / w.group) + c / w.group];
}

}  // namespace

void matmul_sparse_reference(const sparse_product& p, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; r++) {
    for (int64_t i = 0; i < p.m; i++) {
      double sum = p.bias == nullptr ? 0.0 : static_cast<double>(p.bias[r]);
      each_kept(p.w, r, [&](int64_t c, int64_t j) {
        sum += static_cast<double>(scale_of(p.w, r, c)) *
               static_cast<double>(stored_value(p.w, r, j)) *
               static_cast<double>(p.x[i * p.ldx + c]);
      });
      p.y[i * p.ldy + r] = static_cast<float>(sum);
    }
  }
}

void sparse_expand_reference(const sparse_weights& w, int64_t begin, int64_t end, float* y,
                             int64_t ldy) {
  for (int64_t r = begin; r < end; r++) {
    float* const row = y + (r - begin) * ldy;
    for (int64_t c = 0; c < w.cols; c++) row[c] = 0.0f;
    each_kept(w, r, [&](int64_t c, int64_t j) {
      const float value = stored_value(w, r, j);
      row[c] = w.scales == nullptr ? value : scale_of(w, r, c) * value;
    });
  }
}

void sparse_codes_reference(const sparse_weights& w, int64_t begin, int64_t end, int8_t* codes) {
  for (int64_t r = begin; r < end; r++) {
    int8_t* const row = codes + (r - begin) * w.cols;
    for (int64_t c = 0; c < w.cols; c++) row[c] = 0;
    each_kept(w, r,
              [&](int64_t c, int64_t j) { row[c] = static_cast<int8_t>(stored_value(w, r, j)); });
  }
}

namespace {

template <class T>
int64_t nonzero_bits(int64_t cols, const T* w, uint8_t* bitmask) {
  int64_t kept = 0;
  for (int64_t b = 0; b < sparse_place_bytes(cols); b++) bitmask[b] = 0;
  for (int64_t c = 0; c < cols; c++) {
    if (w[c] == T{0}) continue;
    bitmask[c >> 3] = static_cast<uint8_t>(bitmask[c >> 3] | 1u << (c & 7));
    kept++;
  }
  return kept;
}

template <class T>
void collect(int64_t cols, const uint8_t* bitmask, const T* w, T* kept) {
  for (int64_t c = 0; c < cols; c++) {
    if ((bitmask[c >> 3] >> (c & 7) & 1) != 0) *kept++ = w[c];
  }
}

}  // namespace

int64_t sparse_bits_f32_reference(int64_t cols, const float* w, uint8_t* bitmask) {
  return nonzero_bits(cols, w, bitmask);
}

int64_t sparse_bits_u8_reference(int64_t cols, const uint8_t* w, uint8_t* bitmask) {
  return nonzero_bits(cols, w, bitmask);
}

void sparse_collect_f32_reference(int64_t cols, const uint8_t* bitmask, const float* w,
                                  float* kept) {
  collect(cols, bitmask, w, kept);
}

void sparse_collect_i8_reference(int64_t cols, const uint8_t* bitmask, const int8_t* w,
                                 int8_t* kept) {
  collect(cols, bitmask, w, kept);
}

void spmm_f32_reference(const spmm_block& a) {
  for (int64_t r = 0; r < a.rows; r++) {
    float* const y = a.y + r * spmm_columns;
    const uint64_t mask = a.masks[r * a.ldmasks];
    for (int64_t c = 0; c < spmm_depth; c++) {
      if ((mask >> c & 1) == 0) continue;
      const float value = *a.values[r]++;
      for (int64_t j = 0; j < spmm_columns; j++)
        y[j] = fmaf(value, a.b[c * spmm_columns + j], y[j]);
    }
  }
}

}  // namespace esp
