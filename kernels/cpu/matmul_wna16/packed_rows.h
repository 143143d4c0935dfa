// SPDX-License-Identifier: Apache-2.0
//
// What      The loops over packed rows that w4a16, w8a16, wna16 and dequantize share, written once
//           over a Decoder; internal to each instruction-set file that includes it.
// Layout    layout/bit_stream.h; a vector of `lanes` codes starts at byte v * vector_bytes of a
// row. Tile      R rows of W against M rows of x: every decoded vector serves M products, every
// vector of
//           x serves R.
// Numerics  chunk sums of at most 128 columns in `lanes` fp32 partial sums, then scaled and summed:
//           error <= (128 / lanes + log2 lanes + chunks + 4) eps (sum |W||x| + folded), where
//           folded = scale |base + zero| sum |x| for what is taken out through the chunk sums.
// Tail      full vectors stop where a read would pass the row's last word; the rest is decoded from
// a
//           zero-filled copy, and x is loaded under a mask.
//
// A Decoder offers: vec, lanes, zero, set1, load, load_masked(p, lo, hi) (lanes [lo, hi), others
// 0), store, store_masked, sub, mul, fma, sum; bits; vector_bytes; read_bytes (what decode reads);
// base and decode(bytes) = q + base as floats.
#ifndef ESPALIER_PACKED_ROWS_H
#define ESPALIER_PACKED_ROWS_H

#include <stdint.h>
#include <string.h>

#include "layout/bit_stream.h"
#include "operations.h"

namespace esp {
namespace {

struct packed_product {
  int64_t k;
  const float* x;  // [m, k] ldx
  int64_t ldx;
  const float* sums;  // [m, chunks]
  int64_t chunks;
  const uint32_t* codes;  // [n, ldcodes]
  int64_t ldcodes;
  const float* scales;  // [n, k / group]
  const int8_t* zeros;  // [n, k / group] or null
  int64_t group;
  const float* bias;  // [n] or null
  float* y;           // [m, n] ldy
  int64_t ldy;
};

inline int64_t least(int64_t a, int64_t b) {
  return a < b ? a : b;
}
inline int64_t most(int64_t a, int64_t b) {
  return a > b ? a : b;
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

// Adds vector v, of which only the columns [start, end) count, to sum.
template <class D, int R, int M>
void add_part(const D& d, int64_t k, const uint8_t* const* codes, const float* const* x, int64_t v,
              int64_t start, int64_t end, typename D::vec (*sum)[M]) {
  constexpr int64_t L = D::lanes;
  const int64_t lo = most(start - v * L, 0), hi = least(end - v * L, L);
  for (int r = 0; r < R; r++) {
    const typename D::vec weights = decode_copy(d, codes[r], k, v);
    for (int i = 0; i < M; i++)
      sum[r][i] = D::fma(weights, D::load_masked(x[i] + v * L, lo, hi), sum[r][i]);
  }
}

// y of rows [row, row + R) of W and [first, first + M) of x.
template <class D, int R, int M>
void multiply_rows(const D& d, const packed_product& p, int64_t row, int64_t first) {
  using vec = typename D::vec;
  constexpr int64_t L = D::lanes;
  const int64_t groups = p.k / p.group;
  const int64_t direct = direct_vectors(d, p.k);
  const uint8_t* codes[R];
  const float* x[M];
  vec total[R][M];
  float folded[R][M];
  for (int r = 0; r < R; r++) {
    codes[r] = reinterpret_cast<const uint8_t*>(p.codes + (row + r) * p.ldcodes);
    for (int i = 0; i < M; i++) {
      total[r][i] = D::zero();
      folded[r][i] = 0.0f;
    }
  }
  for (int i = 0; i < M; i++) x[i] = p.x + (first + i) * p.ldx;

  int64_t chunk = 0;
  for (int64_t g = 0; g < groups; g++) {
    const int64_t group_end = (g + 1) * p.group;
    for (int64_t start = g * p.group; start < group_end; start += packed_chunk, chunk++) {
      const int64_t end = least(group_end, start + packed_chunk);
      vec sum[R][M];
      for (int r = 0; r < R; r++) {
        for (int i = 0; i < M; i++) sum[r][i] = D::zero();
      }
      const int64_t whole = (start + L - 1) / L;
      const int64_t stop = most(whole, least(direct, end / L));
      for (int64_t v = whole; v < stop; v++) {
        vec part[M];
        for (int i = 0; i < M; i++) part[i] = D::load(x[i] + v * L);
        for (int r = 0; r < R; r++) {
          const vec weights = d.decode(codes[r] + v * d.vector_bytes);
          for (int i = 0; i < M; i++) sum[r][i] = D::fma(weights, part[i], sum[r][i]);
        }
      }
      if (start % L != 0 || stop * L < end) {
        // In memory of its own: an array whose address is taken would not stay in registers.
        vec rest[R][M];
        for (int r = 0; r < R; r++) {
          for (int i = 0; i < M; i++) rest[r][i] = D::zero();
        }
        if (start % L != 0) add_part<D, R, M>(d, p.k, codes, x, start / L, start, end, rest);
        for (int64_t v = stop; v * L < end; v++)
          add_part<D, R, M>(d, p.k, codes, x, v, start, end, rest);
        for (int r = 0; r < R; r++) {
          for (int i = 0; i < M; i++) sum[r][i] = D::add(sum[r][i], rest[r][i]);
        }
      }

      for (int r = 0; r < R; r++) {
        const int64_t at = (row + r) * groups + g;
        const float scale = p.scales[at];
        const float base = D::base + (p.zeros == nullptr ? 0.0f : static_cast<float>(p.zeros[at]));
        for (int i = 0; i < M; i++) {
          total[r][i] = D::fma(D::set1(scale), sum[r][i], total[r][i]);
          folded[r][i] += scale * base * p.sums[(first + i) * p.chunks + chunk];
        }
      }
    }
  }
  for (int r = 0; r < R; r++) {
    const float bias = p.bias == nullptr ? 0.0f : p.bias[row + r];
    for (int i = 0; i < M; i++)
      p.y[(first + i) * p.ldy + row + r] = (D::sum(total[r][i]) - folded[r][i]) + bias;
  }
}

template <class D, int R, int M>
void multiply_all_rows(const D& d, const packed_product& p, int64_t n, int64_t first) {
  int64_t row = 0;
  for (; row + R <= n; row += R) multiply_rows<D, R, M>(d, p, row, first);
  for (; row < n; row++) multiply_rows<D, 1, M>(d, p, row, first);
}

// R * M sums stay in registers: 4, 4, 8 and 8 of 16.
template <class D>
void multiply_packed(const D& d, const packed_product& p, int64_t m, int64_t n) {
  int64_t first = 0;
  for (; first + 8 <= m; first += 8) multiply_all_rows<D, 1, 8>(d, p, n, first);
  for (; first + 4 <= m; first += 4) multiply_all_rows<D, 2, 4>(d, p, n, first);
  for (; first + 2 <= m; first += 2) multiply_all_rows<D, 2, 2>(d, p, n, first);
  for (; first < m; first++) multiply_all_rows<D, 4, 1>(d, p, n, first);
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

#endif  // ESPALIER_PACKED_ROWS_H
