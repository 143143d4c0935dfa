// SPDX-License-Identifier: Apache-2.0
//
// Products of int8 activations. Few tokens are bound by the bytes of the weights; many by the
// multiplications (ceiling::int8: on AVX2 vpmaddwd, which 4-bit weights can pass, since their
// products fit vpmaddubsw).
#include <stdio.h>

#include "vendors.h"

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
  w.reference_timed = m <= 4;
  if (eight) {
    w.vendors = [=, &data] {
      std::vector<vendor_row> rows;
      add_onednn_int8(
          {m, n, k, x,
           [=, &data](int64_t turn) -> const void* { return data.bits(n * words, turn); }, y},
          x_scales, data.floats(n * groups, 0), &rows);
      return rows;
    };
  }
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
  // [n, k] of models of 1e9 and 8e9 weights.
  constexpr int64_t sizes[][2] = {{8192, 2048}, {4096, 4096},  {2048, 2048},
                                  {2048, 8192}, {14336, 4096}, {4096, 14336}};
  for (int32_t bits : {8, 4}) {
    visit(product(data, bits, 1, 4096, 4096));
    visit(product(data, bits, 4, 4096, 4096));
    // A scalar reference takes seconds for each: for 4 bits two are enough.
    for (int64_t i = 0; i < (bits == 8 ? 6 : 2); i++)
      visit(product(data, bits, 128, sizes[i][0], sizes[i][1]));
    visit(product(data, bits, 512, 8192, 2048));
  }
  visit(tokens(data, 1024, 4096));
}

}  // namespace bench
