// SPDX-License-Identifier: Apache-2.0
//
// A row of activations in block fixed point: what the integer products of packed weights read.
//
// A chunk (at most packed_chunk columns, none crossing a group) has one quantum; its elements are
// integers X with x = X * quantum + e, cut into balanced digits of 8 or 16 bits, so that bytes and
// words of codes can be multiplied exactly:
//   fine     quantum = 2^(E - 30), 2^E the least power of two above max|x|: |e| <= quantum / 2 <=
//            2^-30 max|x|, and e = 0 for every |x| >= max|x| / 64 (24 bits fit). 32 bits of digits.
//   coarse   quantum = max|x| / 32512: |e| <= quantum / 2 < 2^-15.98 max|x|. 16 bits of digits. A
//            chunk of 128 errs in norm by less than sqrt(128) 2^-16.98 / sqrt(3) max|x|, a ninth of
//            bf16's 2^-9 |x| / sqrt(3) at its best, when one element is all there is.
// Below max|x| = 2^-97 fine has quantum 2^-126 and coarse takes zeros. A NaN or an infinity in a
// chunk makes its quantum NaN, and with it every product.
//
//   step of 4-bit codes    128 columns: [digit][column % 2][64] bytes      even columns are the low
//   step of 8-bit codes     64 columns: [digit][column % 2][32] words      halves of bytes and
//   words step of other codes     32 columns: [digit][32] words
//
// A chunk takes the steps it touches, with zeros for columns outside it: a kernel multiplies whole
// vectors of codes and never masks. A step is digits * planes lines of 64 bytes.
#ifndef ESPALIER_LAYOUT_FIXED_POINT_H
#define ESPALIER_LAYOUT_FIXED_POINT_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "quantization_operations.h"

namespace esp {

static constexpr int64_t fixed_line = 64;
static constexpr float fixed_coarse_most =
    32512.0f;  // 127 * 256: the upper digit stays in [-127, 127]
static constexpr uint32_t fixed_infinity = 0x7f800000u;
static constexpr uint32_t fixed_least_exponent = 30;  // of 2^-97: quantum 2^-126 is still normal

struct fixed_layout {
  int32_t digit_bytes;  // 1 or 2
  int32_t digits;
  int32_t planes;  // 2: even and odd columns apart
  constexpr int64_t columns() const { return fixed_line / digit_bytes * planes; }  // of a step
  constexpr int64_t step_bytes() const { return fixed_line * digits * planes; }
};

// Four-bit codes are multiplied as bytes, wider ones would overflow 16-bit pair sums: words.
static constexpr fixed_layout fixed_layout_of(int32_t bits, bool fine) {
  return bits == 4   ? fixed_layout{1, fine ? 4 : 2, 2}
         : bits == 8 ? fixed_layout{2, fine ? 2 : 1, 2}
                     : fixed_layout{2, fine ? 2 : 1, 1};
}

// Steps of a chunk [start, end).
static constexpr int64_t fixed_steps(const fixed_layout& f, int64_t start, int64_t end) {
  return (end + f.columns() - 1) / f.columns() - start / f.columns();
}
// Steps of a whole row.
static constexpr int64_t fixed_row_steps(const fixed_layout& f, int64_t k, int64_t group) {
  if (group % packed_chunk == 0 && packed_chunk % f.columns() == 0) return k / f.columns();
  int64_t steps = 0;
  for (int64_t end = group; end <= k; end += group) {
    for (int64_t start = end - group; start < end; start += packed_chunk)
      steps += fixed_steps(f, start, start + packed_chunk < end ? start + packed_chunk : end);
  }
  return steps;
}

// The factor that takes x to X, and the quantum, from the largest magnitude of a chunk as bits (NaN
// above infinity above all numbers).
static inline void fixed_scale(uint32_t largest, bool fine, float* factor, float* quantum) {
  uint32_t factor_bits = 0, quantum_bits = 0;
  const uint32_t exponent = largest >> 23;
  *factor = 0.0f;
  if (largest >= fixed_infinity) {
    quantum_bits = 0x7fc00000u;  // NaN
    memcpy(quantum, &quantum_bits, sizeof *quantum);
  } else if (fine) {
    const uint32_t e = exponent < fixed_least_exponent ? fixed_least_exponent : exponent;
    factor_bits = (283 - e) << 23;  // 2^(30 - (e - 126)), biased by 127
    quantum_bits = (e - 29) << 23;
    memcpy(factor, &factor_bits, sizeof *factor);
    memcpy(quantum, &quantum_bits, sizeof *quantum);
  } else {
    float most = 0.0f;
    memcpy(&most, &largest, sizeof most);
    const bool zero = exponent < fixed_least_exponent;
    *factor = zero ? 0.0f : fixed_coarse_most / most;
    *quantum = zero ? 0.0f : most / fixed_coarse_most;
  }
}

// Puts X of column c into its step at `step`, lowest digit first.
static inline void fixed_store(const fixed_layout& f, int32_t value, int64_t c, int8_t* step) {
  const int32_t shift = 8 * f.digit_bytes;
  const int64_t lane = c % f.columns() / f.planes;
  const int64_t line = c % f.planes;
  for (int32_t d = 0; d < f.digits; d++) {
    int8_t* const at = step + (d * f.planes + line) * fixed_line + lane * f.digit_bytes;
    const int32_t half = 1 << (shift - 1);
    const int32_t digit = ((value + half) & ((1 << shift) - 1)) - half;
    if (f.digit_bytes == 1) {
      *at = static_cast<int8_t>(digit);
    } else {
      const int16_t word = static_cast<int16_t>(digit);
      memcpy(at, &word, sizeof word);
    }
    value = (value - digit) >> shift;
  }
}

// The chunk [start, stop) of a row x: writes its steps and its quantum, returns the sum of X.
static inline int64_t fixed_chunk(const fixed_layout& f, bool fine, const float* x, int64_t start,
                                  int64_t stop, int8_t* steps, float* quantum) {
  uint32_t largest = 0;
  for (int64_t c = start; c < stop; c++) {
    uint32_t magnitude = 0;
    memcpy(&magnitude, x + c, sizeof magnitude);
    magnitude &= 0x7fffffffu;
    if (magnitude > largest) largest = magnitude;
  }
  float factor = 0.0f;
  fixed_scale(largest, fine, &factor, quantum);
  memset(steps, 0, static_cast<size_t>(fixed_steps(f, start, stop) * f.step_bytes()));
  int64_t sum = 0;
  for (int64_t c = start; factor != 0.0f && c < stop; c++) {
    const int32_t value = static_cast<int32_t>(nearbyintf(x[c] * factor));
    fixed_store(f, value, c, steps + (c / f.columns() - start / f.columns()) * f.step_bytes());
    sum += value;
  }
  return sum;
}

}  // namespace esp

#endif  // ESPALIER_LAYOUT_FIXED_POINT_H
