// SPDX-License-Identifier: Apache-2.0
//
// What      Element conversion to and from fp32, and the search for NaN and infinity.
// Layout    A small float is sign | exponent | mantissa; F4 and F6 elements follow each other
//           without gaps, low bits first:
//             F4  byte i = element 2i (bits 0-3), element 2i+1 (bits 4-7)
//             F6  element i = bits [6i, 6i+6) of the little-endian stream
// Tile      n consecutive elements.
// Numerics  Widening is exact (fp64 and 64-bit integers round to nearest even); narrowing rounds to
//           nearest even with subnormals. A NaN stays a NaN with its sign and its leading payload.
// Needs     Nothing.
// Tail      None: element by element.
#include <math.h>
#include <string.h>

#include "espalier.h"
#include "operations.h"

namespace esp {
namespace {

// A format with an exponent of `exponent` bits, `mantissa` bits and `bias`.
struct small_float {
  int32_t exponent;
  int32_t mantissa;
  int32_t bias;
};

constexpr small_float f16 = {5, 10, 15};
constexpr small_float bf16 = {8, 7, 127};
constexpr small_float f8_e5m2 = {5, 2, 15};
constexpr small_float f8_e4m3 = {4, 3, 7};
constexpr small_float f8_e4m3fnuz = {4, 3, 8};
constexpr small_float f8_e5m2fnuz = {5, 2, 16};
constexpr small_float f6_e2m3 = {2, 3, 1};
constexpr small_float f6_e3m2 = {3, 2, 3};
constexpr small_float f4_e2m1 = {2, 1, 1};

float from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

uint32_t to_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

// The finite value of a code: subnormal 0.m * 2^(1-bias), normal 1.m * 2^(e-bias).
float finite(const small_float& f, uint32_t code) {
  const uint32_t m = code & ((1u << f.mantissa) - 1);
  const int32_t e = static_cast<int32_t>((code >> f.mantissa) & ((1u << f.exponent) - 1));
  const uint32_t sign = code >> (f.mantissa + f.exponent) & 1u;
  const uint32_t integer = e == 0 ? m : m | 1u << f.mantissa;
  const double magnitude =
      ldexp(static_cast<double>(integer), (e == 0 ? 1 : e) - f.bias - f.mantissa);
  return static_cast<float>(sign ? -magnitude : magnitude);
}

// A format whose largest exponent means infinity (mantissa 0) or NaN.
float ieee(const small_float& f, uint32_t code) {
  const uint32_t m = code & ((1u << f.mantissa) - 1);
  const uint32_t largest = (1u << f.exponent) - 1;
  if ((code >> f.mantissa & largest) != largest) return finite(f, code);
  const uint32_t sign = (code >> (f.mantissa + f.exponent) & 1u) << 31;
  const uint32_t quiet = m != 0 ? 1u << 22 : 0u;
  return from_bits(sign | 0x7F800000u | quiet | m << (23 - f.mantissa));
}

// The code of |x| rounded to nearest even as if the exponent had no upper end. x is finite.
uint32_t rounded(const small_float& f, float x) {
  const double magnitude = fabs(static_cast<double>(x));
  if (magnitude == 0.0) return 0;
  const int32_t lowest = 1 - f.bias;
  const int32_t e = ilogb(magnitude) < lowest ? lowest : ilogb(magnitude);
  // Both scalings are exact in fp64. The quotient is below 2^(mantissa+1); when rounding carries it
  // there, the addition below moves on to the next exponent.
  const double quotient = nearbyint(ldexp(magnitude, f.mantissa - e));
  const uint32_t above = static_cast<uint32_t>(e - lowest) << f.mantissa;
  return above + static_cast<uint32_t>(quotient);
}

uint32_t narrow_ieee(const small_float& f, float x) {
  const uint32_t bits = to_bits(x);
  const uint32_t sign = (bits >> 31) << (f.exponent + f.mantissa);
  const uint32_t infinity = ((1u << f.exponent) - 1) << f.mantissa;
  if (isnan(x)) {
    const uint32_t payload = (bits & 0x7FFFFFu) >> (23 - f.mantissa);
    return sign | infinity | 1u << (f.mantissa - 1) | payload;
  }
  if (isinf(x)) return sign | infinity;
  const uint32_t code = rounded(f, x);
  return sign | (code > infinity ? infinity : code);
}

// F8_E4M3 (FN): no infinity; 0x7F is NaN. 464 is the tie between 448 (0x7E) and the missing 480.
uint32_t narrow_e4m3(float x) {
  const uint32_t sign = (to_bits(x) >> 31) << 7;
  if (isnan(x) || isinf(x)) return sign | 0x7Fu;
  const uint32_t code = rounded(f8_e4m3, x);
  return sign | (code > 0x7Eu ? 0x7Fu : code);
}

uint32_t six_bits(const uint8_t* x, int64_t i) {
  const int64_t bit = 6 * i;
  const uint32_t low = x[bit / 8];
  // An element that does not cross into the next byte must not read it: it may not exist.
  const uint32_t high = bit % 8 > 2 ? x[bit / 8 + 1] : 0u;
  return (low | high << 8) >> (bit % 8) & 63u;
}

float widen_one(int32_t dtype, int64_t i, const void* x) {
  const uint8_t* const bytes = static_cast<const uint8_t*>(x);
  switch (dtype) {
    case ESP_BOOL:
      return bytes[i] != 0 ? 1.0f : 0.0f;
    case ESP_F4:
      return finite(f4_e2m1, bytes[i / 2] >> (4 * (i % 2)) & 15u);
    case ESP_F6_E2M3:
      return finite(f6_e2m3, six_bits(bytes, i));
    case ESP_F6_E3M2:
      return finite(f6_e3m2, six_bits(bytes, i));
    case ESP_U8:
      return bytes[i];
    case ESP_I8:
      return static_cast<const int8_t*>(x)[i];
    case ESP_F8_E5M2:
      return ieee(f8_e5m2, bytes[i]);
    case ESP_F8_E4M3:
      return (bytes[i] & 0x7Fu) == 0x7Fu ? from_bits((bytes[i] & 0x80u) << 24 | 0x7FC00000u)
                                         : finite(f8_e4m3, bytes[i]);
    case ESP_F8_E8M0:
      return bytes[i] == 255 ? from_bits(0x7FC00000u)
                             : static_cast<float>(ldexp(1.0, bytes[i] - 127));
    case ESP_F8_E4M3FNUZ:
      return bytes[i] == 0x80u ? from_bits(0x7FC00000u) : finite(f8_e4m3fnuz, bytes[i]);
    case ESP_F8_E5M2FNUZ:
      return bytes[i] == 0x80u ? from_bits(0x7FC00000u) : finite(f8_e5m2fnuz, bytes[i]);
    case ESP_I16:
      return static_cast<const int16_t*>(x)[i];
    case ESP_U16:
      return static_cast<const uint16_t*>(x)[i];
    case ESP_F16:
      return ieee(f16, static_cast<const uint16_t*>(x)[i]);
    case ESP_BF16:
      return ieee(bf16, static_cast<const uint16_t*>(x)[i]);
    case ESP_I32:
      return static_cast<float>(static_cast<const int32_t*>(x)[i]);
    case ESP_U32:
      return static_cast<float>(static_cast<const uint32_t*>(x)[i]);
    case ESP_F32:
      return static_cast<const float*>(x)[i];
    case ESP_F64:
      return static_cast<float>(static_cast<const double*>(x)[i]);
    case ESP_I64:
      return static_cast<float>(static_cast<const int64_t*>(x)[i]);
    case ESP_U64:
      return static_cast<float>(static_cast<const uint64_t*>(x)[i]);
    default:
      return 0.0f;  // the entry point has refused it
  }
}

}  // namespace

void widen_any_reference(int32_t dtype, int64_t begin, int64_t n, const void* x, float* y) {
  if (dtype == ESP_F32) {
    if (n > 0) memcpy(y, static_cast<const float*>(x) + begin, static_cast<size_t>(n) * sizeof *y);
    return;
  }
  for (int64_t i = 0; i < n; i++) y[i] = widen_one(dtype, begin + i, x);
}

void narrow_any_reference(int32_t dtype, int64_t begin, int64_t n, const float* x, void* y) {
  switch (dtype) {
    case ESP_F8_E4M3:
      for (int64_t i = 0; i < n; i++)
        static_cast<uint8_t*>(y)[begin + i] = static_cast<uint8_t>(narrow_e4m3(x[i]));
      return;
    case ESP_F8_E5M2:
      for (int64_t i = 0; i < n; i++)
        static_cast<uint8_t*>(y)[begin + i] = static_cast<uint8_t>(narrow_ieee(f8_e5m2, x[i]));
      return;
    case ESP_F32:
      if (n > 0) memcpy(static_cast<float*>(y) + begin, x, static_cast<size_t>(n) * sizeof *x);
      return;
    case ESP_F64:
      for (int64_t i = 0; i < n; i++) static_cast<double*>(y)[begin + i] = x[i];
      return;
    default:
      return;  // the entry point has refused it
  }
}

void widen_bf16_reference(int64_t n, const uint16_t* x, float* y) {
  for (int64_t i = 0; i < n; i++) y[i] = ieee(bf16, x[i]);
}

void widen_f16_reference(int64_t n, const uint16_t* x, float* y) {
  for (int64_t i = 0; i < n; i++) y[i] = ieee(f16, x[i]);
}

void narrow_bf16_reference(int64_t n, const float* x, uint16_t* y) {
  for (int64_t i = 0; i < n; i++) y[i] = static_cast<uint16_t>(narrow_ieee(bf16, x[i]));
}

void narrow_f16_reference(int64_t n, const float* x, uint16_t* y) {
  for (int64_t i = 0; i < n; i++) y[i] = static_cast<uint16_t>(narrow_ieee(f16, x[i]));
}

int64_t nonfinite_f32_reference(int64_t n, const float* x) {
  for (int64_t i = 0; i < n; i++) {
    if (!isfinite(x[i])) return i;
  }
  return -1;
}

int64_t nonfinite_16_reference(int64_t n, const uint16_t* x, uint16_t exponent) {
  for (int64_t i = 0; i < n; i++) {
    if ((x[i] & exponent) == exponent) return i;
  }
  return -1;
}

int64_t nonfinite_any_reference(int32_t dtype, int64_t begin, int64_t n, const void* x) {
  for (int64_t i = 0; i < n; i++) {
    // fp64 has its own test: a large finite value would widen to infinity.
    const bool good = dtype == ESP_F64 ? isfinite(static_cast<const double*>(x)[begin + i])
                                       : isfinite(widen_one(dtype, begin + i, x));
    if (!good) return i;
  }
  return -1;
}

}  // namespace esp
