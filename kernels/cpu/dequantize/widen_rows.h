// SPDX-License-Identifier: Apache-2.0
//
// What      w = scale * (q - zero), written once over a Decoder; internal to each instruction-set
//           file that includes it.
// Layout    layout/bit_stream.h; a vector of `lanes` codes starts at byte v * vector_bytes of a
// row. Tile      one row after the other. Numerics  q - zero is exact, the product is rounded once:
// the bits of the reference. Tail      full vectors stop where a read would pass the row's last
// word; the rest is decoded from
//           a zero-filled copy, and w is stored under a mask.
//
// A Decoder offers: vec, lanes, zero, load, store, store_masked, sub, mul; bits; vector_bytes;
// read_bytes (what decode reads); base and decode(bytes) = q + base as floats.
#ifndef ESPALIER_WIDEN_ROWS_H
#define ESPALIER_WIDEN_ROWS_H

#include <stdint.h>
#include <string.h>

#include "layout/bit_stream.h"
#include "operations.h"

namespace esp {
namespace {

inline int64_t least(int64_t a, int64_t b) {
  return a < b ? a : b;
}
// How many whole vectors from the row's start can be decoded in place.
template <class D>
int64_t direct_vectors(const D& d, int64_t k) {
  const int64_t row_bytes = 4 * stream_words(k, d.bits);
  const int64_t room = row_bytes - D::read_bytes;
  return least(k / D::lanes, room < 0 ? 0 : room / d.vector_bytes + 1);
}

// Vector v of a row, of which only the bytes inside the row are read.
template <class D>
typename D::vec decode_copy(const D& d, const uint8_t* row, int64_t k, int64_t v) {
  uint8_t copy[64] = {};
  const int64_t row_bytes = 4 * stream_words(k, d.bits);
  const int64_t at = v * d.vector_bytes;
  const int64_t bytes = least(d.vector_bytes, row_bytes - at);
  for (int64_t i = 0; i < bytes; i++) copy[i] = row[at + i];
  return d.decode(copy);
}

// w[n, k] (ldw) = scale * (q - zero), rounded once.
template <class D>
void widen_rows(const D& d, int64_t n, int64_t k,
                const uint32_t* codes,  // [n, ldcodes]
                int64_t ldcodes,
                const float* scales,  // [n, k / group]
                const int8_t* zeros,  // [n, k / group] or null
                int64_t group, const int32_t* group_index,
                float* w,  // [n, k] ldw
                int64_t ldw) {
  using vec = typename D::vec;
  constexpr int64_t L = D::lanes;
  const int64_t groups = k / group;
  const int64_t direct = direct_vectors(d, k);
  for (int64_t r = 0; r < n; r++) {
    const uint8_t* row = reinterpret_cast<const uint8_t*>(codes + r * ldcodes);
    const float* scale = scales + r * groups;
    const int8_t* zero = zeros == nullptr ? nullptr : zeros + r * groups;
    float* out = w + r * ldw;
    int64_t uniform_end = 0;  // columns before this one share s and z
    vec s = D::zero(), z = D::zero();
    for (int64_t v = 0; v * L < k; v++) {
      const int64_t start = v * L, end = least(k, start + L);
      if (group_index != nullptr || end > uniform_end) {
        float lane_scale[L] = {}, lane_zero[L] = {};
        for (int64_t c = start; c < end; c++) {
          const int64_t g = group_index != nullptr ? group_index[c] : c / group;
          lane_scale[c - start] = scale[g];
          lane_zero[c - start] = D::base + (zero == nullptr ? 0.0f : static_cast<float>(zero[g]));
        }
        s = D::load(lane_scale);
        z = D::load(lane_zero);
        const int64_t group_end = (start / group + 1) * group;
        uniform_end = end <= group_end ? group_end : 0;
      }
      const vec q = v < direct ? d.decode(row + v * d.vector_bytes) : decode_copy(d, row, k, v);
      const vec value = D::mul(D::sub(q, z), s);
      if (end - start == L) {
        D::store(out + start, value);
      } else {
        D::store_masked(out + start, end - start, value);
      }
    }
  }
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_WIDEN_ROWS_H
