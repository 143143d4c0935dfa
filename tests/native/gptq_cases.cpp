// SPDX-License-Identifier: Apache-2.0
//
// The GPTQ solver against the textbook: the paper's loop in fp64 over an explicit inverse of H, an
// error spread over all later columns at once. Another route to every number than the solver takes.
#include <math.h>

#include "harness.h"
#include "textbook.h"

using namespace cases;
using namespace textbook_algebra;

namespace {

struct task {
  int64_t rows, cols, group;
  int32_t bits;
  int symmetric;
  bool fixed;  // groups by fixed_group, scales given
};

struct solution {
  std::vector<float> w, scales;
  std::vector<int8_t> zeros, codes;
  std::vector<double> margin;  // [rows, cols] distance of the quotient from a rounding boundary
};

void range_of(const double* w, int64_t n, const task& t, float* scale, int8_t* zero) {
  double low = 0, high = 0;
  for (int64_t i = 0; i < n; i++) {
    low = fmin(low, w[i]);
    high = fmax(high, w[i]);
  }
  const double steps = (1 << t.bits) - 1, bottom = -(1 << (t.bits - 1));
  double s = t.symmetric ? 2 * fmax(-low, high) / steps : (high - low) / steps;
  if (s == 0) s = 0x1p-23;
  *scale = static_cast<float>(s);
  *zero = t.symmetric
              ? 0
              : static_cast<int8_t>(nearbyint(fmin(fmax(bottom - low / s, bottom), -bottom - 1)));
}

// arXiv 2210.17323, algorithm 1 with blocks of one column.
solution textbook(const task& t, const float* w0, const matrix& h, const int32_t* fixed_group,
                  const float* scales, const int8_t* zeros) {
  const int64_t n = t.cols, groups = n / t.group;
  const matrix r = upper_cholesky(inverse(h, n), n);
  solution s;
  s.w.resize(static_cast<size_t>(t.rows * n));
  s.codes.resize(s.w.size());
  s.margin.resize(s.w.size());
  s.scales.resize(static_cast<size_t>(t.rows * groups));
  s.zeros.resize(s.scales.size());
  const double low = -(1 << (t.bits - 1)), high = -low - 1;
  for (int64_t row = 0; row < t.rows; row++) {
    std::vector<double> w(w0 + row * n, w0 + (row + 1) * n);
    for (int64_t j = 0; j < n; j++) {
      const int64_t g = fixed_group != nullptr ? fixed_group[j] : j / t.group;
      const size_t of = static_cast<size_t>(row * groups + g);
      if (fixed_group != nullptr) {
        s.scales[of] = scales[of];
        s.zeros[of] = zeros[of];
      } else if (j % t.group == 0) {
        range_of(w.data() + j, t.group, t, &s.scales[of], &s.zeros[of]);
      }
      const double scale = static_cast<double>(s.scales[of]);
      const double quotient =
          fmin(fmax(w[static_cast<size_t>(j)] / scale + s.zeros[of], low), high);
      const double q = nearbyint(quotient);
      const double value = scale * (q - s.zeros[of]);
      const size_t here = at(row, j, n);
      s.codes[here] = static_cast<int8_t>(q);
      s.w[here] = static_cast<float>(value);
      s.margin[here] = fabs(quotient - floor(quotient) - 0.5);
      const double error = (w[static_cast<size_t>(j)] - value) / r[at(j, j, n)];
      for (int64_t k = j; k < n; k++) w[static_cast<size_t>(k)] -= error * r[at(j, k, n)];
    }
  }
  return s;
}

// What a solve reads: weights, the factor, fixed groups with the scales of the original columns.
struct instance {
  task t;
  matrix h;
  buffer<float> w;
  buffer<double> u;
  buffer<int32_t> fixed_group;
  std::vector<float> scales;
  std::vector<int8_t> zeros;

  explicit instance(const task& t, inputs kind = inputs::uniform, uint64_t seed = 1)
      : t(t),
        h(hessian(t.cols, seed + static_cast<uint64_t>(t.cols))),
        w(t.rows * t.cols),
        u(t.cols * t.cols),
        fixed_group(t.fixed ? t.cols : 0),
        scales(static_cast<size_t>(t.rows * (t.cols / t.group))),
        zeros(scales.size()) {
    fill(w, kind, seed + 9);
    memcpy(u.data(), h.data(), static_cast<size_t>(u.bytes()));
    int64_t pivot = 0;
    expect_status(ESP_OK, esp_cholesky_reversed(context(), t.cols, u, &pivot), "cholesky_reversed");
    if (!t.fixed) return;
    // A column's group as after a permutation: any, each equally often.
    for (int64_t c = 0; c < t.cols; c++)
      fixed_group[c] = static_cast<int32_t>(c * 7 % t.cols / t.group);
    expect_status(ESP_OK,
                  esp_quantize_range(context(), t.rows, t.cols, w, t.cols, t.bits, t.symmetric,
                                     t.group, ESP_F32, 0, 0, 0, 0, 0, scales.data(), zeros.data()),
                  "quantize_range");
  }

  esp_status solve(esp_context* ctx, float* out, float* s, int8_t* z, int8_t* codes) const {
    memcpy(out, w.data(), static_cast<size_t>(w.bytes()));
    memcpy(s, scales.data(), scales.size() * sizeof(float));
    memcpy(z, zeros.data(), zeros.size());
    return esp_gptq_solve(ctx, t.rows, t.cols, out, u, t.bits, t.symmetric, t.group,
                          t.fixed ? fixed_group.data() : nullptr, ESP_F32, s, z, codes);
  }
};

std::string label_of(const task& t) {
  return format("rows=%lld cols=%lld group=%lld bits=%d symmetric=%d%s",
                static_cast<long long>(t.rows), static_cast<long long>(t.cols),
                static_cast<long long>(t.group), t.bits, t.symmetric, t.fixed ? " fixed" : "");
}

// Rows around a tile of 64; columns around a block of 128; groups that fill a block, that leave a
// rest (13, 48), wider than a block and no multiple of it (150, 192), exactly one a row.
constexpr task tasks[] = {
    {1, 1, 1, 4, 1, false},      {3, 8, 8, 4, 0, false},     {5, 17, 17, 3, 1, false},
    {2, 12, 4, 2, 0, false},     {63, 64, 32, 4, 1, false},  {64, 64, 64, 3, 0, false},
    {65, 172, 172, 4, 1, false}, {70, 352, 32, 4, 0, false}, {9, 352, 352, 8, 1, false},
    {33, 130, 13, 4, 1, false},  {6, 144, 48, 3, 1, false},  {7, 256, 128, 4, 0, false},
    {5, 300, 150, 4, 0, false},  {4, 384, 192, 3, 1, false}, {3, 384, 128, 5, 1, false},
    {8, 96, 96, 2, 0, false},    {6, 129, 129, 6, 0, false}, {10, 160, 32, 4, 1, true},
    {66, 129, 43, 3, 0, true},   {5, 64, 64, 4, 0, true},    {4, 320, 160, 7, 1, true},
};

double error_of(const instance& i, const float* result) {
  buffer<float> d(i.w.size());
  for (int64_t k = 0; k < d.size(); k++) d[k] = i.w[k] - result[k];
  double value = 0;
  expect_status(
      ESP_OK,
      esp_quadratic_form(context(), i.t.rows, i.t.cols, d, nullptr, i.t.cols, i.h.data(), &value),
      "quadratic_form");
  return value;
}

}  // namespace

// Every row of the table, every number of threads: the same bits in every output.
CASE(gptq_gives_the_bits_of_the_reference) {
  for (const task& t : tasks) {
    const instance i(t, t.rows % 2 == 0 ? inputs::heavy_tailed : inputs::uniform);
    const int64_t count = t.rows * t.cols, scales = t.rows * (t.cols / t.group);
    for (const char* op : {"gptq_columns", "gptq_preview"}) {
      buffer<float> w(count), s(scales);
      buffer<int8_t> z(scales), codes(count);
      against_reference<float>(
          op, label_of(t) + " w", count, {},
          [&](esp_context* ctx, float* out) { return i.solve(ctx, out, s, z, codes); });
      against_reference<int8_t>(
          op, label_of(t) + " codes", count, {},
          [&](esp_context* ctx, int8_t* out) { return i.solve(ctx, w, s, z, out); });
      against_reference<float>(
          op, label_of(t) + " scales", scales, {},
          [&](esp_context* ctx, float* out) { return i.solve(ctx, w, out, z, codes); });
      against_reference<int8_t>(
          op, label_of(t) + " zeros", scales, {},
          [&](esp_context* ctx, int8_t* out) { return i.solve(ctx, w, s, out, codes); });
    }
  }
}

// A first difference in a row must be a quotient close to a boundary: the solver rounds the updated
// weight to fp32 (2^-24 of up to 2^(bits-1) steps), the textbook does not.
CASE(gptq_is_the_textbook) {
  int64_t differing = 0, all = 0;
  for (const task& t : tasks) {
    for (inputs kind : {inputs::uniform, inputs::heavy_tailed}) {
      const instance i(t, kind, 3);
      const int64_t groups = t.cols / t.group;
      buffer<float> w(t.rows * t.cols), s(t.rows * groups);
      buffer<int8_t> z(s.size()), codes(w.size());
      expect_status(ESP_OK, i.solve(context(), w, s, z, codes), "gptq_solve");
      const solution expected = textbook(t, i.w, i.h, t.fixed ? i.fixed_group.data() : nullptr,
                                         i.scales.data(), i.zeros.data());
      for (int64_t r = 0; r < t.rows; r++) {
        int64_t first = 0;
        while (first < t.cols && codes[r * t.cols + first] == expected.codes[at(r, first, t.cols)])
          first++;
        all++;
        if (first < t.cols) {
          differing++;
          const double margin = expected.margin[at(r, first, t.cols)];
          expect(margin < 1e-4, "%s %s row %lld column %lld: margin %g", label_of(t).c_str(),
                 name_of(kind), static_cast<long long>(r), static_cast<long long>(first), margin);
        }
        for (int64_t g = 0; g < groups && (t.fixed || g * t.group < first); g++) {
          const float want = expected.scales[static_cast<size_t>(r * groups + g)];
          expect(fabs(s[r * groups + g] / want - 1.0f) < 1e-5f, "%s row %lld scale %lld",
                 label_of(t).c_str(), static_cast<long long>(r), static_cast<long long>(g));
        }
      }
    }
  }
  expect(differing * 25 <= all, "%lld of %lld rows differ", static_cast<long long>(differing),
         static_cast<long long>(all));
}

CASE(gptq_returns_what_its_codes_mean) {
  for (const task& t : tasks) {
    const instance i(t);
    const int64_t groups = t.cols / t.group;
    buffer<float> w(t.rows * t.cols), s(t.rows * groups);
    buffer<int8_t> z(s.size()), codes(w.size());
    expect_status(ESP_OK, i.solve(context(), w, s, z, codes), "gptq_solve");
    int64_t wrong = 0;
    for (int64_t k = 0; k < w.size(); k++) {
      const int64_t c = k % t.cols;
      const int64_t of = k / t.cols * groups + (t.fixed ? i.fixed_group[c] : c / t.group);
      wrong += w[k] != s[of] * static_cast<float>(codes[k] - z[of]);
      wrong += codes[k] < -(1 << (t.bits - 1)) || codes[k] >= 1 << (t.bits - 1);
    }
    expect(wrong == 0, "%s: %lld wrong", label_of(t).c_str(), static_cast<long long>(wrong));
  }
}

CASE(gptq_is_no_worse_than_round_to_nearest) {
  for (const task& t : tasks) {
    if (t.fixed || t.cols < 12) continue;
    const instance i(t, inputs::uniform, 5);
    const int64_t groups = t.cols / t.group;
    buffer<float> w(t.rows * t.cols), s(t.rows * groups), nearest(w.size());
    buffer<int8_t> z(s.size()), codes(w.size());
    expect_status(ESP_OK, i.solve(context(), w, s, z, codes), "gptq_solve");
    const double solved = error_of(i, w);
    expect_status(ESP_OK,
                  esp_quantize_range(context(), t.rows, t.cols, i.w, t.cols, t.bits, t.symmetric,
                                     t.group, ESP_F32, 0, 0, 0, 0, 0, s, z),
                  "quantize_range");
    expect_status(ESP_OK,
                  esp_quantize_nearest(context(), t.rows, t.cols, i.w, t.cols, t.bits, t.group, s,
                                       z, 1, codes),
                  "quantize_nearest");
    for (int64_t k = 0; k < w.size(); k++) {
      const int64_t of = k / t.cols * groups + k % t.cols / t.group;
      nearest[k] = s[of] * static_cast<float>(codes[k] - z[of]);
    }
    const double rounded = error_of(i, nearest);
    expect(solved <= rounded, "%s: %g against %g", label_of(t).c_str(), solved, rounded);
  }
}

CASE(gptq_with_uncorrelated_inputs_is_round_to_nearest) {
  const int64_t rows = 67, cols = 192;
  for (int64_t group : {32, 96, 192}) {
    for (esp_dtype dtype : {ESP_F32, ESP_F16, ESP_BF16}) {
      buffer<float> w(rows * cols), s(rows * (cols / group)), scales(s.size());
      buffer<int8_t> z(s.size()), zeros(s.size()), codes(w.size()), nearest(w.size());
      buffer<double> u(cols * cols);
      fill(w, inputs::heavy_tailed, 8);
      for (int64_t c = 0; c < cols; c++) u[c * cols + c] = 0.25 + static_cast<double>(c);
      expect_status(ESP_OK,
                    esp_quantize_range(context(), rows, cols, w, cols, 4, 0, group, dtype, 0, 0, 0,
                                       0, 0, s, z),
                    "quantize_range");
      expect_status(
          ESP_OK, esp_quantize_nearest(context(), rows, cols, w, cols, 4, group, s, z, 1, nearest),
          "quantize_nearest");
      expect_status(ESP_OK,
                    esp_gptq_solve(context(), rows, cols, w, u, 4, 0, group, nullptr, dtype, scales,
                                   zeros, codes),
                    "gptq_solve");
      expect(memcmp(codes.data(), nearest.data(), static_cast<size_t>(codes.bytes())) == 0 &&
                 memcmp(s.data(), scales.data(), static_cast<size_t>(s.bytes())) == 0 &&
                 memcmp(z.data(), zeros.data(), static_cast<size_t>(z.bytes())) == 0,
             "group %lld dtype %d", static_cast<long long>(group), dtype);
    }
  }
}

CASE(gptq_refuses_bad_arguments) {
  buffer<float> w(16), s(4);
  buffer<int8_t> z(4), codes(16);
  buffer<double> u(256);
  buffer<int32_t> fixed(16);
  for (int i = 0; i < 16; i++) u[17 * i] = 1;
  const auto solve = [&](int32_t bits, int64_t group, esp_dtype dtype, const int32_t* groups) {
    return esp_gptq_solve(context(), 1, 16, w, u, bits, 1, group, groups, dtype, s, z, codes);
  };
  expect_status(ESP_OK, solve(4, 4, ESP_F32, nullptr), "gptq_solve");
  expect_status(ESP_OK, solve(4, 4, ESP_F32, fixed), "gptq_solve");
  expect_status(ESP_INVALID_ARGUMENT, solve(1, 4, ESP_F32, nullptr), "gptq_solve");
  expect_status(ESP_INVALID_ARGUMENT, solve(4, 5, ESP_F32, nullptr), "gptq_solve");
  expect_status(ESP_INVALID_ARGUMENT, solve(4, 4, ESP_I32, nullptr), "gptq_solve");
  fixed[7] = 4;
  expect_status(ESP_INVALID_ARGUMENT, solve(4, 4, ESP_F32, fixed), "gptq_solve");
  u[17 * 9] = NAN;
  expect_status(ESP_NUMERICAL, solve(4, 4, ESP_F32, nullptr), "gptq_solve");
}
