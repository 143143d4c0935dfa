// SPDX-License-Identifier: Apache-2.0
//
// Sparse weights against our own dense product of the same values, which stands beside them as the
// row to beat: decoding, where both read their weights from memory once, on matrices of models of
// 1e9 and 8e9 weights. Then sparse panels against OpenBLAS. A matrix of turn 0 is the same on both
// sides; on later turns, which are only timed, the dense side multiplies any bytes of that size.
#include <stdio.h>
#include <string.h>

#include "bench.h"

namespace bench {
namespace {

using visitor = std::function<void(const workload&)>;

constexpr int64_t group = 128;
constexpr int64_t copies_of_places = 16;
constexpr double sum_tolerance = 1e-4;

struct kind {
  const char* name;
  esp_sparsity pattern;
  esp_dtype dtype;
  int32_t percent;  // of zeros
};
constexpr kind bf16_half = {"bf16 50 %", ESP_SPARSE_BITMASK, ESP_BF16, 50};
constexpr kind bf16_most = {"bf16 70 %", ESP_SPARSE_BITMASK, ESP_BF16, 70};
constexpr kind bf16_of_four = {"bf16 2:4", ESP_SPARSE_24, ESP_BF16, 50};
constexpr kind int8_half = {"int8 50 %", ESP_SPARSE_BITMASK, ESP_I8, 50};
constexpr kind int8_most = {"int8 70 %", ESP_SPARSE_BITMASK, ESP_I8, 70};
constexpr kind int4_of_four = {"int4 2:4", ESP_SPARSE_24, ESP_U8, 50};
constexpr kind every_kind[] = {bf16_half, bf16_most, bf16_of_four,
                               int8_half, int8_most, int4_of_four};

// Where weights are kept, several times over in memory, and the dense matrix of turn 0.
struct matrix {
  int64_t rows, cols;
  esp_sparsity pattern;
  esp_dtype dtype;
  int64_t kept = 0, value_bytes = 0, place_bytes = 0;
  std::vector<uint8_t> places;  // [copies_of_places, place_bytes]
  std::vector<int64_t> offsets;
  std::vector<uint8_t> dense;

  matrix(const pools& data, int64_t rows, int64_t cols, const kind& k)
      : rows(rows), cols(cols), pattern(k.pattern), dtype(k.dtype) {
    const int64_t row_bytes = (cols + 7) / 8;
    place_bytes = rows * row_bytes;
    places.resize(static_cast<size_t>(copies_of_places * place_bytes));
    const int32_t pairs[] = {0 | 1 << 2, 0 | 2 << 2, 0 | 3 << 2,
                             1 | 2 << 2, 1 | 3 << 2, 2 | 3 << 2};
    for (int64_t b = 0; b < place_bytes; b++) {
      const uint32_t* const random = data.bits(9, b % 100003);
      uint32_t byte = static_cast<uint32_t>(pairs[random[8] % 6] | pairs[random[8] / 6 % 6] << 4);
      if (pattern == ESP_SPARSE_BITMASK) {
        byte = 0;
        for (int c = 0; c < 8; c++)
          byte |= static_cast<uint32_t>(static_cast<int32_t>(random[c] % 100) >= k.percent) << c;
      }
      places[static_cast<size_t>(b)] = static_cast<uint8_t>(byte);
    }
    const int32_t bits = dtype == ESP_U8 ? 4 : dtype == ESP_I8 ? 8 : dtype == ESP_F32 ? 32 : 16;
    for (int64_t r = 0; r < rows; r++) {
      offsets.push_back(kept);
      int64_t here = 0;
      for (int64_t b = 0; b < row_bytes; b++)
        here += __builtin_popcount(places[static_cast<size_t>(r * row_bytes + b)]);
      if (pattern == ESP_SPARSE_24) here = cols / 2;
      kept += here;
      value_bytes += (here * bits + 7) / 8;
    }
    for (int64_t i = 1; i < copies_of_places; i++)
      memcpy(places.data() + i * place_bytes, places.data(), static_cast<size_t>(place_bytes));
  }
  const uint8_t* places_of(int64_t turn) const {
    return places.data() + turn % copies_of_places * place_bytes;
  }
  const int64_t* offsets_or_null() const {
    return pattern == ESP_SPARSE_24 ? nullptr : offsets.data();
  }
  bool codes() const { return dtype == ESP_I8 || dtype == ESP_U8; }
  const void* values(const pools& data, int64_t turn) const {
    if (dtype == ESP_BF16) return data.bf16(kept, turn);
    if (dtype == ESP_F32) return data.floats(kept, turn);
    return data.bits((value_bytes + 3) / 4, turn);
  }
  const float* scales(const pools& data, int64_t turn) const {
    return codes() ? data.floats(rows * cols / group, turn) : nullptr;
  }

  // bf16 or fp32 numbers, or the bit streams of codes, of turn 0.
  void make_dense(esp_context* ctx, const pools& data) {
    const int64_t n = rows * cols;
    if (codes()) {
      std::vector<int8_t> q(static_cast<size_t>(n));
      esp_sparse_codes(ctx, rows, cols, pattern, dtype, places.data(), offsets_or_null(),
                       values(data, 0), q.data());
      const int32_t bits = dtype == ESP_I8 ? 8 : 4;
      dense.resize(static_cast<size_t>(n * bits / 8));
      esp_pack(ctx, rows, cols, bits, q.data(), reinterpret_cast<uint32_t*>(dense.data()),
               cols * bits / 32);
      return;
    }
    std::vector<float> numbers(static_cast<size_t>(n));
    esp_sparse_expand(ctx, rows, cols, pattern, dtype, places.data(), offsets_or_null(),
                      values(data, 0), nullptr, 0, numbers.data(), cols);
    dense.resize(static_cast<size_t>(n * (dtype == ESP_F32 ? 4 : 2)));
    if (dtype == ESP_F32) {
      memcpy(dense.data(), numbers.data(), dense.size());
    } else {
      esp_convert_from_f32(ctx, n, dtype, numbers.data(), dense.data());
    }
  }
};

std::string shape_of(const char* text, int64_t a, int64_t b, int64_t c, const char* name) {
  char line[128];
  snprintf(line, sizeof line, text, static_cast<long long>(a), static_cast<long long>(b),
           static_cast<long long>(c), name);
  return line;
}

workload product(const pools& data, const kind& k, int64_t m, int64_t rows, int64_t cols) {
  const auto w = std::make_shared<matrix>(data, rows, cols, k);
  esp_context* ctx = nullptr;
  if (esp_context_create(1, &ctx) == ESP_OK) w->make_dense(ctx, data);
  esp_context_destroy(ctx);
  workload work;
  work.operations = {"matmul_sparse"};
  work.name = "sparse product";
  work.shape = shape_of("m=%lld n=%lld k=%lld %s", m, rows, cols, k.name);
  work.limit = ceiling::read;
  work.work = static_cast<double>(w->value_bytes + w->place_bytes +
                                  (w->codes() ? rows * cols / group * 4 : 0));
  work.brief = rows == 4096 && cols == 4096;
  float* const y = data.sink<float>(m * rows, 0);
  const float* const x = data.floats(m * cols, 1);
  // The dense product runs where the sparse one ran last: with as many threads.
  const auto last = std::make_shared<esp_context*>(nullptr);
  work.run = [=, &data](esp_context* on, int64_t turn) {
    *last = on;
    return esp_matmul_sparse(on, m, rows, cols, x, cols, w->pattern, w->dtype, w->places_of(turn),
                             w->offsets_or_null(), w->values(data, turn), w->scales(data, turn),
                             w->codes() ? group : 0, nullptr, y, rows);
  };
  const int64_t n = rows * cols;
  work.vendor.name = w->dtype == ESP_BF16 ? "dense bf16"
                     : w->dtype == ESP_I8 ? "dense int8"
                                          : "dense int4";
  work.vendor.run = [=, &data](int64_t turn) {
    const void* const first = w->dense.data();
    if (w->dtype == ESP_BF16) {
      esp_matmul_dense(*last, m, rows, cols, x, cols, ESP_BF16,
                       turn == 0 ? first : data.bf16(n, turn), cols, nullptr, y, rows);
      return;
    }
    const int64_t words = cols * (w->dtype == ESP_I8 ? 8 : 4) / 32;
    const uint32_t* const codes =
        turn == 0 ? static_cast<const uint32_t*>(first) : data.bits(rows * words, turn);
    (w->dtype == ESP_I8 ? esp_matmul_w8a16 : esp_matmul_w4a16)(*last, m, rows, cols, x, cols, codes,
                                                               words, w->scales(data, turn),
                                                               nullptr, group, nullptr, y, rows);
  };
  work.outputs = {{y, m * rows, element::f32, sum_tolerance}};
  return work;
}

// y[rows, n] = A . b, and the same by OpenBLAS from A with its zeros.
workload panel(const pools& data, int32_t percent, int64_t rows, int64_t cols, int64_t n) {
  char name[16];
  snprintf(name, sizeof name, "%d %%", percent);
  const kind k = {name, ESP_SPARSE_BITMASK, ESP_F32, percent};
  const auto a = std::make_shared<matrix>(data, rows, cols, k);
  esp_context* ctx = nullptr;
  if (esp_context_create(1, &ctx) == ESP_OK) a->make_dense(ctx, data);
  esp_context_destroy(ctx);
  workload work;
  work.operations = {"spmm_f32"};
  work.name = "sparse panel";
  work.shape = shape_of("rows=%lld cols=%lld n=%lld f32 %s", rows, cols, n, name);
  work.limit = ceiling::fp32;
  work.work = 2.0 * static_cast<double>(a->kept) * static_cast<double>(n);
  work.brief = n == 192;
  float* const y = data.sink<float>(rows * n, 0);
  const float* const b = data.floats(cols * n, 1);
  work.run = [=, &data](esp_context* on, int64_t turn) {
    return esp_spmm_f32(on, rows, cols, n, a->places_of(turn), a->offsets.data(),
                        static_cast<const float*>(a->values(data, turn)), b, n, y, n);
  };
  if (vendor_blas().sgemm != nullptr) {
    work.vendor.name = "openblas";
    work.vendor.run = [=, &data](int64_t turn) {
      constexpr int row_major = 101, no_transpose = 111;
      const float* const dense = turn == 0 ? reinterpret_cast<const float*>(a->dense.data())
                                           : data.floats(rows * cols, turn);
      vendor_blas().sgemm(row_major, no_transpose, no_transpose, static_cast<int>(rows),
                          static_cast<int>(n), static_cast<int>(cols), 1.0f, dense,
                          static_cast<int>(cols), b, static_cast<int>(n), 0.0f, y,
                          static_cast<int>(n));
    };
  }
  work.outputs = {{y, rows * n, element::f32, sum_tolerance}};
  return work;
}

}  // namespace

void sparse_workloads(const pools& data, const visitor& visit) {
  constexpr int64_t sizes[][2] = {{4096, 4096}, {8192, 2048}, {14336, 4096}};
  for (const auto& size : sizes) {
    for (const kind& k : every_kind) visit(product(data, k, 1, size[0], size[1]));
  }
  // A panel of x keeps the scalar reference below half a second.
  for (int64_t n : {64, 192}) {
    for (int32_t percent : {50, 70, 80, 90}) visit(panel(data, percent, 512, 2048, n));
  }
}

}  // namespace bench
