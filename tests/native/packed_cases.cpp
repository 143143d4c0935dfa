// SPDX-License-Identifier: Apache-2.0
//
// Products from packed weights and the dequantized matrix, against sums in fp64.
#include <math.h>

#include <algorithm>

#include "harness.h"
#include "layout/bit_stream.h"

using namespace cases;

namespace {

constexpr double eps = 0x1p-24;

// A packed matrix flush against the guard page: its last row has no word more than it needs.
struct packed {
  int32_t bits;
  int64_t n, k, group, ldcodes;
  bool asymmetric;
  std::vector<int32_t> q;  // [n, k]
  buffer<uint32_t> codes;  // [n, ldcodes]
  buffer<float> scales;    // [n, k / group]
  buffer<int8_t> zeros;    // [n, k / group]

  packed(int32_t bits, int64_t n, int64_t k, int64_t group, int64_t slack, bool asymmetric,
         inputs kind, uint64_t seed)
      : bits(bits),
        n(n),
        k(k),
        group(group),
        ldcodes(esp::stream_words(k, bits) + slack),
        asymmetric(asymmetric),
        q(static_cast<size_t>(n * k)),
        codes(n == 0 ? 0 : n * ldcodes - slack),
        scales(n * (k / group)),
        zeros(n * (k / group)) {
    const int64_t low = -(1 << (bits - 1)), high = (1 << (bits - 1)) - 1;
    fill_integers(q.data(), n * k, low, high, kind, seed);
    for (int64_t r = 0; r < n; r++) {
      for (int64_t c = 0; c < k; c++)
        esp::stream_write(codes + r * ldcodes, c, bits, q[static_cast<size_t>(r * k + c)]);
    }
    fill(scales, inputs::uniform, seed + 1, 0.05);
    fill_integers(zeros.data(), zeros.size(), low, high, kind, seed + 2);
  }
  const int8_t* zeros_or_null() const { return asymmetric ? zeros.data() : nullptr; }
  double zero(int64_t r, int64_t g) const { return asymmetric ? zeros[r * (k / group) + g] : 0; }
  double scale(int64_t r, int64_t g) const {
    return static_cast<double>(scales[r * (k / group) + g]);
  }
};

// Half a quantum of the chunk of column c of a row of x, coarse: max|x| / 32512 / 2.
double half_quantum(const packed& w, const float* x, int64_t c) {
  const int64_t group_start = c / w.group * w.group;
  const int64_t start = group_start + (c - group_start) / 128 * 128;
  double most = 0;
  for (int64_t i = start; i < std::min(start + 128, group_start + w.group); i++)
    most = std::max(most, fabs(static_cast<double>(x[i])));
  return most / 32512 / 2;
}

// y; what |y| is the size of: scale (|q - zero| + |zero| + offset) |x| summed; and what x in coarse
// fixed point may change: scale |q - zero| half a quantum summed.
void define(const packed& w, int64_t m, const float* x, int64_t ldx, const float* bias, int64_t ldy,
            const int32_t* index, std::vector<double>* y, std::vector<double>* size,
            std::vector<double>* coarse = nullptr) {
  std::vector<double> half(static_cast<size_t>(m * w.k));
  for (int64_t i = 0; coarse != nullptr && i < m * w.k; i++)
    half[static_cast<size_t>(i)] = half_quantum(w, x + i / w.k * ldx, i % w.k);
  if (coarse != nullptr) coarse->assign(static_cast<size_t>((m - 1) * ldy + w.n), 0.0);
  y->assign(static_cast<size_t>((m - 1) * ldy + w.n), 0.0);
  size->assign(y->size(), 0.0);
  for (int64_t i = 0; i < m; i++) {
    for (int64_t r = 0; r < w.n; r++) {
      double sum = 0, norm = 0;
      for (int64_t c = 0; c < w.k; c++) {
        const int64_t g = index != nullptr ? index[c] : c / w.group;
        const double value = w.q[static_cast<size_t>(r * w.k + c)] - w.zero(r, g);
        const double a = static_cast<double>(x[i * ldx + c]);
        sum += w.scale(r, g) * value * a;
        norm += fabs(w.scale(r, g)) * (fabs(value) + fabs(w.zero(r, g)) + (1 << (w.bits - 1))) *
                fabs(a);
        if (coarse != nullptr)
          (*coarse)[static_cast<size_t>(i * ldy + r)] +=
              fabs(w.scale(r, g) * value) * half[static_cast<size_t>(i * w.k + c)];
      }
      if (bias != nullptr) sum += static_cast<double>(bias[r]);
      (*y)[static_cast<size_t>(i * ldy + r)] = sum;
      (*size)[static_cast<size_t>(i * ldy + r)] =
          norm + (bias == nullptr ? 0 : fabs(static_cast<double>(bias[r])));
    }
  }
}

esp_status multiply(const std::string& op, int32_t bits, const packed& w, esp_context* ctx,
                    int64_t m, const float* x, int64_t ldx, const float* bias, float* y) {
  if (op == "matmul_w4a16")
    return esp_matmul_w4a16(ctx, m, w.n, w.k, x, ldx, w.codes, w.ldcodes, w.scales,
                            w.zeros_or_null(), w.group, bias, y, w.n);
  if (op == "matmul_w8a16")
    return esp_matmul_w8a16(ctx, m, w.n, w.k, x, ldx, w.codes, w.ldcodes, w.scales,
                            w.zeros_or_null(), w.group, bias, y, w.n);
  return esp_matmul_wna16(ctx, bits, m, w.n, w.k, x, ldx, w.codes, w.ldcodes, w.scales,
                          w.zeros_or_null(), w.group, nullptr, bias, y, w.n);
}

void check_product(const char* op, int32_t bits, int64_t m, int64_t n, int64_t k, int64_t group,
                   inputs kind, bool asymmetric) {
  const packed w(bits, n, k, group, n % 3, asymmetric, kind, static_cast<uint64_t>(k));
  const int64_t ldx = k + m % 3;
  buffer<float> x((m - 1) * ldx + k), bias(n);
  fill(x, kind, 7, 2.0);
  fill(bias, inputs::uniform, 8);
  const float* b = m % 2 == 1 ? bias.data() : nullptr;
  std::vector<double> y, size, coarse;
  define(w, m, x, ldx, b, n, nullptr, &y, &size, &coarse);
  // Chunks of 128, a dense product of k otherwise, and a few roundings more.
  const double steps =
      static_cast<double>(m <= 32 ? std::min<int64_t>(k, 128) + k / group + k / 128 : k) + 16;
  for (esp_precision precision : {ESP_PRECISION_FP32, ESP_PRECISION_BF16}) {
    const double rounded = precision == ESP_PRECISION_BF16 ? 1 : 0;
    against_definition<float>(
        op,
        format("%s bits=%d m=%lld n=%lld k=%lld group=%lld %s%s%s", op, bits,
               static_cast<long long>(m), static_cast<long long>(n), static_cast<long long>(k),
               static_cast<long long>(group), name_of(kind), asymmetric ? " asymmetric" : "",
               rounded != 0 ? " coarse" : ""),
        y,
        [&](int64_t i) {
          const size_t at = static_cast<size_t>(i);
          return steps * eps * size[at] + rounded * 1.001 * coarse[at];
        },
        [&](esp_context* ctx, float* out) {
          esp_context_set_precision(ctx, precision);
          const esp_status status = multiply(op, bits, w, ctx, m, x, ldx, b, out);
          esp_context_set_precision(ctx, ESP_PRECISION_FP32);
          return status;
        });
  }
}

struct shape {
  int64_t n, k, group;
};
// Whole vectors and words; one short, one more; rows of no whole word; groups that start inside a
// vector (4, 13, 43); the golden widths 172, 245, 352; more than one task.
constexpr shape shapes[] = {
    {1, 1, 1},      {3, 7, 7},    {4, 8, 8},      {5, 9, 9},     {2, 15, 5},    {7, 16, 4},
    {6, 17, 17},    {3, 39, 13},  {2, 172, 43},   {5, 172, 172}, {3, 245, 245}, {4, 352, 32},
    {33, 352, 352}, {9, 256, 64}, {70, 384, 128}, {2, 512, 256}, {1, 300, 150}};

void every_product(const char* op, int32_t bits) {
  for (const shape& s : shapes) {
    for (int64_t m : {1, 2, 3, 8, 33}) {
      check_product(op, bits, m, s.n, s.k, s.group, inputs::uniform, true);
      if (m == 1 || m == 8)
        check_product(op, bits, m, s.n, s.k, s.group, inputs::heavy_tailed, false);
    }
  }
  for (inputs kind : every_input) check_product(op, bits, 15, 6, 200, 40, kind, true);
  check_product(op, bits, 530, 5, 64, 32, inputs::uniform, true);  // more than one tile of x
}

}  // namespace

CASE(matmul_w4a16) {
  every_product("matmul_w4a16", 4);
}
CASE(matmul_w8a16) {
  every_product("matmul_w8a16", 8);
}
CASE(matmul_wna16) {
  for (int32_t bits : {2, 3, 5}) every_product("matmul_wna16", bits);
  for (int32_t bits : {4, 6, 7, 8}) {
    for (const shape& s : shapes)
      check_product("matmul_wna16", bits, 3, s.n, s.k, s.group, inputs::uniform, true);
  }
}

namespace {

// y of a matrix of ones: the sum of x as the direct kernels see it.
float sum_of(esp_context* ctx, int32_t bits, esp_precision precision, const buffer<float>& x) {
  const int64_t k = x.size();
  buffer<uint32_t> codes(esp::stream_words(k, bits));
  for (int64_t c = 0; c < k; c++) esp::stream_write(codes, c, bits, 1);
  buffer<float> scale(1), y(1);
  scale[0] = 1.0f;
  esp_context_set_precision(ctx, precision);
  const esp_status status = esp_matmul_wna16(ctx, bits, 1, 1, k, x, k, codes, codes.size(), scale,
                                             nullptr, k, nullptr, nullptr, y, 1);
  esp_context_set_precision(ctx, ESP_PRECISION_FP32);
  expect(status == ESP_OK, "status %d", status);
  return y[0];
}

}  // namespace

CASE(matmul_wna16_keeps_small_elements_beside_large_ones) {
  for (int32_t bits : {3, 4, 8}) {
    buffer<float> x(128);
    x[0] = 1000.0f;
    x[1] = -1000.0f;
    x[77] = 0x1p-15f;  // fine: quantum 2^(10 - 30)
    float y = sum_of(context(), bits, ESP_PRECISION_FP32, x);
    expect(y == 0x1p-15f, "bits %d: y=%a, x in 31 bits", bits, static_cast<double>(y));
    // Coarse: half a quantum is 1000 / 65024 = 0.0154; of two elements it may be kept or lost.
    x[77] = 0.25f;
    y = sum_of(context(), bits, ESP_PRECISION_BF16, x);
    expect(fabsf(y - 0.25f) <= 0.0154f, "bits %d: y=%a, x in 16 bits", bits,
           static_cast<double>(y));
  }
}

CASE(matmul_wna16_spreads_nonfinite_elements_and_takes_any_magnitude) {
  for (int32_t bits : {2, 4, 8}) {
    for (esp_precision precision : {ESP_PRECISION_FP32, ESP_PRECISION_BF16}) {
      for (const float bad : {NAN, INFINITY, -INFINITY}) {
        buffer<float> x(256);
        x[200] = bad;
        const float y = sum_of(context(), bits, precision, x);
        expect(!isfinite(y), "bits %d: y=%g of a sum with %g", bits, static_cast<double>(y),
               static_cast<double>(bad));
      }
      for (const float size : {0x1p115f, 0x1p-90f, 0x1p-120f, 0x1p-149f, 0.0f}) {
        buffer<float> x(128);
        x[3] = x[100] = size;
        const double y = static_cast<double>(sum_of(context(), bits, precision, x));
        // A quantum is at least 2^-126 (fine); below 2^-97 coarse takes zeros.
        const double slack =
            2 * static_cast<double>(size) * 0x1p-20 +
            (size < 0x1p-97f ? (precision == ESP_PRECISION_FP32 ? 0x1p-126 : 0x1p-96) : 0.0);
        expect(fabs(y - 2 * static_cast<double>(size)) <= slack, "bits %d: y=%a of two %a", bits, y,
               static_cast<double>(size));
      }
    }
  }
}

// Every row of fix_row gives the same digits, so every product has the same bits.
CASE(fix_row_gives_every_product_the_same_bits) {
  const struct {
    int64_t k, group;
  } sizes[] = {{1, 1}, {52, 13}, {64, 64}, {96, 32}, {128, 64}, {300, 150}, {512, 128}, {768, 256}};
  for (int32_t bits : {3, 4, 8}) {
    for (const auto& size : sizes) {
      for (inputs kind : every_input) {
        const packed w(bits, 3, size.k, size.group, 0, true, inputs::uniform, 9);
        buffer<float> x(2 * size.k);
        fill(x, kind, 10, 3.0);
        if (kind == inputs::heavy_tailed) x[size.k / 2] = NAN;
        for (esp_precision precision : {ESP_PRECISION_FP32, ESP_PRECISION_BF16}) {
          // Bytes: a NaN equals itself.
          against_reference<uint8_t>(
              "fix_row",
              format("bits=%d k=%lld group=%lld %s", bits, static_cast<long long>(size.k),
                     static_cast<long long>(size.group), name_of(kind)),
              2 * 3 * 4, nullptr, [&](esp_context* ctx, uint8_t* y) {
                esp_context_set_precision(ctx, precision);
                const esp_status status =
                    esp_matmul_wna16(ctx, bits, 2, 3, size.k, x, size.k, w.codes, w.ldcodes,
                                     w.scales, w.zeros_or_null(), size.group, nullptr, nullptr,
                                     reinterpret_cast<float*>(y), 3);
                esp_context_set_precision(ctx, ESP_PRECISION_FP32);
                return status;
              });
        }
      }
    }
  }
}

CASE(matmul_wna16_takes_groups_from_an_index) {
  for (int64_t m : {1, 4, 33}) {
    const int64_t n = 5, k = 84, group = 12;
    const packed w(3, n, k, group, 1, true, inputs::uniform, 5);
    buffer<int32_t> index(k);
    fill_integers(index.data(), k, 0, k / group - 1, inputs::uniform, 6);
    buffer<float> x(m * k);
    fill(x, inputs::uniform, 7);
    std::vector<double> y, size;
    define(w, m, x, k, nullptr, n, index, &y, &size);
    against_definition<float>(
        "dequantize", format("index m=%lld", static_cast<long long>(m)), y,
        [&](int64_t i) { return static_cast<double>(k + 16) * eps * size[static_cast<size_t>(i)]; },
        [&](esp_context* ctx, float* out) {
          return esp_matmul_wna16(ctx, 3, m, n, k, x, k, w.codes, w.ldcodes, w.scales, w.zeros,
                                  group, index, nullptr, out, n);
        });
  }
}

CASE(dequantize_rounds_one_product) {
  for (int32_t bits = 2; bits <= 8; bits++) {
    for (const shape& s : shapes) {
      for (int indexed = 0; indexed < 2; indexed++) {
        const packed w(bits, s.n, s.k, s.group, 2, indexed == 0, inputs::uniform, 11);
        buffer<int32_t> index(s.k);
        fill_integers(index.data(), s.k, 0, s.k / s.group - 1, inputs::uniform, 6);
        const int32_t* use = indexed == 1 ? index.data() : nullptr;
        std::vector<double> expected;
        for (int64_t r = 0; r < s.n; r++) {
          for (int64_t c = 0; c < s.k; c++) {
            const int64_t g = use != nullptr ? use[c] : c / s.group;
            const float difference =
                static_cast<float>(w.q[static_cast<size_t>(r * s.k + c)] - w.zero(r, g));
            expected.push_back(static_cast<double>(w.scales[r * (s.k / s.group) + g] * difference));
          }
        }
        against_definition<float>(
            "dequantize",
            format("bits=%d n=%lld k=%lld group=%lld index=%d", bits, static_cast<long long>(s.n),
                   static_cast<long long>(s.k), static_cast<long long>(s.group), indexed),
            expected, within(0.0), [&](esp_context* ctx, float* out) {
              return esp_dequantize(ctx, bits, s.n, s.k, w.codes, w.ldcodes, w.scales,
                                    w.zeros_or_null(), s.group, use, out, s.k);
            });
      }
    }
  }
}

CASE(dequantize_knows_every_4_bit_code_under_every_zero) {
  buffer<uint32_t> codes(16 * 2);
  buffer<float> scales(16);
  buffer<int8_t> zeros(16);
  std::vector<double> expected;
  for (int r = 0; r < 16; r++) {
    codes[2 * r] = 0x76543210u;
    codes[2 * r + 1] = 0xfedcba98u;
    scales[r] = 0.5f;
    zeros[r] = static_cast<int8_t>(r - 8);
    for (int c = 0; c < 16; c++) expected.push_back(0.5 * (c - r));
  }
  against_definition<float>(
      "dequantize", "all codes", expected, within(0.0), [&](esp_context* ctx, float* out) {
        return esp_dequantize(ctx, 4, 16, 16, codes, 2, scales, zeros, 16, nullptr, out, 16);
      });
}

CASE(packed_products_refuse_bad_arguments) {
  buffer<float> x(16), scales(4), y(4);
  buffer<uint32_t> codes(8);
  buffer<int32_t> index(16);
  esp_context* ctx = context();
  const auto w4 = [&](int64_t m, int64_t k, int64_t ldx, int64_t ldcodes, int64_t group,
                      const uint32_t* c) {
    return esp_matmul_w4a16(ctx, m, 2, k, x, ldx, c, ldcodes, scales, nullptr, group, nullptr, y,
                            2);
  };
  expect_status(ESP_OK, w4(1, 16, 16, 2, 8, codes), "matmul_w4a16");
  expect_status(ESP_OK, w4(0, 16, 16, 2, 8, nullptr), "matmul_w4a16");
  expect_status(ESP_INVALID_ARGUMENT, w4(-1, 16, 16, 2, 8, codes), "matmul_w4a16");
  expect_status(ESP_INVALID_ARGUMENT, w4(1, 16, 15, 2, 8, codes), "matmul_w4a16");
  expect_status(ESP_INVALID_ARGUMENT, w4(1, 16, 16, 1, 8, codes), "matmul_w4a16");
  expect_status(ESP_INVALID_ARGUMENT, w4(1, 16, 16, 2, 6, codes), "matmul_w4a16");
  expect_status(ESP_INVALID_ARGUMENT, w4(1, 16, 16, 2, 0, codes), "matmul_w4a16");
  expect_status(ESP_INVALID_ARGUMENT, w4(1, 16, 16, 2, 8, nullptr), "matmul_w4a16");
  for (int32_t bits : {1, 9}) {
    expect_status(ESP_INVALID_ARGUMENT,
                  esp_matmul_wna16(ctx, bits, 1, 2, 16, x, 16, codes, 8, scales, nullptr, 8,
                                   nullptr, nullptr, y, 2),
                  "matmul_wna16");
  }
  expect_status(ESP_INVALID_ARGUMENT, esp_context_set_precision(ctx, 2), "context_set_precision");
  index[3] = 2;
  expect_status(ESP_INVALID_ARGUMENT,
                esp_dequantize(ctx, 2, 1, 16, codes, 1, scales, nullptr, 8, index, x, 16),
                "dequantize");
  // No columns: the bias alone.
  scales[0] = 3.0f;
  expect_status(
      ESP_OK,
      esp_matmul_w8a16(ctx, 1, 1, 0, nullptr, 0, nullptr, 0, nullptr, nullptr, 0, scales, y, 1),
      "matmul_w8a16");
  expect(y[0] == 3.0f, "y=%g without columns", static_cast<double>(y[0]));
}
