// SPDX-License-Identifier: Apache-2.0
//
// What      y[m, n] = x[m, k] . w[n, k]^T + bias[n], and the same with w [k, n].
// Layout    Row-major; w in fp32, bf16 or f16.
// Tile      Columns [begin, end) of y, all m rows.
// Numerics  Products and sums in fp64, rounded once: the truth that fp32 sums are measured against.
// Needs     Nothing.
// Tail      None: element by element.
#include "operations.h"

namespace esp {

widen_bf16_kernel widen_bf16_reference;
widen_f16_kernel widen_f16_reference;

namespace {

float element_f32(const void* w, int64_t i) {
  return static_cast<const float*>(w)[i];
}

float element_bf16(const void* w, int64_t i) {
  float value;
  widen_bf16_reference(1, static_cast<const uint16_t*>(w) + i, &value);
  return value;
}

float element_f16(const void* w, int64_t i) {
  float value;
  widen_f16_reference(1, static_cast<const uint16_t*>(w) + i, &value);
  return value;
}

// w[j, p] is element j * row + p * column.
template <float (*element)(const void*, int64_t)>
void product(const dense_operands& a, int64_t begin, int64_t end, int64_t row, int64_t column) {
  for (int64_t i = 0; i < a.m; i++) {
    for (int64_t j = begin; j < end; j++) {
      double sum = a.bias != nullptr ? a.bias[j] : 0.0;
      for (int64_t p = 0; p < a.k; p++)
        sum += static_cast<double>(a.x[i * a.ldx + p]) * element(a.w, j * row + p * column);
      a.y[i * a.ldy + j] = static_cast<float>(sum);
    }
  }
}

}  // namespace

void dense_f32_reference(const dense_operands& a, int64_t begin, int64_t end) {
  product<element_f32>(a, begin, end, a.ldw, 1);
}

void dense_bf16_reference(const dense_operands& a, int64_t begin, int64_t end) {
  product<element_bf16>(a, begin, end, a.ldw, 1);
}

void dense_f16_reference(const dense_operands& a, int64_t begin, int64_t end) {
  product<element_f16>(a, begin, end, a.ldw, 1);
}

void dense_in_out_f32_reference(const dense_operands& a, int64_t begin, int64_t end) {
  product<element_f32>(a, begin, end, 1, a.ldw);
}

void dense_in_out_bf16_reference(const dense_operands& a, int64_t begin, int64_t end) {
  product<element_bf16>(a, begin, end, 1, a.ldw);
}

void dense_in_out_f16_reference(const dense_operands& a, int64_t begin, int64_t end) {
  product<element_f16>(a, begin, end, 1, a.ldw);
}

}  // namespace esp
