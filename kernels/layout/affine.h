// SPDX-License-Identifier: Apache-2.0
//
// The affine quantizer in scalar fp32: the one definition of scale, zero and rounding that
// references, vector variants and the GPTQ solver share (espalier.h, "quantization").
//
// Functions are static so that every instruction-set file keeps its own copy.
#ifndef ESPALIER_LAYOUT_AFFINE_H
#define ESPALIER_LAYOUT_AFFINE_H

#include <stdint.h>
#include <string.h>

#include "espalier.h"
#include "layout/host_device.h"

namespace esp {

ESP_HOST_DEVICE static constexpr float code_low(int32_t bits) {
  return -static_cast<float>(1 << (bits - 1));
}
ESP_HOST_DEVICE static constexpr float code_high(int32_t bits) {
  return static_cast<float>((1 << (bits - 1)) - 1);
}

// Half to even for |x| < 2^22: adding 1.5 * 2^23 leaves no bit below the units.
ESP_HOST_DEVICE static float round_half_even(float x) {
  const float shifter = 12582912.0f;  // 1.5 * 2^23
  return (x + shifter) - shifter;
}

// NaN becomes low, as the vector instructions max and min do it.
ESP_HOST_DEVICE static float clamp(float x, float low, float high) {
  const float raised = x > low ? x : low;
  return raised < high ? raised : high;
}

// The shifter of snap_to_tie: with codes |x| <= 2^(bits-1) the sum stays in [2^bits, 2^(bits+1)),
// whose last bit is 2^(bits-23). Half of that just covers the error of an fp32 quotient of that
// size (its own rounding and the scale's, 2^-24 of 2^(bits-1) each), and next to nothing else.
ESP_HOST_DEVICE static constexpr float tie_shifter(int32_t bits) {
  return 1.5f * static_cast<float>(1 << bits);
}

// x to the nearest multiple of 2^(bits-23): a quotient that fp32 put a hair beside k + 1/2 becomes
// the tie it is. The extreme weight of a symmetric group always is one (scale = 2 max|w| / (2^b -
// 1)), and without this the last bit of the scale would decide its code.
ESP_HOST_DEVICE static float snap_to_tie(float x, float shifter) {
  return (x + shifter) - shifter;
}

ESP_HOST_DEVICE static float quantize_code(float w, float scale, float zero, float low, float high,
                                           float shifter = 0.0f) {
  return round_half_even(snap_to_tie(clamp(w / scale + zero, low, high), shifter));
}

// The code of the exact quotient: half to even where w / scale + zero is a tie, and nowhere else.
// With a zero point no weight of a group need be a tie, so there is none to tell from its
// neighbours: fp64 (error below 2^-44 of the code) leaves true ties true and the others alone.
ESP_HOST_DEVICE static float exact_code(float w, float scale, float zero, float low, float high) {
  const double shifter = 6755399441055744.0;  // 1.5 * 2^52
  const double x = static_cast<double>(w) / static_cast<double>(scale) + static_cast<double>(zero);
  const double raised = x > static_cast<double>(low) ? x : static_cast<double>(low);
  const double clamped = raised < static_cast<double>(high) ? raised : static_cast<double>(high);
  return static_cast<float>((clamped + shifter) - shifter);
}

ESP_HOST_DEVICE static uint32_t bits_of(float x) {
  uint32_t u;
  memcpy(&u, &x, sizeof u);
  return u;
}
ESP_HOST_DEVICE static float float_of(uint32_t u) {
  float x;
  memcpy(&x, &u, sizeof x);
  return x;
}

ESP_HOST_DEVICE static constexpr bool is_scale_dtype(esp_dtype dtype) {
  return dtype == ESP_F32 || dtype == ESP_F16 || dtype == ESP_BF16 || dtype == ESP_BF16_AND_F16;
}

// x >= 0, finite or infinite, rounded to nearest even in dtype and widened again. BF16_AND_F16: to
// BF16, then to F16; what is left are BF16 values still, since F16 only drops bits below 2^-24.
ESP_HOST_DEVICE static float round_scale(float x, esp_dtype dtype) {
  if ((dtype == ESP_BF16 || dtype == ESP_BF16_AND_F16) && x <= 3.4028235e38f) {
    const uint32_t u = bits_of(x);  // NaN and infinity stay
    x = float_of((u + 0x7fffu + ((u >> 16) & 1u)) & 0xffff0000u);
  }
  if ((dtype == ESP_F16 || dtype == ESP_BF16_AND_F16) && x <= 3.4028235e38f) {
    if (x >= 65520.0f) return float_of(0x7f800000u);  // half of the step above 65504
    if (x < 6.103515625e-5f) {                        // 2^-14: subnormals, steps of 2^-24
      return round_half_even(x * 16777216.0f) * 5.9604644775390625e-8f;
    }
    const uint32_t u = bits_of(x);  // 13 mantissa bits fewer
    return float_of((u + 0xfffu + ((u >> 13) & 1u)) & 0xffffe000u);
  }
  return x;
}

// Scale and zero of values in [low, high], low <= 0 <= high. exact: an asymmetric scale is the fp32
// value next to the true one and its zero the code of the true quotient; otherwise both come out of
// fp32 operations, as in compressed-tensors. A group of zeros alone has zero 0, as
// compressed-tensors writes it, and not the -2^(b-1) of a group that only touches 0 from above.
ESP_HOST_DEVICE static void affine_of_range(float low, float high, int32_t bits, int32_t symmetric,
                                            esp_dtype dtype, bool exact, float* scale,
                                            float* zero) {
  const float steps = static_cast<float>((1 << bits) - 1);
  const float magnitude = -low > high ? -low : high;
  const double width = static_cast<double>(high) - static_cast<double>(low);
  float s = symmetric ? 2.0f * magnitude / steps
            : exact   ? static_cast<float>(width / static_cast<double>(steps))
                      : (high - low) / steps;
  s = round_scale(s, dtype);
  if (s == 0.0f) s = 1.1920928955078125e-7f;  // 2^-23
  *scale = s;
  *zero = 0.0f;
  if (symmetric || low == high) return;
  const float bottom = code_low(bits);
  if (exact) {
    *zero = exact_code(-low, s, bottom, bottom, code_high(bits));
    return;
  }
  *zero = round_half_even(
      snap_to_tie(clamp(bottom - low / s, bottom, code_high(bits)), tie_shifter(bits)));
}

}  // namespace esp

#endif  // ESPALIER_LAYOUT_AFFINE_H
