// SPDX-License-Identifier: Apache-2.0
//
// Kernel types of a forward pass: conversion, dense rows, norms, rotation, attention, elementwise
// functions, losses. The formulas stand in native/include/espalier.h; dtype is an esp_dtype.
#ifndef ESPALIER_TRANSFORMER_OPERATIONS_H
#define ESPALIER_TRANSFORMER_OPERATIONS_H

#include <stdint.h>

namespace esp {

// ---- conversion

// y[i] = x[i], n elements.
using widen_bf16_kernel = void(int64_t n, const uint16_t* x, float* y);
using widen_f16_kernel = void(int64_t n, const uint16_t* x, float* y);
using narrow_bf16_kernel = void(int64_t n, const float* x, uint16_t* y);
using narrow_f16_kernel = void(int64_t n, const float* x, uint16_t* y);
// Any other dtype: elements [begin, begin + n) of x to y[0, n), or x[0, n) to elements
// [begin, begin + n) of y.
using widen_any_kernel = void(int32_t dtype, int64_t begin, int64_t n, const void* x, float* y);
using narrow_any_kernel = void(int32_t dtype, int64_t begin, int64_t n, const float* x, void* y);
// Index of the first NaN or infinity of n elements, or -1. exponent: the mask of the exponent field
// of the 16-bit format; `any` looks at elements [begin, begin + n) and returns an index from begin.
using nonfinite_f32_kernel = int64_t(int64_t n, const float* x);
using nonfinite_16_kernel = int64_t(int64_t n, const uint16_t* x, uint16_t exponent);
using nonfinite_any_kernel = int64_t(int32_t dtype, int64_t begin, int64_t n, const void* x);

// ---- dense products of few rows

// A kernel computes y[0..m, begin..end). m <= dense_rows_most; a larger m is a BLAS product.
constexpr int64_t dense_rows_most = 4;
struct dense_operands {
  int64_t m;
  int64_t k;
  const float* x;  // [m, k]
  int64_t ldx;
  const void* w;  // [n, k], or [k, n] for dense_in_out
  int64_t ldw;
  const float* bias;  // [n] or null
  float* y;           // [m, n]
  int64_t ldy;
};
using dense_kernel = void(const dense_operands& a, int64_t begin, int64_t end);
using dense_f32_kernel = dense_kernel;
using dense_bf16_kernel = dense_kernel;
using dense_f16_kernel = dense_kernel;
using dense_in_out_f32_kernel = dense_kernel;
using dense_in_out_bf16_kernel = dense_kernel;
using dense_in_out_f16_kernel = dense_kernel;

// ---- norms and rotation

using rms_norm_kernel = void(int64_t rows, int64_t cols, const float* x /* [rows, cols] */,
                             int64_t ldx, const float* weight, float eps,
                             float* y /* [rows, cols] */, int64_t ldy);
using layer_norm_kernel = void(int64_t rows, int64_t cols, const float* x /* [rows, cols] */,
                               int64_t ldx, const float* weight, const float* bias, float eps,
                               float* y /* [rows, cols] */, int64_t ldy);
// The tables begin at the row of the first token.
using rope_kernel = void(int64_t tokens, int64_t heads, int64_t head_dim, int64_t rotary,
                         const float* cosines /* [tokens, rotary/2] */,
                         const float* sines /* [tokens, rotary/2] */,
                         float* x /* [tokens, heads, head_dim] */, int64_t ldx);

// ---- attention

// One tile: `queries` consecutive queries of `heads` consecutive heads that share one key head.
// queries * heads <= attention_tile_rows.
constexpr int64_t attention_tile_rows = 96;
constexpr int64_t attention_block_keys = 64;
struct attention_tile {
  int64_t queries;
  int64_t heads;
  int64_t head_dim;
  int64_t keys;
  int64_t position;  // of the first query
  int64_t window;    // 0 = none
  float scale;
  const float* q;  // [queries, heads, head_dim]
  int64_t ldq;
  const float* k;  // [keys, head_dim]
  int64_t ldk;
  const float* v;  // [keys, head_dim]
  int64_t ldv;
  float* y;  // [queries, heads, head_dim]
  int64_t ldy;
  // Null: all visible keys, y is the result. Otherwise only the visible keys of [key_begin,
  // key_end) are added to what is there, key_begin a multiple of attention_block_keys: y is the sum
  // of exp(score - largest) v, running [queries, heads, 2] the largest score so far and the sum of
  // exp(score - largest); -infinity and 0 with nothing there.
  float* running;
  int64_t key_begin;
  int64_t key_end;
  // Where the keys and values of the call after this one begin, to be asked for while this one
  // computes; null for none.
  const float* next_k;
  const float* next_v;
  float* scratch;  // attention_scratch(head_dim) floats, 64-byte aligned
};
// The scores of one tile and copies of a block of keys and of values.
constexpr int64_t attention_scratch(int64_t head_dim) {
  return attention_block_keys * (attention_tile_rows + 2 * head_dim);
}
using attention_kernel = void(const attention_tile& a);

// ---- elementwise functions

using silu_mul_kernel = void(int64_t n, const float* gate, const float* up, float* y);
using activation_kernel = void(int64_t n, int32_t kind, const float* x, float* y);
using add_kernel = void(int64_t n, const float* a, const float* b, float* y);
using multiply_kernel = void(int64_t n, const float* a, const float* b, float* y);

// ---- losses, one row of logits

using cross_entropy_kernel = double(int64_t vocabulary, const float* logits, int64_t target);
// Returns the divergence; *same_top = 1 when both have the same first arg max.
using divergence_kernel = double(int64_t vocabulary, const float* p, const float* q,
                                 uint8_t* same_top);
// First index of the largest; -1 when one is NaN or none is above -infinity.
using arg_max_kernel = int64_t(int64_t n, const float* logits);

}  // namespace esp

#endif  // ESPALIER_TRANSFORMER_OPERATIONS_H
