// SPDX-License-Identifier: Apache-2.0
//
// Products of int8 activations. Few tokens are bound by the bytes of the weights; many by the
// multiplications (ceiling::int8: on AVX2 vpmaddwd, which 4-bit weights can pass, since their
// products fit vpmaddubsw). 256 rows of weights keep the scalar reference below half a second; a
// task takes 64 at a time, so that wider matrices only mean more tasks. A vendor's int8 product
// would stand in workload::vendor.
#include <stdio.h>

#include "bench.h"

namespace bench {
namespace {

workload product(const pools& data, int32_t bits, int64_t m, int64_t n, int64_t k) {
  const int64_t group = bits == 8 ? k : 128, words = k * bits / 32, groups = k / group;
  workload w;
  const bool eight = bits == 8;
  w.operations = {eight ? "matmul_w8a8" : "matmul_w4a8"};
  w.name = w.operations[0];
  char shape[96];
  snprintf(shape, sizeof shape, "m=%lld n=%lld k=%lld %s", static_cast<long long>(m),
           static_cast<long long>(n), static_cast<long long>(k),
           eight ? "per channel" : "groups of 128");
  w.shape = shape;
  w.limit = m <= 4 ? ceiling::read : ceiling::int8;
  w.work = m <= 4 ? static_cast<double>(n * words * 4 + n * groups * 4)
                  : 2.0 * static_cast<double>(m * n * k);
  float* y = data.sink<float>(m * n, 0);
  const int8_t* x = reinterpret_cast<const int8_t*>(data.bits(m * k / 4 + 1, 1));
  const float* x_scales = data.floats(m, 2);
  w.run = [=, &data](esp_context* ctx, int64_t turn) {
    return (eight ? esp_matmul_w8a8 : esp_matmul_w4a8)(
        ctx, m, n, k, x, k, x_scales, data.bits(n * words, turn), words,
        data.floats(n * groups, turn), nullptr, group, nullptr, y, n);
  };
  w.outputs = {{y, m * n, element::f32, 0}};
  return w;
}

workload tokens(const pools& data, int64_t m, int64_t k) {
  workload w;
  w.operations = {"quantize_tokens"};
  w.name = "quantize_tokens";
  char shape[64];
  snprintf(shape, sizeof shape, "%lldx%lld", static_cast<long long>(m), static_cast<long long>(k));
  w.shape = shape;
  w.limit = ceiling::copy;
  w.work = 5.0 * static_cast<double>(m * k);
  const auto scales = std::make_shared<std::vector<float>>(static_cast<size_t>(m));
  w.run = [=, &data](esp_context* ctx, int64_t turn) {
    return esp_quantize_tokens(ctx, m, k, data.floats(m * k, turn), k,
                               data.sink<int8_t>(m * k, turn), k, scales->data());
  };
  w.outputs = {{data.sink<int8_t>(m * k, 0), m * k, element::bytes, 0}};
  return w;
}

}  // namespace

void int8_workloads(const pools& data, const std::function<void(const workload&)>& visit) {
  visit(product(data, 8, 1, 4096, 4096));
  visit(product(data, 8, 4, 4096, 4096));
  visit(product(data, 8, 128, 256, 4096));
  visit(product(data, 4, 1, 4096, 4096));
  visit(product(data, 4, 4, 4096, 4096));
  visit(product(data, 4, 128, 256, 4096));
  visit(tokens(data, 1024, 4096));
}

}  // namespace bench
