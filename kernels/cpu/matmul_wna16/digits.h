// SPDX-License-Identifier: Apache-2.0
//
// What      The loops of w4a16, w8a16 and wna16 over packed rows, written once over a Coder: codes
//           times the digits of x in exact integer sums, then scaled in fp32. Internal to each
//           instruction-set file that includes it.
// Layout    codes layout/bit_stream.h; x layout/fixed_point.h. A vector of codes is half a step of
//           x (AVX2) or a whole one (AVX-512).
// Tile      R rows of W, far apart, by M rows of x (two of each are the most that stays in
// registers). R rows are R streams from memory: a prefetcher
//           follows one stream a page, and two keep more lines in flight than one. Every decoded
//           vector serves M products.
// Numerics  with u = q + 2^(bits-1) the sum of u X over a chunk is exact in `lanes` int32; each is
//           rounded to fp32 (twice when fine), scaled and summed over the chunks:
//           error <= (chunks + log2 lanes + 6) eps sum |scale| u |x| + the fold's
//           (groups + 6) eps sum |scale (2^(bits-1) + zero)| |x| + sum |W| quantum / 2.
//           Bounds of the integers: Coder.
// Tail      x is zero outside a chunk, so codes beside it do not count; full vectors stop where a
//           read would pass the row's last word, the rest is decoded from a zero-filled copy.
//
// A Coder offers: vec (fp32), lanes, zero, broadcast, mul, fma, sum, partial_sum (of a fold);
// sums (integers), no_sums; bits, codes (vectors of one decode) = planes of the step; columns and
// bytes of one decode, read_bytes (what it reads), halves (decodes in a step); decode(bytes, out);
// add(sums, codes, x); total<digits>(sums[digits]) as fp32.
#ifndef ESPALIER_DIGITS_H
#define ESPALIER_DIGITS_H

#include <stdint.h>
#include <string.h>

#include "layout/bit_stream.h"
#include "layout/fixed_point.h"
#include "operations.h"

namespace esp {
namespace {

constexpr int64_t prefetch_bytes = 2048;  // ahead in every row's stream: 100 ns at 20 GB/s

inline int64_t least(int64_t a, int64_t b) {
  return a < b ? a : b;
}

// Decodes vector v of a row of which only the bytes inside the row are read.
template <class C>
void decode_copy(const C& c, const uint8_t* row, int64_t row_bytes, int64_t v,
                 typename C::words* out) {
  uint8_t copy[64] = {};
  const int64_t at = v * c.bytes;
  const int64_t bytes = least(c.bytes, row_bytes - at);
  for (int64_t i = 0; i < bytes; i++) copy[i] = row[at + i];
  c.decode(copy, out);
}

// Adds one decoded vector times half `half` of a step of M rows of x.
template <class C, int D, int M>
inline __attribute__((always_inline)) void add_vector(const typename C::words* q,
                                                      const int8_t* const* x, int64_t offset,
                                                      typename C::sums (*sum)[D]) {
#pragma GCC unroll 8
  for (int i = 0; i < M; i++) {
#pragma GCC unroll 4
    for (int d = 0; d < D; d++) {
#pragma GCC unroll 2
      for (int p = 0; p < C::planes; p++)
        sum[i][d] = C::add(sum[i][d], q[p], x[i] + offset + (d * C::planes + p) * fixed_line);
    }
  }
}

// Vectors of codes and steps of x that a chunk of `columns` columns, aligned to them, touches.
template <class C, int64_t columns>
constexpr int64_t vectors_of_chunk = columns < C::columns ? 1 : columns / C::columns;
template <class C, int64_t columns>
constexpr int64_t steps_of_chunk = columns < C::columns* C::halves
                                       ? 1
                                       : columns / (C::columns * C::halves);

// A row of W over a chunk of a known number of columns; `codes` is its first vector, `x` offset to
// its first step, `half` which half of a step the vector is when the chunk is less than a step.
template <class C, int D, int M, int64_t columns>
inline __attribute__((always_inline)) void sum_whole_chunk(const C& c, const uint8_t* codes,
                                                           const int8_t* const* x, int64_t step,
                                                           int64_t half, typename C::vec* total) {
  constexpr int64_t H = C::halves;
  constexpr int64_t step_bytes = fixed_line * D * C::planes;
  constexpr int64_t half_line = fixed_line / H;
  typename C::sums sum[M][D];
#pragma GCC unroll 8
  for (int i = 0; i < M; i++) {
#pragma GCC unroll 4
    for (int d = 0; d < D; d++) sum[i][d] = C::no_sums();
  }
#pragma GCC unroll 8
  for (int64_t v = 0; v < vectors_of_chunk<C, columns>; v++) {
    typename C::words q[C::planes];
    c.decode(codes + v * c.bytes, q);
    const int64_t at = vectors_of_chunk<C, columns> == 1 ? half : v % H;
    add_vector<C, D, M>(q, x, step + v / H * step_bytes + at * half_line, sum);
  }
#pragma GCC unroll 8
  for (int i = 0; i < M; i++) total[i] = C::template total<D>(sum[i]);
}

// A row of W over any chunk [start, end). Of its vectors the first `direct` can be decoded in
// place.
template <class C, int D, int M>
__attribute__((noinline)) void sum_ragged_chunk(const C& c, const uint8_t* row, int64_t row_bytes,
                                                int64_t direct, int64_t start, int64_t end,
                                                const int8_t* const* x, int64_t step,
                                                typename C::vec* total) {
  constexpr int64_t H = C::halves;
  constexpr int64_t step_bytes = fixed_line * D * C::planes;
  const int64_t first_step = start / C::columns / H;
  typename C::sums sum[M][D];
  for (int i = 0; i < M; i++) {
    for (int d = 0; d < D; d++) sum[i][d] = C::no_sums();
  }
  for (int64_t v = start / C::columns; v * C::columns < end; v++) {
    typename C::words q[C::planes];
    if (v < direct) {
      c.decode(row + v * c.bytes, q);
    } else {
      decode_copy(c, row, row_bytes, v, q);
    }
    add_vector<C, D, M>(q, x, step + (v / H - first_step) * step_bytes + v % H * (fixed_line / H),
                        sum);
  }
  for (int i = 0; i < M; i++) total[i] = C::template total<D>(sum[i]);
}

// R rows of W and M rows of x, as multiply_rows goes along them.
template <class C, int R, int M>
struct strip {
  int64_t row_bytes;
  int64_t direct;  // so many vectors of a row can be decoded in place
  const uint8_t* codes[R];
  const float* scales[R];
  const int8_t* x[M];
  const float* quanta[M];
  typename C::vec total[R][M];
};

// Adds the chunks [0, end), all of `columns` columns and their vectors whole.
template <class C, int D, int R, int M, int64_t columns>
inline __attribute__((always_inline)) void add_whole_chunks(const C& c, int64_t end,
                                                            int64_t chunks_of_group,
                                                            strip<C, R, M>* s) {
  using vec = typename C::vec;
  constexpr int64_t step_bytes = fixed_line * D * C::planes;
  const int64_t chunk_bytes = columns * c.bits / 8;
  vec total[R][M];  // copies in registers
  for (int r = 0; r < R; r++) {
    for (int i = 0; i < M; i++) total[r][i] = s->total[r][i];
  }
  int64_t g = 0, left = chunks_of_group;
  for (int64_t chunk = 0; chunk < end; chunk++) {
    const int64_t v = chunk * columns / C::columns;
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) {
      const uint8_t* const ahead = s->codes[r] + chunk * chunk_bytes + prefetch_bytes;
      for (int64_t at = 0; at < chunk_bytes; at += 64) __builtin_prefetch(ahead + at);
      vec sums[M];
      sum_whole_chunk<C, D, M, columns>(c, s->codes[r] + v * c.bytes, s->x,
                                        chunk * steps_of_chunk<C, columns> * step_bytes,
                                        v % C::halves, sums);
      const vec scale = C::broadcast(s->scales[r] + g);
#pragma GCC unroll 8
      for (int i = 0; i < M; i++) {
        const vec factor = C::mul(scale, C::broadcast(s->quanta[i] + chunk));
        total[r][i] = C::fma(sums[i], factor, total[r][i]);
      }
    }
    if (--left == 0) {
      left = chunks_of_group;
      g++;
    }
  }
  for (int r = 0; r < R; r++) {
    for (int i = 0; i < M; i++) s->total[r][i] = total[r][i];
  }
}

// Adds the chunks from number `skip` on, whatever they are.
template <class C, int D, int R, int M>
__attribute__((noinline)) void add_ragged_chunks(const C& c, int64_t skip, int64_t k, int64_t group,
                                                 strip<C, R, M>* s) {
  using vec = typename C::vec;
  const fixed_layout f{C::digit_bytes, D, C::planes};
  int64_t step = 0, chunk = 0;
  for (int64_t g = 0; g < k / group; g++) {
    const int64_t group_end = (g + 1) * group;
    for (int64_t start = g * group; start < group_end; start += packed_chunk, chunk++) {
      const int64_t end = least(group_end, start + packed_chunk);
      for (int r = 0; chunk >= skip && r < R; r++) {
        vec sums[M];
        sum_ragged_chunk<C, D, M>(c, s->codes[r], s->row_bytes, s->direct, start, end, s->x, step,
                                  sums);
        const vec scale = C::broadcast(s->scales[r] + g);
        for (int i = 0; i < M; i++) {
          const vec factor = C::mul(scale, C::broadcast(s->quanta[i] + chunk));
          s->total[r][i] = C::fma(sums[i], factor, s->total[r][i]);
        }
      }
      step += fixed_steps(f, start, end) * f.step_bytes();
    }
  }
}

// y of the rows row, row + apart, ... (R of them) of W and [first, first + M) of x.
template <class C, int D, int R, int M>
void multiply_rows(const C& c, const packed_operands& o, int64_t row, int64_t apart,
                   int64_t first) {
  const int64_t groups = o.k / o.group, chunks = packed_chunks(o.k, o.group);
  strip<C, R, M> s;
  s.row_bytes = 4 * stream_words(o.k, c.bits);
  const int64_t room = s.row_bytes - C::read_bytes;
  s.direct = room < 0 ? 0 : least(room / c.bytes + 1, o.k / C::columns);
  for (int r = 0; r < R; r++) {
    s.codes[r] = reinterpret_cast<const uint8_t*>(o.codes + (row + r * apart) * o.ldcodes);
    s.scales[r] = o.scales + (row + r * apart) * groups;
    for (int i = 0; i < M; i++) s.total[r][i] = C::zero();
  }
  for (int i = 0; i < M; i++) {
    s.x[i] = o.digits + (first + i) * o.digit_bytes;
    s.quanta[i] = o.quanta + (first + i) * chunks;
  }
  int64_t whole = 0;
  if (o.group % packed_chunk == 0) {
    whole = s.direct * C::columns / packed_chunk;
    add_whole_chunks<C, D, R, M, packed_chunk>(c, whole, o.group / packed_chunk, &s);
  } else if (o.group == 64) {
    whole = s.direct * C::columns / 64;
    add_whole_chunks<C, D, R, M, 64>(c, whole, 1, &s);
  } else if (o.group == 32) {
    whole = s.direct * C::columns / 32;
    add_whole_chunks<C, D, R, M, 32>(c, whole, 1, &s);
  }
  if (whole < chunks) add_ragged_chunks<C, D, R, M>(c, whole, o.k, o.group, &s);

  const float base = static_cast<float>(stream_offset(c.bits));
  for (int r = 0; r < R; r++) {
    const int64_t at = row + r * apart;
    const int8_t* zeros = o.zeros == nullptr ? nullptr : o.zeros + at * groups;
    const float bias = o.bias == nullptr ? 0.0f : o.bias[at];
    for (int i = 0; i < M; i++) {
      const float folded = C::fold(s.scales[r], zeros, base, o.sums + (first + i) * groups, groups);
      o.y[(first + i) * o.ldy + at] = (C::sum(s.total[r][i]) - folded) + bias;
    }
  }
}

template <class C, int D, int R, int M>
void multiply_all_rows(const C& c, const packed_operands& o, int64_t first) {
  const int64_t apart = o.n / R;
  for (int64_t row = 0; row < apart; row++) multiply_rows<C, D, R, M>(c, o, row, apart, first);
  for (int64_t row = apart * R; row < o.n; row++) multiply_rows<C, D, 1, M>(c, o, row, 1, first);
}

template <class C, int D>
void multiply_digits(const C& c, const packed_operands& o) {
  int64_t first = 0;
  for (; first + 2 <= o.m; first += 2) multiply_all_rows<C, D, 2, 2>(c, o, first);
  for (; first < o.m; first++) multiply_all_rows<C, D, 2, 1>(c, o, first);
}

// fine and coarse differ in digits alone.
template <class C>
void multiply_packed(const C& c, const packed_operands& o) {
  if (o.fine != 0) {
    multiply_digits<C, C::fine_digits>(c, o);
  } else {
    multiply_digits<C, C::fine_digits / 2>(c, o);
  }
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_DIGITS_H
