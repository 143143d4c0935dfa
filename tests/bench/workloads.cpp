// SPDX-License-Identifier: Apache-2.0
//
// What is timed. Shapes are those of a decoder of width 4096: one token (decoding) reads every
// weight once from memory; many tokens (a prompt, calibration) are arithmetic. Sizes keep a scalar
// reference below half a second a call.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"

namespace bench {
namespace {

constexpr int row_major = 101, no_transpose = 111, transpose = 112;
// Sums of up to 14336 products in another order: eps * sqrt(k) of the size of y; ten times that.
constexpr double sum_tolerance = 1e-4;
constexpr double elementwise_tolerance = 1e-5;

std::string shape(const char* text, int64_t a, int64_t b, int64_t c = 0, int64_t d = 0) {
  char line[128];
  snprintf(line, sizeof line, text, static_cast<long long>(a), static_cast<long long>(b),
           static_cast<long long>(c), static_cast<long long>(d));
  return line;
}

using visitor = std::function<void(const workload&)>;

// For the JSON alone: a reader of the table has seen its like.
workload not_in_the_table(workload w) {
  w.brief = false;
  return w;
}

// ---- dense products

workload dense(const pools& data, const char* operation, esp_dtype dtype, bool in_out, int64_t m,
               int64_t n, int64_t k) {
  const double width = dtype == ESP_F32 ? 4 : 2;
  workload w;
  const bool few = m <= 4;
  if (few) w.operations = {operation};
  w.name = operation;
  w.shape = shape("m=%lld n=%lld k=%lld", m, n, k);
  w.limit = m < 8 ? ceiling::read : ceiling::fp32;
  w.work = m < 8 ? width * static_cast<double>(n * k) : 2.0 * static_cast<double>(m * n * k);
  float* y = data.sink<float>(m * n, 0);
  const float* x = data.floats(m * k, 1);
  w.run = [=, &data](esp_context* ctx, int64_t turn) {
    const void* weights = dtype == ESP_F32    ? static_cast<const void*>(data.floats(n * k, turn))
                          : dtype == ESP_BF16 ? data.bf16(n * k, turn)
                                              : data.f16(n * k, turn);
    return in_out ? esp_matmul_dense_in_out(ctx, m, n, k, x, k, dtype, weights, n, nullptr, y, n)
                  : esp_matmul_dense(ctx, m, n, k, x, k, dtype, weights, k, nullptr, y, n);
  };
  if (dtype == ESP_F32 && vendor_blas().sgemm != nullptr) {
    w.vendor.name = "openblas";
    w.vendor.run = [=, &data](int64_t turn) {
      if (m == 1) {
        vendor_blas().sgemv(row_major, in_out ? transpose : no_transpose,
                            static_cast<int>(in_out ? k : n), static_cast<int>(in_out ? n : k),
                            1.0f, data.floats(n * k, turn), static_cast<int>(in_out ? n : k), x, 1,
                            0.0f, y, 1);
        return;
      }
      vendor_blas().sgemm(row_major, no_transpose, in_out ? no_transpose : transpose,
                          static_cast<int>(m), static_cast<int>(n), static_cast<int>(k), 1.0f, x,
                          static_cast<int>(k), data.floats(n * k, turn),
                          static_cast<int>(in_out ? n : k), 0.0f, y, static_cast<int>(n));
    };
  }
  w.outputs = {{y, m * n, element::f32, sum_tolerance}};
  return w;
}

void dense_products(const pools& data, const visitor& visit) {
  visit(dense(data, "dense_f32", ESP_F32, false, 1, 4096, 4096));
  visit(dense(data, "dense_f32", ESP_F32, false, 4, 4096, 4096));
  visit(dense(data, "dense_bf16", ESP_BF16, false, 1, 1024, 4096));
  visit(not_in_the_table(dense(data, "dense_f16", ESP_F16, false, 1, 1024, 4096)));
  visit(dense(data, "dense_in_out_f32", ESP_F32, true, 1, 4096, 1024));
  visit(dense(data, "dense_in_out_bf16", ESP_BF16, true, 1, 4096, 1024));
  visit(not_in_the_table(dense(data, "dense_in_out_f16", ESP_F16, true, 1, 4096, 1024)));
  visit(dense(data, "dense_f32", ESP_F32, false, 8, 1024, 4096));
  visit(dense(data, "dense_f32", ESP_F32, false, 128, 1024, 4096));
  visit(dense(data, "dense_bf16", ESP_BF16, false, 128, 1024, 4096));
}

// ---- products from packed weights, groups of 128

// x in 16 bits a chunk: 4 to 5 standard deviations of what half a quantum, 2^-16 max|x|, does to y.
constexpr double coarse_tolerance = 2e-4;
// Rows of x up to which native/src/packed.cpp multiplies codes; more widen tiles for sgemm.
constexpr int64_t direct_rows_fine = 32, direct_rows_coarse = 256;

workload packed(const pools& data, int32_t bits, esp_precision precision, int64_t m, int64_t n,
                int64_t k) {
  const int64_t group = 128, words = k * bits / 32;
  const bool fine = precision == ESP_PRECISION_FP32;
  workload w;
  const char* operation = bits == 4 ? "matmul_w4a16" : bits == 8 ? "matmul_w8a16" : "matmul_wna16";
  w.operations = {m <= (fine ? direct_rows_fine : direct_rows_coarse) ? operation : "dequantize"};
  w.name = std::string(operation) + (fine ? "" : " (bf16)");
  w.shape = shape("m=%lld n=%lld k=%lld %lld bits", m, n, k, bits);
  w.limit = m < 8 ? ceiling::read : ceiling::fp32;
  w.work = m < 8 ? static_cast<double>(n * words * 4 + n * k / group * 4)
                 : 2.0 * static_cast<double>(m * n * k);
  float* y = data.sink<float>(m * n, 0);
  const float* x = data.floats(m * k, 1);
  w.run = [=, &data](esp_context* ctx, int64_t turn) {
    esp_context_set_precision(ctx, precision);
    const esp_status status =
        esp_matmul_wna16(ctx, bits, m, n, k, x, k, data.bits(n * words, turn), words,
                         data.floats(n * k / group, turn), nullptr, group, nullptr, nullptr, y, n);
    esp_context_set_precision(ctx, ESP_PRECISION_FP32);
    return status;
  };
  w.outputs = {{y, m * n, element::f32, fine ? sum_tolerance : coarse_tolerance}};
  return w;
}

void packed_products(const pools& data, const visitor& visit) {
  // [n, k] of models of 1e9 and 8e9 weights: query, gate, down, key.
  constexpr int64_t sizes[][2] = {{2048, 2048}, {8192, 2048},  {2048, 8192},  {512, 2048},
                                  {4096, 4096}, {14336, 4096}, {4096, 14336}, {1024, 4096}};
  for (const auto& size : sizes) visit(packed(data, 4, ESP_PRECISION_BF16, 1, size[0], size[1]));
  for (const auto& size : sizes) {
    const bool brief = size[0] == 4096 && size[1] == 4096;
    const workload eight = packed(data, 8, ESP_PRECISION_BF16, 1, size[0], size[1]);
    visit(brief ? eight : not_in_the_table(eight));
  }
  visit(packed(data, 3, ESP_PRECISION_BF16, 1, 4096, 4096));
  for (int32_t bits : {4, 8, 3}) visit(packed(data, bits, ESP_PRECISION_FP32, 1, 4096, 4096));
  for (esp_precision precision : {ESP_PRECISION_BF16, ESP_PRECISION_FP32}) {
    visit(packed(data, 4, precision, 8, 1024, 4096));
    visit(not_in_the_table(packed(data, 8, precision, 8, 1024, 4096)));
    visit(packed(data, 4, precision, 128, 1024, 4096));
    visit(not_in_the_table(packed(data, 4, precision, 512, 2048, 2048)));
    visit(not_in_the_table(packed(data, 4, precision, 512, 4096, 4096)));
  }
  const int64_t n = 4096, k = 4096, group = 128;
  workload w;
  w.operations = {"dequantize"};
  w.name = "dequantize";
  w.shape = shape("%lldx%lld 4 bits", n, k);
  w.limit = ceiling::copy;
  w.work = 4.5 * static_cast<double>(n * k);
  w.run = [=, &data](esp_context* ctx, int64_t turn) {
    return esp_dequantize(ctx, 4, n, k, data.bits(n * k / 8, turn), k / 8,
                          data.floats(n * k / group, turn), nullptr, group, nullptr,
                          data.sink<float>(n * k, turn), k);
  };
  w.outputs = {{data.sink<float>(n * k, 0), n * k, element::f32, 0}};
  visit(w);
}

// ---- transformer pieces

// `heads` heads share `heads / 4` key heads of 128.
workload attention(const pools& data, int64_t tokens, int64_t keys, int64_t heads) {
  const int64_t head_dim = 128, kv_heads = heads / 4;
  const int64_t kv = keys * kv_heads * head_dim, width = heads * head_dim;
  workload w;
  w.operations = {"attention"};
  w.name = "attention";
  w.shape = shape("tokens=%lld keys=%lld heads=%lld/%lld", tokens, keys, heads, kv_heads);
  const double pairs =
      tokens == 1 ? static_cast<double>(keys) : static_cast<double>(tokens * (tokens + 1)) / 2;
  w.limit = tokens == 1 ? ceiling::read : ceiling::fp32;
  w.work = tokens == 1 ? 8.0 * static_cast<double>(kv) : 4.0 * pairs * static_cast<double>(width);
  float* y = data.sink<float>(tokens * width, 0);
  w.run = [=, &data](esp_context* ctx, int64_t turn) {
    return esp_attention(ctx, tokens, keys, heads, kv_heads, head_dim, keys - tokens, 0,
                         0.08838835f /* 1 / sqrt(128) */, data.floats(tokens * width, 0), width,
                         data.floats(kv, 2 * turn), kv_heads * head_dim,
                         data.floats(kv, 2 * turn + 1), kv_heads * head_dim, y, width);
  };
  w.outputs = {{y, tokens * width, element::f32, sum_tolerance}};
  return w;
}

workload norm(const pools& data, bool rms, int64_t rows) {
  const int64_t cols = 4096;
  workload w;
  w.operations = {rms ? "rms_norm" : "layer_norm"};
  w.name = w.operations[0];
  w.shape = shape("%lldx%lld", rows, cols);
  w.limit = ceiling::copy;
  w.work = 8.0 * static_cast<double>(rows * cols);
  w.run = [=, &data](esp_context* ctx, int64_t turn) {
    const float* x = data.floats(rows * cols, turn);
    const float* weight = data.floats(cols, 0);
    float* y = data.sink<float>(rows * cols, turn);
    return rms ? esp_rms_norm(ctx, rows, cols, x, cols, weight, 1e-5f, y, cols)
               : esp_layer_norm(ctx, rows, cols, x, cols, weight, weight, 1e-5f, y, cols);
  };
  w.outputs = {{data.sink<float>(rows * cols, 0), rows * cols, element::f32, sum_tolerance}};
  return w;
}

workload rope(const pools& data) {
  const int64_t tokens = 512, heads = 32, head_dim = 128, width = heads * head_dim;
  workload w;
  w.operations = {"rope"};
  w.name = "rope";
  w.shape = shape("tokens=%lld heads=%lld head_dim=%lld", tokens, heads, head_dim);
  w.limit = ceiling::update;
  w.work = 8.0 * static_cast<double>(tokens * width);
  auto tables = std::make_shared<std::vector<float>>(static_cast<size_t>(tokens * head_dim));
  float* cosines = tables->data();
  float* sines = cosines + tokens * head_dim / 2;
  for (int64_t i = 0; i < tokens * head_dim / 2; i++) {
    cosines[i] = static_cast<float>(cos(static_cast<double>(i)));
    sines[i] = static_cast<float>(sin(static_cast<double>(i)));
  }
  float* x = data.sink<float>(tokens * width, 0);
  w.run = [=, &data](esp_context* ctx, int64_t turn) {
    return esp_rope(ctx, tokens, heads, head_dim, head_dim, 0, tokens, tables->data(),
                    tables->data() + tokens * head_dim / 2, data.sink<float>(tokens * width, turn),
                    width);
  };
  // In place: the operands lie in the sink, and turning them leaves their size as it is.
  w.restore = [=, &data] {
    memcpy(x, data.floats(tokens * width, 0), static_cast<size_t>(tokens * width) * sizeof(float));
  };
  w.outputs = {{x, tokens * width, element::f32, elementwise_tolerance}};
  return w;
}

workload elementwise(const pools& data, const char* operation, int64_t rows, int64_t cols) {
  const std::string op = operation;
  const int64_t n = rows * cols;
  const bool two = op != "activation";
  workload w;
  w.operations = {operation};
  w.name = two ? op : "activation (gelu)";
  w.shape = shape("%lldx%lld", rows, cols);
  w.limit = ceiling::copy;
  w.work = (two ? 12.0 : 8.0) * static_cast<double>(n);
  w.run = [=, &data](esp_context* ctx, int64_t turn) {
    const float* a = data.floats(n, 2 * turn);
    const float* b = data.floats(n, 2 * turn + 1);
    float* y = data.sink<float>(n, turn);
    if (op == "silu_mul") return esp_silu_mul(ctx, n, a, b, y);
    if (op == "add") return esp_add(ctx, n, a, b, y);
    if (op == "multiply") return esp_multiply(ctx, n, a, b, y);
    return esp_activation(ctx, n, 2, a, y);
  };
  w.outputs = {{data.sink<float>(n, 0), n, element::f32, elementwise_tolerance}};
  return w;
}

workload loss(const pools& data, bool divergence) {
  const int64_t rows = 32, vocabulary = 32000;
  workload w;
  w.operations = {divergence ? "divergence" : "cross_entropy"};
  w.name = w.operations[0];
  w.shape = shape("%lldx%lld", rows, vocabulary);
  w.limit = ceiling::read;
  w.work = (divergence ? 8.0 : 4.0) * static_cast<double>(rows * vocabulary);
  auto targets = std::make_shared<std::vector<int32_t>>(rows, 17);
  double* y = data.sink<double>(rows, 0);
  uint8_t* same = data.sink<uint8_t>(rows, 1);
  w.run = [=, &data](esp_context* ctx, int64_t turn) {
    const float* p = data.floats(rows * vocabulary, 2 * turn);
    if (!divergence)
      return esp_cross_entropy(ctx, rows, vocabulary, p, vocabulary, targets->data(), y);
    return esp_divergence(ctx, rows, vocabulary, p, vocabulary,
                          data.floats(rows * vocabulary, 2 * turn + 1), vocabulary, y, same);
  };
  w.outputs = {{y, rows, element::f64, sum_tolerance}};
  if (divergence) w.outputs.push_back({same, rows, element::bytes, 0});
  return w;
}

// ---- conversions

constexpr int64_t converted = int64_t{4} << 20;

workload conversion(const char* operation, const char* name, double bytes) {
  workload w;
  w.operations = {operation};
  w.name = name;
  w.shape = shape("%lldx%lld", 1024, converted / 1024);
  w.work = bytes * static_cast<double>(converted);
  w.brief = strcmp(operation, "widen_f16") != 0 && strcmp(operation, "narrow_f16") != 0 &&
            strcmp(operation, "nonfinite_f32") != 0;
  return w;
}

void conversions(const pools& data, const visitor& visit) {
  const int64_t n = converted;
  const auto operand = [n, &data](esp_dtype dtype, int64_t turn) -> const void* {
    if (dtype == ESP_BF16) return data.bf16(n, turn);
    if (dtype == ESP_F16) return data.f16(n, turn);
    if (dtype == ESP_F32) return data.floats(n, turn);
    return data.bits(n / 4, turn);  // any byte is an fp8; nonfinite_any would stop at a NaN
  };
  struct format {
    esp_dtype dtype;
    double bytes;
    const char *widen, *narrow, *nonfinite, *suffix;
  };
  const format formats[] = {{ESP_BF16, 2, "widen_bf16", "narrow_bf16", "nonfinite_16", " bf16"},
                            {ESP_F16, 2, "widen_f16", "narrow_f16", nullptr, ""},
                            {ESP_F32, 4, nullptr, nullptr, "nonfinite_f32", ""},
                            {ESP_F8_E4M3, 1, "widen_any", "narrow_any", nullptr, " f8_e4m3"}};
  auto first = std::make_shared<int64_t>(0);
  for (const format& f : formats) {
    const esp_dtype dtype = f.dtype;
    const int64_t bytes = static_cast<int64_t>(f.bytes);
    const std::string suffix = bytes == 1 ? f.suffix : "";
    if (f.widen != nullptr) {
      workload w = conversion(f.widen, (f.widen + suffix).c_str(), f.bytes + 4);
      w.limit = ceiling::copy;
      w.run = [=, &data](esp_context* ctx, int64_t turn) {
        return esp_convert_to_f32(ctx, n, dtype, operand(dtype, turn), data.sink<float>(n, turn));
      };
      w.outputs = {{data.sink<float>(n, 0), 4 * n, element::bytes, 0}};
      visit(w);
    }
    if (f.narrow != nullptr) {
      workload w = conversion(f.narrow, (f.narrow + suffix).c_str(), f.bytes + 4);
      w.limit = ceiling::copy;
      w.run = [=, &data](esp_context* ctx, int64_t turn) {
        return esp_convert_from_f32(ctx, n, dtype, data.floats(n, turn),
                                    data.sink<uint8_t>(bytes * n, turn));
      };
      w.outputs = {{data.sink<uint8_t>(bytes * n, 0), bytes * n, element::bytes, 0}};
      visit(w);
    }
    if (f.nonfinite != nullptr) {
      workload w = conversion(f.nonfinite, f.nonfinite, f.bytes);
      w.limit = ceiling::read;
      w.run = [=](esp_context* ctx, int64_t turn) {
        return esp_first_nonfinite(ctx, n, dtype, operand(dtype, turn), first.get());
      };
      w.outputs = {{first.get(), 8, element::bytes, 0}};
      visit(w);
    }
  }
}

// ---- quantization

void quantization(const pools& data, const visitor& visit) {
  const int64_t cols = 4096, group = 128;
  for (int64_t rows : {1024, 32}) {
    const bool mse = rows == 32;
    auto scales = std::make_shared<std::vector<float>>(static_cast<size_t>(rows * cols / group));
    auto zeros = std::make_shared<std::vector<int8_t>>(scales->size());
    workload w;
    w.operations = {"quantize_range"};
    w.name = mse ? "quantize_range (mse)" : "quantize_range (min-max)";
    w.shape = shape("%lldx%lld 4 bits", rows, cols);
    w.limit = mse ? ceiling::none : ceiling::read;
    w.work = mse ? 0 : 4.0 * static_cast<double>(rows * cols);
    w.run = [=, &data](esp_context* ctx, int64_t turn) {
      return esp_quantize_range(ctx, rows, cols, data.floats(rows * cols, turn), cols, 4, 1, group,
                                ESP_F16, mse ? 100 : 0, 0.2, 2.4, 5, 1, scales->data(),
                                zeros->data());
    };
    const int64_t count = static_cast<int64_t>(scales->size());
    w.outputs = {{scales->data(), 4 * count, element::bytes, 0},
                 {zeros->data(), count, element::bytes, 0}};
    visit(w);
  }
  const int64_t rows = 1024;
  {
    auto scales = std::make_shared<std::vector<float>>(static_cast<size_t>(rows * cols / group),
                                                       2.0f / 15.0f);
    workload w;
    w.operations = {"quantize_nearest"};
    w.name = "quantize_nearest";
    w.shape = shape("%lldx%lld 4 bits", rows, cols);
    w.limit = ceiling::copy;
    w.work = 5.0 * static_cast<double>(rows * cols);
    w.run = [=, &data](esp_context* ctx, int64_t turn) {
      return esp_quantize_nearest(ctx, rows, cols, data.floats(rows * cols, turn), cols, 4, group,
                                  scales->data(), nullptr, 1, data.sink<int8_t>(rows * cols, turn));
    };
    w.outputs = {{data.sink<int8_t>(rows * cols, 0), rows * cols, element::bytes, 0}};
    visit(w);
  }
  for (int32_t bits : {4, 3}) {
    const int64_t words = cols * bits / 32;
    // Codes of the width.
    const int64_t stored = data.bytes() / cols;
    auto codes = std::make_shared<std::vector<int8_t>>(static_cast<size_t>(stored * cols));
    for (int64_t i = 0; i < stored * cols; i++) {
      const int32_t word = static_cast<int32_t>(data.bits(1, 0)[i / 4] >> i % 4 * 8);
      (*codes)[static_cast<size_t>(i)] =
          static_cast<int8_t>((word & ((1 << bits) - 1)) - (1 << (bits - 1)));
    }
    workload w;
    w.brief = bits == 4;
    w.operations = {"pack"};
    w.name = "pack";
    w.shape = shape("%lldx%lld %lld bits", rows, cols, bits);
    w.limit = ceiling::copy;
    w.work = static_cast<double>(rows * cols + 4 * rows * words);
    w.run = [=, &data](esp_context* ctx, int64_t turn) {
      return esp_pack(ctx, rows, cols, bits, codes->data() + turn % (stored / rows) * rows * cols,
                      data.sink<uint32_t>(rows * words, turn), words);
    };
    w.outputs = {{data.sink<uint32_t>(rows * words, 0), 4 * rows * words, element::bytes, 0}};
    visit(w);
    w.operations = {"unpack"};
    w.name = "unpack";
    w.run = [=, &data](esp_context* ctx, int64_t turn) {
      return esp_unpack(ctx, rows, cols, bits, data.bits(rows * words, turn), words,
                        data.sink<int8_t>(rows * cols, turn));
    };
    w.outputs = {{data.sink<int8_t>(rows * cols, 0), rows * cols, element::bytes, 0}};
    visit(w);
  }
}

// ---- solvers

void solvers(const pools& data, const visitor& visit) {
  const int64_t n = 2048, rows = 128, group = 128;
  const auto cells = static_cast<size_t>(n * n);
  auto h = std::make_shared<std::vector<double>>(cells);
  // Diagonally dominant: positive definite; its upper triangle serves GPTQ as U.
  for (int64_t i = 0; i < n; i++) {
    for (int64_t j = i; j < n; j++) {
      const double value = static_cast<double>(data.floats(n * n, 1)[i * n + j]) / 64;
      (*h)[static_cast<size_t>(i * n + j)] = (*h)[static_cast<size_t>(j * n + i)] =
          i == j ? 32 + value : value;
    }
  }
  {
    auto weights = std::make_shared<std::vector<float>>(static_cast<size_t>(rows * n));
    auto scales = std::make_shared<std::vector<float>>(static_cast<size_t>(rows * n / group));
    auto zeros = std::make_shared<std::vector<int8_t>>(scales->size());
    auto codes = std::make_shared<std::vector<int8_t>>(weights->size());
    workload w;
    w.operations = {"gptq_columns", "gptq_preview", "outer_f32"};
    w.name = "gptq_columns, gptq_preview";
    w.shape = shape("%lldx%lld 4 bits", rows, n);
    w.limit = ceiling::fp32;
    w.work = static_cast<double>(rows) * static_cast<double>(n * n);
    w.prepare = [=, &data] {
      memcpy(weights->data(), data.floats(rows * n, 0), weights->size() * sizeof(float));
    };
    w.run = [=](esp_context* ctx, int64_t) {
      return esp_gptq_solve(ctx, rows, n, weights->data(), h->data(), 4, 1, group, nullptr, ESP_F16,
                            scales->data(), zeros->data(), codes->data());
    };
    w.outputs = {{codes->data(), rows * n, element::bytes, 0},
                 {scales->data(), 4 * rows * n / group, element::bytes, 0}};
    visit(w);
  }
  auto work = std::make_shared<std::vector<double>>(cells);
  {
    workload w;
    w.operations = {"outer_f32"};
    w.name = "gram";
    w.shape = shape("tokens=%lld k=%lld", 2 * rows, n);
    w.limit = ceiling::fp32;
    w.work = 2.0 * static_cast<double>(rows) * static_cast<double>(n * (n + 1));
    w.run = [=, &data](esp_context* ctx, int64_t turn) {
      return esp_gram(ctx, 2 * rows, n, ESP_F32, data.floats(2 * rows * n, turn), n, work->data());
    };
    w.restore = [=] { memset(work->data(), 0, cells * sizeof(double)); };
    w.outputs = {{work->data(), n * n, element::f64, 0}};
    visit(w);
  }
  {
    workload w;
    w.operations = {"outer_f32"};
    w.name = "quadratic_form";
    w.shape = shape("%lldx%lld", rows, n);
    w.limit = ceiling::fp32;
    w.work = static_cast<double>(rows) * static_cast<double>(n * (n + 1));
    auto value = std::make_shared<double>(0);
    w.run = [=, &data](esp_context* ctx, int64_t turn) {
      return esp_quadratic_form(ctx, rows, n, data.floats(rows * n, turn), nullptr, n, h->data(),
                                value.get());
    };
    w.outputs = {{value.get(), 1, element::f64, 0}};
    visit(w);
  }
  {
    workload w;
    w.operations = {"outer_f64"};
    w.name = "cholesky_reversed";
    w.shape = shape("%lldx%lld", n, n);
    w.limit = ceiling::fp64;
    w.work = static_cast<double>(n) * static_cast<double>(n * n) / 3;
    w.prepare = [=] { memcpy(work->data(), h->data(), cells * sizeof(double)); };
    w.run = [=](esp_context* ctx, int64_t) {
      int64_t pivot = 0;
      return esp_cholesky_reversed(ctx, n, work->data(), &pivot);
    };
    w.outputs = {{work->data(), n * n, element::f64, 0}};
    visit(w);
  }
}

}  // namespace

void every_workload(const pools& data, const visitor& visit) {
  data.refill_sink();
  visit(rope(data));  // first: it wants floats in the sink
  packed_products(data, visit);
  int8_workloads(data, visit);
  sparse_workloads(data, visit);
  dense_products(data, visit);
  visit(attention(data, 1, 2048, 32));
  visit(attention(data, 256, 256, 8));
  visit(norm(data, true, 128));
  visit(norm(data, false, 128));
  visit(elementwise(data, "silu_mul", 128, 14336));
  visit(elementwise(data, "activation", 128, 4096));
  visit(elementwise(data, "add", 128, 4096));
  visit(not_in_the_table(elementwise(data, "multiply", 128, 4096)));
  visit(loss(data, false));
  visit(loss(data, true));
  conversions(data, visit);
  quantization(data, visit);
  solvers(data, visit);
}

}  // namespace bench
