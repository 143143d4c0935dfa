// SPDX-License-Identifier: Apache-2.0
//
// Dense products against fp64 sums, within the bound of an fp32 sum in any order:
// (k + 2) * 2^-24 * (sum |x w| + |bias|).
#include <math.h>

#include "harness.h"

using namespace cases;

namespace {

constexpr double half_ulp = 0x1p-24;

struct problem {
  int64_t m;
  int64_t n;
  int64_t k;
  bool in_out;
  esp_dtype dtype;
  inputs kind;
  bool bias;
};

const char* operation_of(const problem& p) {
  if (p.in_out) {
    return p.dtype == ESP_F32    ? "dense_in_out_f32"
           : p.dtype == ESP_BF16 ? "dense_in_out_bf16"
                                 : "dense_in_out_f16";
  }
  return p.dtype == ESP_F32 ? "dense_f32" : p.dtype == ESP_BF16 ? "dense_bf16" : "dense_f16";
}

// Rows are padded by 3 elements that must be neither read into a result nor written. The last row
// has no pad, so that a read past it faults.
void check(const problem& p) {
  const int64_t ldx = p.k + 3;
  const int64_t wide = p.in_out ? p.n : p.k;
  const int64_t tall = p.in_out ? p.k : p.n;
  const int64_t ldw = wide + 3;
  const int64_t ldy = p.n + 3;
  buffer<float> x(p.m == 0 ? 0 : p.m * ldx - 3);
  buffer<float> w(tall == 0 ? 0 : tall * ldw - 3);
  buffer<float> bias(p.n);
  fill(x, p.kind, 11);
  fill(w, p.kind == inputs::all_min ? inputs::all_max : p.kind, 12, 0.5);
  fill(bias, inputs::uniform, 13);
  buffer<uint16_t> narrow(p.dtype == ESP_F32 ? 0 : w.size());
  if (p.dtype != ESP_F32) {
    esp_convert_from_f32(context(), w.size(), p.dtype, w, narrow);
    esp_convert_to_f32(context(), w.size(), p.dtype, narrow, w);  // the values that are multiplied
  }
  const void* const weights =
      p.dtype == ESP_F32 ? static_cast<const void*>(w.data()) : narrow.data();
  const int64_t size = p.m == 0 || p.n == 0 ? 0 : p.m * ldy - 3;
  std::vector<double> expected(static_cast<size_t>(size), 77.0);  // the pad stays
  std::vector<double> limits(static_cast<size_t>(size), 0.0);
  for (int64_t i = 0; i < p.m; i++) {
    for (int64_t j = 0; j < p.n; j++) {
      double sum = p.bias ? bias[j] : 0.0;
      double norm = fabs(sum);
      for (int64_t c = 0; c < p.k; c++) {
        const double product =
            static_cast<double>(x[i * ldx + c]) * (p.in_out ? w[c * ldw + j] : w[j * ldw + c]);
        sum += product;
        norm += fabs(product);
      }
      expected[static_cast<size_t>(i * ldy + j)] = sum;
      limits[static_cast<size_t>(i * ldy + j)] = static_cast<double>(p.k + 2) * half_ulp * norm;
    }
  }
  const auto call = p.in_out ? esp_matmul_dense_in_out : esp_matmul_dense;
  against_definition<float>(
      operation_of(p),
      format("m=%d n=%d k=%d %s%s", static_cast<int>(p.m), static_cast<int>(p.n),
             static_cast<int>(p.k), name_of(p.kind), p.bias ? " bias" : ""),
      expected, [&](int64_t i) { return limits[static_cast<size_t>(i)]; },
      [&](esp_context* ctx, float* y) {
        for (int64_t i = 0; i < size; i++) y[i] = 77.0f;
        return call(ctx, p.m, p.n, p.k, x, ldx, p.dtype, weights, ldw,
                    p.bias ? bias.data() : nullptr, y, ldy);
      });
}

constexpr esp_dtype weight_types[] = {ESP_F32, ESP_F16, ESP_BF16};

}  // namespace

CASE(dense_few_rows) {
  for (bool in_out : {false, true}) {
    for (esp_dtype dtype : weight_types) {
      for (int64_t m : {1, 2, 3, 4}) {
        for (int64_t k : {0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65, 576}) {
          for (int64_t n : {1, 5, 33}) {
            check({m, n, k, in_out, dtype, inputs::heavy_tailed, n == 5});
          }
        }
        for (int64_t n : {0, 7, 8, 9, 15, 16, 17, 31, 63, 64, 65, 127, 128, 129, 300})
          check({m, n, 20, in_out, dtype, inputs::uniform, true});
        for (inputs kind : every_input) check({m, 40, 100, in_out, dtype, kind, true});
      }
    }
  }
}

CASE(dense_many_rows) {
  for (bool in_out : {false, true}) {
    for (esp_dtype dtype : weight_types) {
      check({5, 1, 1, in_out, dtype, inputs::uniform, false});
      check({5, 130, 0, in_out, dtype, inputs::uniform, true});
      check({5, 130, 0, in_out, dtype, inputs::uniform, false});
      check({17, 257, 33, in_out, dtype, inputs::heavy_tailed, true});
      check({515, 129, 17, in_out, dtype, inputs::uniform, false});
      for (inputs kind : every_input) check({6, 40, 100, in_out, dtype, kind, true});
    }
  }
}

CASE(dense_refuses_bad_arguments) {
  float x[4] = {};
  esp_context* const ctx = context();
  const auto dense = [&](int64_t m, int64_t n, int64_t k, int64_t ldx, esp_dtype dtype,
                         const void* w, int64_t ldw, int64_t ldy) {
    return esp_matmul_dense(ctx, m, n, k, x, ldx, dtype, w, ldw, nullptr, x + 2, ldy);
  };
  expect_status(ESP_OK, dense(1, 1, 2, 2, ESP_F32, x, 2, 1), "matmul_dense");
  expect_status(ESP_OK, dense(0, 1, 2, 2, ESP_F32, nullptr, 2, 1), "matmul_dense");
  expect_status(ESP_INVALID_ARGUMENT, dense(-1, 1, 2, 2, ESP_F32, x, 2, 1), "matmul_dense");
  expect_status(ESP_INVALID_ARGUMENT, dense(1, 1, 2, 1, ESP_F32, x, 2, 1), "matmul_dense");
  expect_status(ESP_INVALID_ARGUMENT, dense(1, 1, 2, 2, ESP_F32, x, 1, 1), "matmul_dense");
  expect_status(ESP_INVALID_ARGUMENT, dense(1, 2, 2, 2, ESP_F32, x, 2, 1), "matmul_dense");
  expect_status(ESP_INVALID_ARGUMENT, dense(1, 1, 2, 2, ESP_F32, nullptr, 2, 1), "matmul_dense");
  expect_status(ESP_UNSUPPORTED, dense(1, 1, 2, 2, ESP_F64, x, 2, 1), "matmul_dense");
  expect_status(ESP_UNSUPPORTED,
                esp_matmul_dense_in_out(ctx, 1, 1, 2, x, 2, ESP_I8, x, 1, nullptr, x + 2, 1),
                "matmul_dense_in_out");
}
