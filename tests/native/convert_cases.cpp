// SPDX-License-Identifier: Apache-2.0
//
// Conversion, exhaustively: every code of every small format against a definition by fields, every
// rounding boundary of the formats that can be written.
#include <math.h>

#include <algorithm>

#include "harness.h"

using namespace cases;

namespace {

enum class special { none, ieee, fn, fnuz };

struct layout {
  const char* name;
  esp_dtype dtype;
  int32_t exponent;
  int32_t mantissa;
  int32_t bias;
  special specials;
};

constexpr layout layouts[] = {
    {"F16", ESP_F16, 5, 10, 15, special::ieee},
    {"BF16", ESP_BF16, 8, 7, 127, special::ieee},
    {"F8_E5M2", ESP_F8_E5M2, 5, 2, 15, special::ieee},
    {"F8_E4M3", ESP_F8_E4M3, 4, 3, 7, special::fn},
    {"F8_E4M3FNUZ", ESP_F8_E4M3FNUZ, 4, 3, 8, special::fnuz},
    {"F8_E5M2FNUZ", ESP_F8_E5M2FNUZ, 5, 2, 16, special::fnuz},
    {"F6_E2M3", ESP_F6_E2M3, 2, 3, 1, special::none},
    {"F6_E3M2", ESP_F6_E3M2, 3, 2, 3, special::none},
    {"F4", ESP_F4, 2, 1, 1, special::none},
};

int32_t bits_of(const layout& f) {
  return 1 + f.exponent + f.mantissa;
}

// The value of a code by its fields; the definition the library is checked against.
double decoded(const layout& f, uint32_t code) {
  const uint32_t m = code % (1u << f.mantissa);
  const uint32_t e = code / (1u << f.mantissa) % (1u << f.exponent);
  const double sign = code / (1u << (f.mantissa + f.exponent)) != 0 ? -1.0 : 1.0;
  const uint32_t e_most = (1u << f.exponent) - 1;
  const uint32_t m_most = (1u << f.mantissa) - 1;
  if (f.specials == special::ieee && e == e_most) return m == 0 ? sign * HUGE_VAL : NAN;
  if (f.specials == special::fn && e == e_most && m == m_most) return NAN;
  if (f.specials == special::fnuz && sign < 0 && e == 0 && m == 0) return NAN;
  const double fraction = ldexp(m, -f.mantissa);
  return e == 0 ? sign * ldexp(fraction, 1 - f.bias)
                : sign * ldexp(1.0 + fraction, static_cast<int32_t>(e) - f.bias);
}

const char* widening_operation(esp_dtype dtype) {
  return dtype == ESP_F16 ? "widen_f16" : dtype == ESP_BF16 ? "widen_bf16" : "widen_any";
}

const char* narrowing_operation(esp_dtype dtype) {
  return dtype == ESP_F16 ? "narrow_f16" : dtype == ESP_BF16 ? "narrow_bf16" : "narrow_any";
}

// Codes of `bits` bits one after the other, low bits first.
void put_code(uint8_t* bytes, int64_t i, int32_t bits, uint32_t code) {
  for (int32_t b = 0; b < bits; b++) {
    const int64_t at = i * bits + b;
    if (code >> b & 1u) bytes[at / 8] = static_cast<uint8_t>(bytes[at / 8] | 1u << (at % 8));
  }
}

// Nearest code of x >= 0 among the finite codes, ties to the even code: by search. Past the middle
// between the largest finite value and the next step (where the tie is odd): `over`.
uint32_t nearest_code(const std::vector<double>& values, double x, uint32_t over) {
  const uint32_t last = static_cast<uint32_t>(values.size()) - 1;
  const double step = values[last] - values[last - 1];
  const double middle = values[last] + step / 2;
  if (x > middle || (x == middle && last % 2 == 1)) return over;
  if (x >= values[last]) return last;
  const uint32_t above =
      static_cast<uint32_t>(std::upper_bound(values.begin(), values.end(), x) - values.begin());
  const uint32_t below = above - 1;
  const double to_below = x - values[below];
  const double to_above = values[above] - x;
  if (to_below != to_above) return to_below < to_above ? below : above;
  return below % 2 == 0 ? below : above;
}

}  // namespace

CASE(convert_widens_every_code) {
  for (const layout& f : layouts) {
    const int32_t bits = bits_of(f);
    const int64_t n = int64_t{1} << bits;
    buffer<uint8_t> x((n * bits + 7) / 8);
    std::vector<double> expected;
    for (int64_t code = 0; code < n; code++) {
      put_code(x, code, bits, static_cast<uint32_t>(code));
      expected.push_back(decoded(f, static_cast<uint32_t>(code)));
    }
    against_definition<float>(
        widening_operation(f.dtype), f.name, expected, nullptr,
        [&](esp_context* ctx, float* y) { return esp_convert_to_f32(ctx, n, f.dtype, x, y); });
  }
}

CASE(convert_widens_tails_and_signs_of_zero) {
  for (const layout& f : layouts) {
    const int32_t bits = bits_of(f);
    for (int64_t n = 0; n <= 35; n++) {
      buffer<uint8_t> x((n * bits + 7) / 8);
      std::vector<double> expected;
      for (int64_t i = 0; i < n; i++) {
        const uint32_t code = static_cast<uint32_t>(i * 37 + 1) % (1u << bits);
        put_code(x, i, bits, code);
        expected.push_back(decoded(f, code));
      }
      against_definition<float>(
          widening_operation(f.dtype), format("%s n=%d", f.name, static_cast<int>(n)), expected,
          nullptr,
          [&](esp_context* ctx, float* y) { return esp_convert_to_f32(ctx, n, f.dtype, x, y); });
    }
    if (f.specials == special::fnuz) continue;
    buffer<uint8_t> zero(2);
    put_code(zero, 0, bits, 1u << (bits - 1));
    float y = 1.0f;
    expect_status(ESP_OK, esp_convert_to_f32(context(), 1, f.dtype, zero, &y), "convert_to_f32");
    expect(y == 0.0f && signbit(y), "%s: minus zero widens to %g", f.name, static_cast<double>(y));
  }
}

CASE(convert_widens_exponents_and_integers) {
  buffer<uint8_t> e8m0(256);
  std::vector<double> expected;
  for (int i = 0; i < 256; i++) {
    e8m0[i] = static_cast<uint8_t>(i);
    expected.push_back(i == 255 ? NAN : ldexp(1.0, i - 127));
  }
  against_definition<float>("widen_any", "F8_E8M0", expected, nullptr,
                            [&](esp_context* ctx, float* y) {
                              return esp_convert_to_f32(ctx, 256, ESP_F8_E8M0, e8m0, y);
                            });
  const auto check = [](const char* name, esp_dtype dtype, const void* x,
                        const std::vector<double>& values) {
    against_definition<float>("widen_any", name, values, nullptr, [&](esp_context* ctx, float* y) {
      return esp_convert_to_f32(ctx, static_cast<int64_t>(values.size()), dtype, x, y);
    });
  };
  const uint8_t bools[] = {0, 1, 2, 255};
  check("BOOL", ESP_BOOL, bools, {0, 1, 1, 1});
  const uint8_t u8[] = {0, 1, 128, 255};
  check("U8", ESP_U8, u8, {0, 1, 128, 255});
  const int8_t i8[] = {-128, -1, 0, 127};
  check("I8", ESP_I8, i8, {-128, -1, 0, 127});
  const int16_t i16[] = {INT16_MIN, -1, INT16_MAX};
  check("I16", ESP_I16, i16, {-32768, -1, 32767});
  const uint16_t u16[] = {0, 65535};
  check("U16", ESP_U16, u16, {0, 65535});
  // 2^24 + 1 is a tie and goes to the even 2^24; 2^24 + 3 to 2^24 + 4.
  const int32_t i32[] = {INT32_MIN, -16777217, 16777217, 16777219, INT32_MAX};
  check("I32", ESP_I32, i32, {-2147483648.0, -16777216, 16777216, 16777220, 2147483648.0});
  const uint32_t u32[] = {0, 16777217, UINT32_MAX};
  check("U32", ESP_U32, u32, {0, 16777216, 4294967296.0});
  const int64_t i64[] = {INT64_MIN, 16777219, INT64_MAX};
  check("I64", ESP_I64, i64, {-0x1p63, 16777220, 0x1p63});
  const uint64_t u64[] = {1, (uint64_t{1} << 63) + 1, UINT64_MAX};
  check("U64", ESP_U64, u64, {1, 0x1p63, 0x1p64});
  const double f64[] = {0x1.000001p0, 0x1.000003p0, 1e300, -1e300, 0x1p-149, 0x1p-150, NAN};
  check("F64", ESP_F64, f64, {1, 0x1.000004p0, HUGE_VAL, -HUGE_VAL, 0x1p-149, 0, NAN});
}

CASE(convert_round_trips_every_code) {
  for (const layout& f : layouts) {
    if (f.dtype != ESP_F16 && f.dtype != ESP_BF16 && f.dtype != ESP_F8_E4M3 &&
        f.dtype != ESP_F8_E5M2)
      continue;
    const int64_t n = int64_t{1} << bits_of(f);
    std::vector<float> x;
    std::vector<double> codes;
    for (uint32_t code = 0; code < n; code++) {
      const double value = decoded(f, code);
      if (isnan(value)) continue;
      x.push_back(static_cast<float>(value));
      codes.push_back(code);
    }
    buffer<float> in(static_cast<int64_t>(x.size()));
    std::copy(x.begin(), x.end(), in.data());
    if (bits_of(f) == 16) {
      against_definition<uint16_t>(narrowing_operation(f.dtype), f.name, codes, nullptr,
                                   [&](esp_context* ctx, uint16_t* y) {
                                     return esp_convert_from_f32(ctx, in.size(), f.dtype, in, y);
                                   });
    } else {
      against_definition<uint8_t>(narrowing_operation(f.dtype), f.name, codes, nullptr,
                                  [&](esp_context* ctx, uint8_t* y) {
                                    return esp_convert_from_f32(ctx, in.size(), f.dtype, in, y);
                                  });
    }
  }
}

// For all neighbouring codes: the value, the middle, and the floats next to both.
CASE(convert_rounds_to_nearest_even) {
  for (const layout& f : layouts) {
    if (f.dtype != ESP_F16 && f.dtype != ESP_BF16 && f.dtype != ESP_F8_E4M3 &&
        f.dtype != ESP_F8_E5M2)
      continue;
    const uint32_t sign = 1u << (bits_of(f) - 1);
    std::vector<double> values;  // of the finite codes with sign 0, ascending
    for (uint32_t code = 0; code < sign; code++) {
      const double value = decoded(f, code);
      if (isfinite(value)) values.push_back(value);
    }
    const uint32_t over = static_cast<uint32_t>(values.size());  // infinity, or the NaN of E4M3
    std::vector<float> x;
    for (size_t i = 0; i < values.size(); i++) {
      const double next = i + 1 < values.size() ? values[i + 1] : 2 * values[i] - values[i - 1];
      const float value = static_cast<float>(values[i]);
      const float middle = static_cast<float>((values[i] + next) / 2);
      for (float at : {value, middle}) {
        x.push_back(at);
        x.push_back(nextafterf(at, HUGE_VALF));
        if (at > 0) x.push_back(nextafterf(at, 0.0f));
      }
    }
    x.push_back(HUGE_VALF);
    x.push_back(3.4028234664e38f);
    x.push_back(0x1p-149f);
    const size_t positive = x.size();
    for (size_t i = 0; i < positive; i++) x.push_back(-x[i]);
    std::vector<double> codes;
    for (float at : x) {
      const uint32_t code = nearest_code(values, fabs(static_cast<double>(at)), over);
      codes.push_back(code | (signbit(at) ? sign : 0u));
    }
    buffer<float> in(static_cast<int64_t>(x.size()));
    std::copy(x.begin(), x.end(), in.data());
    if (bits_of(f) == 16) {
      against_definition<uint16_t>(narrowing_operation(f.dtype), f.name, codes, nullptr,
                                   [&](esp_context* ctx, uint16_t* y) {
                                     return esp_convert_from_f32(ctx, in.size(), f.dtype, in, y);
                                   });
    } else {
      against_definition<uint8_t>(narrowing_operation(f.dtype), f.name, codes, nullptr,
                                  [&](esp_context* ctx, uint8_t* y) {
                                    return esp_convert_from_f32(ctx, in.size(), f.dtype, in, y);
                                  });
    }
  }
}

CASE(convert_narrows_any_bits_like_the_reference) {
  constexpr int64_t n = 200003;  // several tiles and a tail
  buffer<float> x(n);
  generator g(7);
  for (float& value : x) {
    const uint32_t bits = static_cast<uint32_t>(g.next());
    memcpy(&value, &bits, sizeof value);
  }
  for (esp_dtype dtype : {ESP_F16, ESP_BF16}) {
    against_reference<uint16_t>(
        narrowing_operation(dtype), "any bits", n, nullptr,
        [&](esp_context* ctx, uint16_t* y) { return esp_convert_from_f32(ctx, n, dtype, x, y); });
  }
  for (int64_t few = 0; few <= 33; few++) {
    buffer<float> part(few);
    std::copy(x.data(), x.data() + few, part.data());
    for (esp_dtype dtype : {ESP_F16, ESP_BF16}) {
      against_reference<uint16_t>(narrowing_operation(dtype), format("n=%d", static_cast<int>(few)),
                                  few, nullptr, [&](esp_context* ctx, uint16_t* y) {
                                    return esp_convert_from_f32(ctx, few, dtype, part, y);
                                  });
    }
  }
  against_definition<double>(
      "narrow_any", "F64", std::vector<double>(x.data(), x.data() + 1000), nullptr,
      [&](esp_context* ctx, double* y) { return esp_convert_from_f32(ctx, 1000, ESP_F64, x, y); });
  against_definition<float>(
      "narrow_any", "F32", std::vector<double>(x.data(), x.data() + 1000), nullptr,
      [&](esp_context* ctx, float* y) { return esp_convert_from_f32(ctx, 1000, ESP_F32, x, y); });
}

CASE(convert_finds_the_first_nonfinite) {
  const auto check = [](const char* operation, esp_dtype dtype, int64_t n, const void* x,
                        int64_t first, const char* what) {
    against_definition<int64_t>(
        operation, format("%s n=%lld", what, static_cast<long long>(n)),
        {static_cast<double>(first)}, nullptr,
        [&](esp_context* ctx, int64_t* y) { return esp_first_nonfinite(ctx, n, dtype, x, y); });
  };
  for (int64_t n : {1, 7, 8, 9, 15, 16, 17, 33, 200000}) {
    for (int64_t at : {int64_t{-1}, int64_t{0}, n / 2, n - 1}) {
      for (float bad : {HUGE_VALF, -HUGE_VALF, NAN}) {
        buffer<float> x(n);
        for (float& value : x) value = -3.4028234664e38f;
        if (at >= 0) x[at] = x[n - 1] = bad;
        check("nonfinite_f32", ESP_F32, n, x, at, "F32");
      }
      for (uint16_t bad : {0x7C00, 0xFC00, 0x7C01, 0xFFFF}) {
        buffer<uint16_t> x(n);
        for (uint16_t& code : x) code = 0xFBFF;
        if (at >= 0) x[at] = x[n - 1] = bad;
        check("nonfinite_16", ESP_F16, n, x, at, "F16");
      }
      for (uint16_t bad : {0x7F80, 0xFF80, 0x7F81, 0xFFFF}) {
        buffer<uint16_t> x(n);
        for (uint16_t& code : x) code = 0xFF7F;
        if (at >= 0) x[at] = x[n - 1] = bad;
        check("nonfinite_16", ESP_BF16, n, x, at, "BF16");
      }
      buffer<uint8_t> e4m3(n);
      if (at >= 0) e4m3[at] = e4m3[n - 1] = 0xFF;
      check("nonfinite_any", ESP_F8_E4M3, n, e4m3, at, "F8_E4M3");
      buffer<double> f64(n);
      for (double& value : f64) value = 1e300;
      if (at >= 0) f64[at] = NAN;
      check("nonfinite_any", ESP_F64, n, f64, at, "F64");
    }
  }
  buffer<float> complex(10);
  complex[7] = NAN;
  check("nonfinite_f32", ESP_C64, 5, complex, 3, "C64");
  buffer<int32_t> integers(3);
  for (int32_t& value : integers) value = 0x7F800000;
  check("nonfinite_any", ESP_I32, 3, integers, -1, "I32");
}

CASE(embedding_gathers_rows) {
  constexpr int64_t vocabulary = 11;
  for (int64_t width : {1, 7, 8, 17, 576}) {
    for (int64_t tokens : {0, 1, 5, 130}) {
      buffer<int32_t> ids(tokens);
      fill_integers<int32_t>(ids, tokens, 0, vocabulary - 1, inputs::heavy_tailed, 3);
      buffer<float> table(vocabulary * width);
      fill(table, inputs::heavy_tailed, 4);
      const std::string label =
          format("tokens=%d width=%d", static_cast<int>(tokens), static_cast<int>(width));
      std::vector<double> expected;
      for (int32_t id : ids)
        for (int64_t c = 0; c < width; c++) expected.push_back(table[id * width + c]);
      against_definition<float>(
          "widen_any", label, expected, nullptr, [&](esp_context* ctx, float* y) {
            return esp_embedding(ctx, tokens, vocabulary, width, ids, ESP_F32, table, y);
          });
      for (esp_dtype dtype : {ESP_F16, ESP_BF16}) {
        buffer<uint16_t> narrow(vocabulary * width);
        esp_convert_from_f32(context(), narrow.size(), dtype, table, narrow);
        const layout& f = layouts[dtype == ESP_F16 ? 0 : 1];
        expected.clear();
        for (int32_t id : ids)
          for (int64_t c = 0; c < width; c++)
            expected.push_back(decoded(f, narrow[id * width + c]));
        against_definition<float>(
            widening_operation(dtype), label, expected, nullptr, [&](esp_context* ctx, float* y) {
              return esp_embedding(ctx, tokens, vocabulary, width, ids, dtype, narrow, y);
            });
      }
    }
  }
}

CASE(embedding_names_the_first_bad_id) {
  const float table[4] = {};
  float y[8];
  const int32_t high[] = {0, 1, 2, -1};
  expect_status(ESP_INVALID_ARGUMENT, esp_embedding(context(), 4, 2, 2, high, ESP_F32, table, y),
                "embedding");
  expect(strstr(esp_last_error(), "ids[2]=2") != nullptr, "message %s", esp_last_error());
  const int32_t low[] = {-1};
  expect_status(ESP_INVALID_ARGUMENT, esp_embedding(context(), 1, 2, 2, low, ESP_F32, table, y),
                "embedding");
  expect_status(ESP_UNSUPPORTED, esp_embedding(context(), 1, 2, 2, high, ESP_F64, table, y),
                "embedding");
}

CASE(convert_refuses_what_it_cannot_do) {
  float x[2] = {};
  double y[2];
  int64_t first;
  esp_context* const ctx = context();
  expect_status(ESP_UNSUPPORTED, esp_convert_to_f32(ctx, 1, ESP_C64, x, x), "convert_to_f32");
  expect_status(ESP_INVALID_ARGUMENT, esp_convert_to_f32(ctx, -1, ESP_F32, x, x), "convert_to_f32");
  expect_status(ESP_INVALID_ARGUMENT, esp_convert_to_f32(ctx, 1, 22, x, x), "convert_to_f32");
  expect_status(ESP_INVALID_ARGUMENT, esp_convert_to_f32(ctx, 1, ESP_F32, nullptr, x),
                "convert_to_f32");
  expect_status(ESP_OK, esp_convert_to_f32(ctx, 0, ESP_F32, nullptr, nullptr), "convert_to_f32");
  for (esp_dtype dtype = ESP_BOOL; dtype <= ESP_U64; dtype++) {
    const bool served = dtype == ESP_F16 || dtype == ESP_BF16 || dtype == ESP_F32 ||
                        dtype == ESP_F64 || dtype == ESP_F8_E4M3 || dtype == ESP_F8_E5M2;
    expect_status(served ? ESP_OK : ESP_UNSUPPORTED, esp_convert_from_f32(ctx, 1, dtype, x, y),
                  "convert_from_f32");
  }
  expect_status(ESP_INVALID_ARGUMENT, esp_first_nonfinite(ctx, -1, ESP_F32, x, &first),
                "first_nonfinite");
}
