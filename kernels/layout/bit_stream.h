// SPDX-License-Identifier: Apache-2.0
//
// Where a code lies in a row of packed weights: a dense little-endian bit stream.
//
//   bits = 3:  word 0  |22 211 000|...   code c = bits [c*bits, c*bits + bits), stored as
//              c*bits / 32 = word,       q + 2^(bits-1); a code may straddle two words
//
// Eight codes fill exactly `bits` bytes, whatever the width: that is the unit of the vector
// variants. Functions are static so that every instruction-set file keeps its own copy.
#ifndef ESPALIER_LAYOUT_BIT_STREAM_H
#define ESPALIER_LAYOUT_BIT_STREAM_H

#include <stdint.h>

#include "layout/host_device.h"

namespace esp {

// Words of a row of `cols` codes.
ESP_HOST_DEVICE static constexpr int64_t stream_words(int64_t cols, int32_t bits) {
  return (cols * bits + 31) / 32;
}
// What is added to a signed code before it is stored.
ESP_HOST_DEVICE static constexpr int32_t stream_offset(int32_t bits) {
  return 1 << (bits - 1);
}
ESP_HOST_DEVICE static constexpr uint32_t stream_mask(int32_t bits) {
  return (1u << bits) - 1;
}

// The signed code at column c of a row. Reads only words that hold a part of it.
ESP_HOST_DEVICE static constexpr int32_t stream_read(const uint32_t* row, int64_t c, int32_t bits) {
  const int64_t at = c * bits;
  const int32_t shift = static_cast<int32_t>(at % 32);
  uint32_t stored = row[at / 32] >> shift;
  if (shift + bits > 32) stored |= row[at / 32 + 1] << (32 - shift);
  return static_cast<int32_t>(stored & stream_mask(bits)) - stream_offset(bits);
}

// Ors the signed code q into column c of a row whose bits there are 0.
ESP_HOST_DEVICE static constexpr void stream_write(uint32_t* row, int64_t c, int32_t bits,
                                                   int32_t q) {
  const uint32_t stored = static_cast<uint32_t>(q + stream_offset(bits)) & stream_mask(bits);
  const int64_t at = c * bits;
  const int32_t shift = static_cast<int32_t>(at % 32);
  row[at / 32] |= stored << shift;
  if (shift + bits > 32) row[at / 32 + 1] |= stored >> (32 - shift);
}

}  // namespace esp

#endif  // ESPALIER_LAYOUT_BIT_STREAM_H
