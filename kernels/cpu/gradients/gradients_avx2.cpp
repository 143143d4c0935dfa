// SPDX-License-Identifier: Apache-2.0
//
// The kernels of this folder's headers over the lanes of lanes_avx2.h (AVX2, FMA, F16C: 8 lanes);
// the headers say what they compute.
#include "cpu/lanes_avx2.h"
#include "cpu/exponential.h"
#include "cpu/gradients/divergence_backward.h"
#include "cpu/gradients/norm_backward.h"
#include "cpu/gradients/softmax_backward.h"
#include "operations.h"

namespace esp {

void multiply_add_avx2(int64_t n, const float* a, const float* b, float* y) {
  add_products(n, a, b, y);
}

void silu_mul_backward_avx2(int64_t n, const float* gate, const float* up, const float* dy,
                            float* dgate, float* dup) {
  silu_product_slopes(n, gate, up, dy, dgate, dup);
}

void activation_backward_avx2(int64_t n, int32_t kind, const float* x, const float* dy, float* dx) {
  activation_slopes(n, kind, x, dy, dx);
}

void norm_backward_avx2(int64_t rows, int64_t cols, bool centred, const float* x,
                        const float* weight, float eps, const float* dy, double* statistics,
                        float* dx) {
  norm_rows_backward(rows, cols, centred, x, weight, eps, dy, statistics, dx);
}

void norm_parameters_backward_avx2(int64_t rows, int64_t cols, int64_t begin, int64_t end,
                                   const float* x, const double* statistics, const float* dy,
                                   float* dweight, float* dbias) {
  norm_columns_backward(rows, cols, begin, end, x, statistics, dy, dweight, dbias);
}

void column_sums_avx2(int64_t rows, int64_t cols, int64_t begin, int64_t end, const float* x,
                      float* y) {
  add_column_sums(rows, cols, begin, end, x, y);
}

void attention_backward_avx2(const attention_backward_block& b) {
  attention_block_backward(b);
}

double cross_entropy_backward_avx2(int64_t vocabulary, const float* logits, int64_t target,
                                   float scale, float* gradient) {
  return cross_entropy_row_backward(vocabulary, logits, target, scale, gradient);
}

double divergence_backward_avx2(int64_t vocabulary, const float* teacher, const float* student,
                                const divergence_weights& weights, double temperature, float scale,
                                bool add, float* gradient) {
  return divergence_row_backward(vocabulary, teacher, student, weights, temperature, scale, add,
                                 gradient);
}

double squared_error_backward_avx2(int64_t n, const float* x, const float* target, float scale,
                                   float* dx) {
  return squared_errors(n, x, target, scale, dx);
}

double sum_of_squares_avx2(int64_t n, const float* x) {
  return squares(n, x);
}

void adamw_avx2(int64_t n, const adamw_step& s, const float* gradient, float* moment, float* square,
                float* parameter) {
  adamw_steps(n, s, gradient, moment, square, parameter);
}

void sgd_avx2(int64_t n, const sgd_step& s, const float* gradient, float* velocity,
              float* parameter) {
  sgd_steps(n, s, gradient, velocity, parameter);
}

}  // namespace esp
