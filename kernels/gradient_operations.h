// SPDX-License-Identifier: Apache-2.0
//
// Kernel types of training: gradients of a forward pass, losses with their gradients, optimisers.
// The formulas stand in native/include/espalier.h. A gradient d* is added to what is there, so that
// a tensor with several readers needs no second buffer.
#ifndef ESPALIER_GRADIENT_OPERATIONS_H
#define ESPALIER_GRADIENT_OPERATIONS_H

#include <stdint.h>

namespace esp {

// ---- elementwise functions

using multiply_add_kernel = void(int64_t n, const float* a, const float* b, float* y);
using silu_mul_backward_kernel = void(int64_t n, const float* gate, const float* up,
                                      const float* dy, float* dgate, float* dup);
using activation_backward_kernel = void(int64_t n, int32_t kind, const float* x, const float* dy,
                                        float* dx);

// ---- norms

// Some rows: writes statistics[r] = {mean (0 unless centred), factor 1 / sqrt(.. + eps)}; with dx
// also adds its gradient.
using norm_backward_kernel = void(int64_t rows, int64_t cols, bool centred,
                                  const float* x /* [rows, cols] */, const float* weight, float eps,
                                  const float* dy /* [rows, cols] */,
                                  double* statistics /* [rows, 2] */,
                                  float* dx /* [rows, cols] or null */);
// Columns [begin, end) over all rows; dweight and dbias may be null.
using norm_parameters_backward_kernel = void(int64_t rows, int64_t cols, int64_t begin, int64_t end,
                                             const float* x /* [rows, cols] */,
                                             const double* statistics /* [rows, 2] */,
                                             const float* dy /* [rows, cols] */,
                                             float* dweight /* [cols] */,
                                             float* dbias /* [cols] */);
// y[c] += sum_r x[r, c] for columns [begin, end).
using column_sums_kernel = void(int64_t rows, int64_t cols, int64_t begin, int64_t end,
                                const float* x /* [rows, cols] */, float* y /* [cols] */);

// ---- attention

// A block of scores of one head: query r stands `ahead` + r keys after the first key of the block
// and sees the columns c with c <= ahead + r and, with a window, c > ahead + r - window.
struct attention_backward_block {
  int64_t rows;
  int64_t keys;
  int64_t ahead;
  int64_t window;  // 0 = none
  float scale;
  const float* log_sum;  // of row r: log_sum[r * stride]
  int64_t stride;
  const float* delta;  // [rows]: sum of dy * y of a row
  float* scores;       // [rows, keys]: q . k, becomes the weight, 0 where it is not visible
  float* slopes;       // [rows, keys]: dy . v, becomes the gradient of q . k
};
using attention_backward_kernel = void(const attention_backward_block& b);

// ---- losses, one row of logits; return the loss before `scale`

// gradient = scale * (softmax(logits) - 1[target]); gradient may be logits.
using cross_entropy_backward_kernel = double(int64_t vocabulary, const float* logits,
                                             int64_t target, float scale, float* gradient);
struct divergence_weights {
  double forward;       // of KL(p || a p + (1 - a) q), a = forward_skew
  double forward_skew;  // in [0, 1)
  double reverse;       // of KL(q || b q + (1 - b) p), b = reverse_skew
  double reverse_skew;  // in [0, 1)
  double variation;     // of sum |p - q| / 2
};
// gradient = (or += when `add`) scale * d loss / d student; gradient may be student unless `add`.
using divergence_backward_kernel = double(int64_t vocabulary, const float* teacher,
                                          const float* student, const divergence_weights& weights,
                                          double temperature, float scale, bool add,
                                          float* gradient);
// Returns sum (x - target)^2; dx += scale * (x - target).
using squared_error_backward_kernel = double(int64_t n, const float* x, const float* target,
                                             float scale, float* dx);

// ---- optimisers

using sum_of_squares_kernel = double(int64_t n, const float* x);
struct adamw_step {
  float decay;        // 1 - rate * weight decay
  float first;        // beta 1
  float second;       // beta 2
  float first_left;   // 1 - beta 1, rounded from fp64
  float second_left;  // 1 - beta 2
  float step;         // rate / (1 - beta1^k)
  float root_factor;  // 1 / sqrt(1 - beta2^k)
  float eps;
  float gradient_factor;  // every gradient is multiplied by it first (clipping, accumulation)
};
using adamw_kernel = void(int64_t n, const adamw_step& s, const float* gradient, float* moment,
                          float* square, float* parameter);
struct sgd_step {
  float rate;
  float decay;  // 1 - rate * weight decay
  float momentum;
  float gradient_factor;
  bool sign;  // only the sign of the gradient (of the momentum, when there is one) counts
};
// velocity = momentum * velocity + gradient, or null: the gradient itself.
using sgd_kernel = void(int64_t n, const sgd_step& s, const float* gradient, float* velocity,
                        float* parameter);

}  // namespace esp

#endif  // ESPALIER_GRADIENT_OPERATIONS_H
