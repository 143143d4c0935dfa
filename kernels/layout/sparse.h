// SPDX-License-Identifier: Apache-2.0
//
// Where the kept weights of a row stand and how long their values are; the form is described in
// native/include/espalier.h.
//
//   bitmask   byte b of a row: columns 8b .. 8b + 7, lowest bit first
//   2:4       byte b of a row: columns 8b .. 8b + 7, two bits a kept weight:
//               bits 0-1, 2-3   first and second kept column of 8b .. 8b + 3, counted from 8b
//               bits 4-5, 6-7   the same of 8b + 4 .. 8b + 7
//             With cols % 8 == 4 the upper half of the last byte is 0.
#ifndef ESPALIER_LAYOUT_SPARSE_H
#define ESPALIER_LAYOUT_SPARSE_H

#include <stdint.h>

namespace esp {

static constexpr int64_t sparse_place_bytes(int64_t cols) {
  return (cols + 7) / 8;
}

// Bytes of `kept` values of one row that are `bits` wide each.
static constexpr int64_t sparse_value_bytes(int64_t kept, int32_t bits) {
  return (kept * bits + 7) / 8;
}

// The mask byte of a byte of 2:4 places; halves: 2, or 1 for the last four columns of a row.
static constexpr uint8_t sparse_mask_of_places(uint8_t places, int32_t halves) {
  uint32_t mask = 1u << (places & 3) | 1u << (places >> 2 & 3);
  if (halves == 2) mask |= 16u << (places >> 4 & 3) | 16u << (places >> 6 & 3);
  return static_cast<uint8_t>(mask);
}

// Whether the two places of every half ascend; the pad of a half byte is 0.
static constexpr bool sparse_places_ascend(uint8_t places, int32_t halves) {
  const bool low = (places & 3) < (places >> 2 & 3);
  const bool high = (places >> 4 & 3) < (places >> 6 & 3);
  return low && (halves == 2 ? high : places >> 4 == 0);
}

// The places of four columns of which `mask` (bits 0-3) are kept, at most two: filled up with the
// lowest free ones.
static constexpr uint8_t sparse_places_of_four(uint32_t mask) {
  uint32_t kept = 0;
  for (uint32_t c = 0; c < 4; c++) kept += mask >> c & 1u;
  for (uint32_t c = 0; c < 4 && kept < 2; c++) {
    if ((mask >> c & 1u) == 0) {
      mask |= 1u << c;
      kept++;
    }
  }
  uint32_t first = 0;
  while ((mask >> first & 1u) == 0) first++;
  uint32_t second = first + 1;
  while ((mask >> second & 1u) == 0) second++;
  return static_cast<uint8_t>(first | second << 2);
}

}  // namespace esp

#endif  // ESPALIER_LAYOUT_SPARSE_H
