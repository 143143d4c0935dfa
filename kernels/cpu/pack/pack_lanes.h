// SPDX-License-Identifier: Apache-2.0
//
// What      Packing and unpacking over a vector of 64-bit lanes; internal to each instruction-set
//           file that includes it.
// Layout    a lane holds eight codes, one a byte; in the stream they are `bits` bytes:
//             |h|g|f|e|d|c|b|a|  bytes      each step halves the gaps: bytes meet in 16-bit pairs,
//             |  hg|  fe|  dc|  ba|         pairs in 32-bit fours, fours in one run of 8 * bits.
//             |    hgfe|    dcba|
//             |        hgfedcba|
// Tile      one row.
// Numerics  exact.
// Tail      codes from and to a local buffer; bytes of the stream never past the row's last word.
//
// V offers: u64 (a vector of `lanes` 64-bit integers), load, store, set1, bit_and, bit_or, bit_xor,
// shift_left, shift_right (one count for all lanes), sub_bytes.
#ifndef ESPALIER_PACK_LANES_H
#define ESPALIER_PACK_LANES_H

#include <stdint.h>
#include <string.h>

#include "layout/bit_stream.h"

namespace esp {
namespace {

// `pattern` in every `width` bits.
inline uint64_t repeat(uint64_t pattern, int32_t width) {
  uint64_t all = 0;
  for (int32_t at = 0; at < 64; at += width) all |= pattern << at;
  return all;
}

template <class V>
void pack_lanes(int64_t cols, int32_t bits, const int8_t* codes, uint32_t* words) {
  using u64 = typename V::u64;
  constexpr int64_t step = 8 * V::lanes;
  if (cols == 0) return;
  const int64_t total = 4 * stream_words(cols, bits);
  words[stream_words(cols, bits) - 1] = 0;  // pad bytes, at most three
  uint8_t* const out = reinterpret_cast<uint8_t*>(words);
  // Adding 2^(bits-1) modulo 2^bits is flipping that bit.
  const u64 flip = V::set1(repeat(static_cast<uint64_t>(stream_offset(bits)), 8));
  const u64 code = V::set1(repeat(stream_mask(bits), 8));
  const u64 even_bytes = V::set1(repeat(0xff, 16)), odd_bytes = V::set1(repeat(0xff00, 16));
  const u64 even_pairs = V::set1(repeat(0xffff, 32)), odd_pairs = V::set1(repeat(0xffff0000, 32));
  const u64 even_fours = V::set1(0xffffffff), odd_fours = V::set1(0xffffffff00000000);
  for (int64_t c = 0; c < cols; c += step) {
    int8_t last[step];
    const int8_t* from = codes + c;
    if (c + step > cols) {
      memset(last, -stream_offset(bits), sizeof last);  // stored as 0
      for (int64_t i = 0; c + i < cols; i++) last[i] = from[i];
      from = last;
    }
    u64 v = V::bit_and(V::bit_xor(V::load(from), flip), code);
    v = V::bit_or(V::bit_and(v, even_bytes), V::shift_right(V::bit_and(v, odd_bytes), 8 - bits));
    v = V::bit_or(V::bit_and(v, even_pairs),
                  V::shift_right(V::bit_and(v, odd_pairs), 16 - 2 * bits));
    v = V::bit_or(V::bit_and(v, even_fours),
                  V::shift_right(V::bit_and(v, odd_fours), 32 - 4 * bits));
    uint64_t units[V::lanes];
    V::store(units, v);
    for (int64_t i = 0; i < V::lanes; i++) {
      const int64_t at = (c / 8 + i) * bits;
      if (at + 8 <= total) {
        memcpy(out + at, &units[i], 8);  // what passes the unit is 0 and overwritten by the next
      } else {
        for (int64_t b = 0; at + b < total; b++)
          out[at + b] = static_cast<uint8_t>(units[i] >> (8 * b));
      }
    }
  }
}

template <class V>
void unpack_lanes(int64_t cols, int32_t bits, const uint32_t* words, int8_t* codes) {
  using u64 = typename V::u64;
  constexpr int64_t step = 8 * V::lanes;
  const int64_t total = 4 * stream_words(cols, bits);
  const uint8_t* const in = reinterpret_cast<const uint8_t*>(words);
  const uint64_t one = stream_mask(bits), two = (1ull << (2 * bits)) - 1;
  const uint64_t four = (1ull << (4 * bits)) - 1;
  const u64 low_four = V::set1(four), high_four = V::set1(four << 32);
  const u64 low_two = V::set1(repeat(two, 32)), high_two = V::set1(repeat(two << 16, 32));
  const u64 low_one = V::set1(repeat(one, 16)), high_one = V::set1(repeat(one << 8, 16));
  const u64 offset = V::set1(repeat(static_cast<uint64_t>(stream_offset(bits)), 8));
  for (int64_t c = 0; c < cols; c += step) {
    uint64_t units[V::lanes] = {};
    for (int64_t i = 0; i < V::lanes; i++) {
      const int64_t at = (c / 8 + i) * bits;
      if (at + 8 <= total) {
        memcpy(&units[i], in + at, 8);
      } else {
        for (int64_t b = 0; at + b < total; b++)
          units[i] |= static_cast<uint64_t>(in[at + b]) << (8 * b);
      }
    }
    u64 v = V::load(units);
    v = V::bit_or(V::bit_and(v, low_four), V::bit_and(V::shift_left(v, 32 - 4 * bits), high_four));
    v = V::bit_or(V::bit_and(v, low_two), V::bit_and(V::shift_left(v, 16 - 2 * bits), high_two));
    v = V::bit_or(V::bit_and(v, low_one), V::bit_and(V::shift_left(v, 8 - bits), high_one));
    v = V::sub_bytes(v, offset);
    if (c + step <= cols) {
      V::store(codes + c, v);
    } else {
      int8_t last[step];
      V::store(last, v);
      for (int64_t i = 0; c + i < cols; i++) codes[c + i] = last[i];
    }
  }
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_PACK_LANES_H
