// SPDX-License-Identifier: Apache-2.0
//
// Ranges and codes: every row gives the bits of the reference, and the reference the definition.
#include <math.h>

#include "harness.h"
#include "layout/power.h"

using namespace cases;

namespace {

struct shape {
  int64_t rows, cols, group;
};
constexpr shape shapes[] = {{1, 1, 1},     {2, 7, 7},    {3, 8, 8},    {2, 9, 3},      {4, 64, 16},
                            {3, 172, 172}, {2, 172, 43}, {5, 352, 32}, {2, 245, 245},  {1, 15, 15},
                            {1, 16, 16},   {1, 17, 17},  {3, 384, 64}, {70, 1024, 128}};

std::string label_of(const shape& s, int32_t bits, int symmetric, inputs kind) {
  return format("rows=%lld cols=%lld group=%lld bits=%d symmetric=%d %s",
                static_cast<long long>(s.rows), static_cast<long long>(s.cols),
                static_cast<long long>(s.group), bits, symmetric, name_of(kind));
}

struct range {
  std::vector<float> scales;
  std::vector<int8_t> zeros;
};

range find(int64_t rows, int64_t cols, const float* w, int32_t bits, int symmetric, int64_t group,
           esp_dtype dtype = ESP_F32, int32_t grid = 0, double shrink = 0.8, double norm = 2.4,
           int32_t patience = 0) {
  const size_t count = static_cast<size_t>(rows * (cols / group));
  range r{std::vector<float>(count), std::vector<int8_t>(count)};
  expect_status(
      ESP_OK,
      esp_quantize_range(context(), rows, cols, w, cols, bits, symmetric, group, dtype, grid,
                         shrink, norm, patience, 0, r.scales.data(), r.zeros.data()),
      "quantize_range");
  return r;
}

double half_even(double x) {
  return nearbyint(x);
}

// The error of a group under given scale and zero, in the arithmetic of the contract.
double group_error(const float* w, int64_t n, int32_t bits, float scale, int zero, double norm) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) {
    const float quotient = w[i] / scale + static_cast<float>(zero);
    const float low = -static_cast<float>(1 << (bits - 1)), high = -low - 1.0f;
    const float q =
        static_cast<float>(half_even(static_cast<double>(fminf(fmaxf(quotient, low), high))));
    const float value = scale * (q - static_cast<float>(zero));
    sum += pow(fabs(static_cast<double>(w[i] - value)), norm);
  }
  return sum;
}

}  // namespace

CASE(quantize_range_gives_the_bits_of_the_reference) {
  for (const shape& s : shapes) {
    for (inputs kind : every_input) {
      buffer<float> w(s.rows * s.cols);
      fill(w, kind, 3);
      const int64_t count = s.rows * (s.cols / s.group);
      for (int symmetric = 0; symmetric < 2; symmetric++) {
        for (esp_dtype dtype : {ESP_F32, ESP_F16, ESP_BF16, ESP_BF16_AND_F16}) {
          for (int32_t grid : {0, 20}) {
            if (grid > 0 && (dtype != ESP_F32 || s.rows > 5)) continue;
            const int32_t exact = (s.rows + symmetric + grid) % 2 == 0;
            const int32_t bits = 2 + static_cast<int32_t>(s.cols % 7);
            buffer<int8_t> zeros(count);
            buffer<float> scales(count);
            const std::string label =
                label_of(s, bits, symmetric, kind) + format(" dtype=%d grid=%d", dtype, grid);
            against_reference<float>(
                "quantize_range", label, count, {}, [&](esp_context* ctx, float* out) {
                  return esp_quantize_range(ctx, s.rows, s.cols, w, s.cols, bits, symmetric,
                                            s.group, dtype, grid, 0.8, 2.4, 3, exact, out, zeros);
                });
            against_reference<int8_t>(
                "quantize_range", label + " zeros", count, {}, [&](esp_context* ctx, int8_t* out) {
                  return esp_quantize_range(ctx, s.rows, s.cols, w, s.cols, bits, symmetric,
                                            s.group, dtype, grid, 0.8, 2.4, 3, exact, scales, out);
                });
          }
        }
      }
    }
  }
}

CASE(quantize_nearest_gives_the_bits_of_the_reference) {
  for (const shape& s : shapes) {
    for (inputs kind : every_input) {
      buffer<float> w(s.rows * s.cols);
      fill(w, kind, 4);
      for (int32_t bits = 2; bits <= 8; bits++) {
        const int symmetric = bits % 2;
        const range r = find(s.rows, s.cols, w, bits, symmetric, s.group);
        buffer<float> scales(static_cast<int64_t>(r.scales.size()));
        buffer<int8_t> zeros(scales.size());
        memcpy(scales.data(), r.scales.data(), static_cast<size_t>(scales.bytes()));
        memcpy(zeros.data(), r.zeros.data(), static_cast<size_t>(zeros.bytes()));
        const int8_t* z = symmetric ? nullptr : zeros.data();
        against_reference<int8_t>("quantize_nearest", label_of(s, bits, symmetric, kind),
                                  s.rows * s.cols, {}, [&](esp_context* ctx, int8_t* out) {
                                    return esp_quantize_nearest(ctx, s.rows, s.cols, w, s.cols,
                                                                bits, s.group, scales, z,
                                                                bits / 2 % 2, out);
                                  });
      }
    }
  }
}

CASE(the_minimum_maximum_range_is_the_definition) {
  for (int32_t bits = 2; bits <= 8; bits++) {
    const int64_t rows = 20, cols = 96, group = 24;
    buffer<float> w(rows * cols);
    fill(w, inputs::heavy_tailed, 5);
    const range symmetric = find(rows, cols, w, bits, 1, group);
    const range asymmetric = find(rows, cols, w, bits, 0, group);
    for (int64_t g = 0; g < rows * cols / group; g++) {
      float low = 0, high = 0;
      for (int64_t i = 0; i < group; i++) {
        low = fminf(low, w[g * group + i]);
        high = fmaxf(high, w[g * group + i]);
      }
      const float steps = static_cast<float>((1 << bits) - 1);
      const size_t at = static_cast<size_t>(g);
      expect(symmetric.scales[at] == fmaxf(-low, high) / (steps / 2) && symmetric.zeros[at] == 0,
             "symmetric scale of group %lld", static_cast<long long>(g));
      const float scale = (high - low) / steps;
      expect(asymmetric.scales[at] == scale, "asymmetric scale of group %lld",
             static_cast<long long>(g));
      const float bottom = -static_cast<float>(1 << (bits - 1));
      const double zero = half_even(
          static_cast<double>(fminf(fmaxf(bottom - low / scale, bottom), -bottom - 1.0f)));
      expect(asymmetric.zeros[at] == zero, "zero %d of group %lld, expected %g",
             asymmetric.zeros[at], static_cast<long long>(g), zero);
    }
  }
}

// The bound that layout/power.h states, on 100 values between neighbouring powers of two.
CASE(powers_keep_their_bound) {
  for (float p : {0.5f, 1.0f, 2.0f, 2.4f, 4.0f}) {
    int64_t wrong = 0;
    for (double exponent = -30; exponent <= 30; exponent += 0.01) {
      const float x = static_cast<float>(exp2(exponent));
      const double exact = pow(static_cast<double>(x), static_cast<double>(p));
      const double logarithm = fabs(static_cast<double>(p) * log2(static_cast<double>(x)));
      const double found = static_cast<double>(esp::power_of(x, p));
      if (logarithm < 120) wrong += !(fabs(found / exact - 1) <= 3e-7 + 1.2e-7 * logarithm);
    }
    expect(wrong == 0, "p=%g: %lld wrong", static_cast<double>(p), static_cast<long long>(wrong));
    const double nothing = static_cast<double>(esp::power_of(0.0f, p));
    expect(nothing <= fmax(exp2(-126), 1.01 * exp2(-127 * static_cast<double>(p))), "0^%g = %g",
           static_cast<double>(p), nothing);
  }
}

CASE(the_mse_range_is_the_best_of_the_grid) {
  const int64_t rows = 12, cols = 40, group = 20;
  buffer<float> w(rows * cols);
  fill(w, inputs::heavy_tailed, 6);
  for (int symmetric = 0; symmetric < 2; symmetric++) {
    for (int32_t patience : {0, 1, 5}) {
      for (double norm : {2.0, 2.4}) {
        const int32_t grid = 25, bits = 3;
        const range found =
            find(rows, cols, w, bits, symmetric, group, ESP_F32, grid, 0.8, norm, patience);
        for (int64_t g = 0; g < rows * cols / group; g++) {
          const float* values = w + g * group;
          double best = INFINITY;
          float best_scale = 0;
          int worse = 0;
          for (int32_t i = 0; i < 20; i++) {  // 0.8 * 25
            std::vector<float> shrunk;
            for (int64_t c = 0; c < group; c++)
              shrunk.push_back(static_cast<float>(1.0 - i / 25.0) * values[c]);
            const range r = find(1, group, shrunk.data(), bits, symmetric, group);
            const double error = group_error(values, group, bits, r.scales[0], r.zeros[0], norm);
            if (error < best) {
              best = error;
              best_scale = r.scales[0];
              worse = 0;
            } else if (++worse == patience) {
              break;
            }
          }
          expect(found.scales[static_cast<size_t>(g)] == best_scale,
                 "symmetric=%d patience=%d norm=%g group %lld: scale %g, expected %g", symmetric,
                 patience, norm, static_cast<long long>(g),
                 static_cast<double>(found.scales[static_cast<size_t>(g)]),
                 static_cast<double>(best_scale));
        }
      }
    }
  }
}

CASE(degenerate_groups_have_a_scale) {
  const float zero[4] = {0, -0.0f, 0, 0}, constant[4] = {3, 3, 3, 3},
              negative[4] = {-1, -2, -3, -1};
  const range none = find(1, 4, zero, 4, 0, 4);
  expect(none.scales[0] == 0x1p-23f && none.zeros[0] == 0, "zero group: %g, %d",
         static_cast<double>(none.scales[0]), none.zeros[0]);
  expect(find(1, 4, zero, 4, 1, 4).zeros[0] == 0, "symmetric zero group");
  // 0 belongs to every range.
  const range same = find(1, 4, constant, 4, 0, 4);
  expect(same.scales[0] == 3.0f / 15.0f && same.zeros[0] == -8, "constant group");
  const range below = find(1, 4, negative, 4, 0, 4);
  expect(below.scales[0] == 3.0f / 15.0f && below.zeros[0] == 7, "negative group");
}

CASE(scales_are_rounded_to_their_dtype) {
  const float steps = 7.5f;  // bits 4, symmetric: scale = max / 7.5
  const struct {
    float scale;
    float f16, bf16;
  } table[] = {{1.0f + 0x1p-11f, 1.0f, 1.0f},                // ties go to even
               {1.0f + 3 * 0x1p-11f, 1.0f + 0x1p-9f, 1.0f},  //
               {1.0f + 0x1p-8f, 1.0f + 0x1p-8f, 1.0f},       //
               {1.0f + 3 * 0x1p-8f, 1.0f + 3 * 0x1p-8f, 1.0f + 0x1p-6f},
               {0x1p-24f, 0x1p-24f, 0x1p-24f},      // the least F16
               {0x1.8p-24f, 0x1p-23f, 0x1.8p-24f},  // between two subnormals
               {0x1p-26f, 0x1p-23f, 0x1p-26f},      // 0 in F16, hence 2^-23
               {65504.0f, 65504.0f, 65536.0f},
               {70000.0f, INFINITY, 70144.0f}};
  for (const auto& row : table) {
    const float w = row.scale * steps;
    if (w / steps != row.scale) continue;
    expect(find(1, 1, &w, 4, 1, 1, ESP_F16).scales[0] == row.f16, "f16 of %a",
           static_cast<double>(row.scale));
    expect(find(1, 1, &w, 4, 1, 1, ESP_BF16).scales[0] == row.bf16, "bf16 of %a",
           static_cast<double>(row.scale));
  }
}

CASE(scales_of_two_half_formats_are_exact_in_both) {
  const float half_steps = 7.5f;  // scale = max|w| / 7.5
  // Every BF16 value and the F32 values halfway to the next one, from 2^-36 to 2^15.
  for (uint32_t u = 0x2d80; u < 0x4700; u++) {
    for (uint32_t low : {0x0000u, 0x8000u, 0x8001u}) {
      const uint32_t word = u << 16 | low;
      float magnitude;
      memcpy(&magnitude, &word, sizeof magnitude);
      const float w = magnitude * half_steps;
      const float shared = find(1, 1, &w, 4, 1, 1, ESP_BF16_AND_F16).scales[0];
      const float again = shared * half_steps;
      expect(find(1, 1, &again, 4, 1, 1, ESP_F16).scales[0] == shared, "f16 of %a",
             static_cast<double>(shared));
      expect(find(1, 1, &again, 4, 1, 1, ESP_BF16).scales[0] == shared, "bf16 of %a",
             static_cast<double>(shared));
      if (magnitude >= 0x1p-17f)
        expect(find(1, 1, &w, 4, 1, 1, ESP_BF16).scales[0] == shared, "bf16 alone of %a",
               static_cast<double>(magnitude));
    }
  }
  const float dead = 0.0f;
  expect(find(1, 1, &dead, 4, 1, 1, ESP_BF16_AND_F16).scales[0] == 0x1p-23f, "zeros alone");
}

CASE(codes_are_clamped_first_and_rounded_half_to_even) {
  const float w[] = {7.5f,  7.4f,  -7.5f, -8.5f,  -100.0f, 0.5f, 1.5f,
                     -0.5f, -1.5f, 2.5f,  100.0f, -0.0f,   NAN,  INFINITY};
  const int8_t expected[] = {7, 7, -8, -8, -8, 0, 2, 0, -2, 2, 7, 0, -8, 7};
  const float scale = 1.0f;
  int8_t codes[14];
  expect_status(ESP_OK,
                esp_quantize_nearest(context(), 1, 14, w, 14, 4, 14, &scale, nullptr, 0, codes),
                "quantize_nearest");
  for (int i = 0; i < 14; i++)
    expect(codes[i] == expected[i], "code of %g is %d", static_cast<double>(w[i]), codes[i]);
}

CASE(quantize_refuses_bad_arguments) {
  buffer<float> w(16), scales(4);
  buffer<int8_t> zeros(4), codes(16);
  const auto range_of = [&](int32_t bits, int64_t group, esp_dtype dtype, int32_t grid, double norm,
                            int64_t ld) {
    return esp_quantize_range(context(), 1, 16, w, ld, bits, 1, group, dtype, grid, 0.8, norm, 0, 0,
                              scales, zeros);
  };
  expect_status(ESP_OK, range_of(4, 4, ESP_F32, 10, 2.4, 16), "quantize_range");
  expect_status(ESP_INVALID_ARGUMENT, range_of(1, 4, ESP_F32, 0, 2.4, 16), "quantize_range");
  expect_status(ESP_INVALID_ARGUMENT, range_of(9, 4, ESP_F32, 0, 2.4, 16), "quantize_range");
  expect_status(ESP_INVALID_ARGUMENT, range_of(4, 5, ESP_F32, 0, 2.4, 16), "quantize_range");
  expect_status(ESP_INVALID_ARGUMENT, range_of(4, 4, ESP_I8, 0, 2.4, 16), "quantize_range");
  expect_status(ESP_INVALID_ARGUMENT, range_of(4, 4, ESP_F32, 10, 0.0, 16), "quantize_range");
  expect_status(ESP_INVALID_ARGUMENT, range_of(4, 4, ESP_F32, 0, 2.4, 15), "quantize_range");
  expect_status(ESP_INVALID_ARGUMENT,
                esp_quantize_nearest(context(), 1, 16, w, 16, 4, 3, scales, zeros, 0, codes),
                "quantize_nearest");
  expect_status(ESP_INVALID_ARGUMENT,
                esp_quantize_nearest(context(), -1, 16, w, 16, 4, 4, scales, zeros, 0, codes),
                "quantize_nearest");
}
