// SPDX-License-Identifier: Apache-2.0
//
// What      Products of many rows of int8 activations with packed weights, written once over a Unit
//           (the multiply-add of one instruction set); internal to each file that includes it.
// Layout    Both sides are rearranged block by block into scratch. A block is `segment` columns:
//           whole groups, or a part of one. A panel holds `width` rows of W:
//
//             step 0: row 0 [depth columns] row 1 ... row width-1 | step 1: ...
//
//           a dword a row and step, so that a vector holds one step of eight (sixteen) rows and a
//           dword of x is broadcast against it. Groups are padded with zeros to whole steps.
// Tile      Unit::rows rows of x by `width` rows of W in registers over a segment of a group. The
//           panel (16 KiB) stays in L1, the block of x (at most 240 KiB) in L2.
// Numerics  int8_operations.h: exact int32 totals; sums of products of W that carries an offset
//           (Unit::base) are put right through the sums of x before the total is rounded.
// Tail      rows of W and x past the end are zeros in scratch; columns past the end too.
#ifndef ESPALIER_INT8_PANELS_H
#define ESPALIER_INT8_PANELS_H

#include <immintrin.h>
#include <string.h>

#include "layout/bit_stream.h"
#include "operations.h"

namespace esp {
namespace {

constexpr int64_t int8_segment = 512;     // columns of a block
constexpr int64_t int8_tile_width = 128;  // rows of W in one call at most
constexpr int64_t round_up(int64_t a, int64_t b) {
  return (a + b - 1) / b * b;
}

// Lane r of vector s becomes lane s of vector r: an 8 x 8 transpose of dwords.
inline void transpose_dwords(__m256i (&v)[8]) {
  __m256i a[8], b[8];
  for (int i = 0; i < 4; i++) {
    a[2 * i] = _mm256_unpacklo_epi32(v[2 * i], v[2 * i + 1]);
    a[2 * i + 1] = _mm256_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
  }
  for (int h = 0; h < 2; h++) {
    b[4 * h + 0] = _mm256_unpacklo_epi64(a[4 * h], a[4 * h + 2]);
    b[4 * h + 1] = _mm256_unpackhi_epi64(a[4 * h], a[4 * h + 2]);
    b[4 * h + 2] = _mm256_unpacklo_epi64(a[4 * h + 1], a[4 * h + 3]);
    b[4 * h + 3] = _mm256_unpackhi_epi64(a[4 * h + 1], a[4 * h + 3]);
  }
  for (int s = 0; s < 4; s++) {
    v[s] = _mm256_permute2x128_si256(b[s], b[4 + s], 0x20);
    v[4 + s] = _mm256_permute2x128_si256(b[s], b[4 + s], 0x31);
  }
}

template <class Unit>
struct int8_arena {
  static constexpr int64_t width = Unit::width;
  static constexpr int64_t panels = int8_tile_width / width;
  // Groups of a block at most: each takes a step or more.
  static constexpr int64_t block_groups = int8_segment / Unit::depth;

  alignas(64) typename Unit::activation x[int8_rows * int8_segment];
  alignas(64) typename Unit::weight panel[int8_segment * width];
  alignas(64) float scales[block_groups * width];
  alignas(64) int32_t zeros[block_groups * width];
  alignas(64) float sums[panels * int8_rows * width];
  alignas(64) int32_t open[panels * int8_rows * width];  // totals of a group that goes on
};

// Columns [first, first + groups * length) in `groups` runs of `length` columns.
struct int8_block {
  int64_t first, groups, length, steps;  // steps: of one run
  bool opens, closes;                    // whether it begins and ends its groups
};

template <class Unit>
int8_block block_at(const int8_product& p, int64_t first) {
  int8_block b;
  b.first = first;
  b.groups = 1;
  const int64_t in_group = first % p.group;
  b.length = p.group - in_group < int8_segment ? p.group - in_group : int8_segment;
  b.steps = round_up(b.length, Unit::depth) / Unit::depth;
  b.opens = in_group == 0;
  b.closes = in_group + b.length == p.group;
  if (b.opens && b.closes) {
    const int64_t fit = int8_arena<Unit>::block_groups / b.steps;
    const int64_t left = (p.k - first) / p.group;
    b.groups = fit < left ? fit : left;
  }
  return b;
}

template <class Unit>
void arrange_x(const int8_product& p, const int8_block& b,
               typename Unit::activation* __restrict to) {
  const int64_t padded = b.steps * Unit::depth;
  for (int64_t i = 0; i < round_up(p.m, Unit::rows); i++) {
    for (int64_t g = 0; g < b.groups; g++, to += padded) {
      const int64_t have = i < p.m ? b.length : 0;
      const int8_t* __restrict from = p.x + (have == 0 ? 0 : i * p.ldx + b.first + g * b.length);
      for (int64_t c = 0; c < have; c++) to[c] = from[c];
      for (int64_t c = have; c < padded; c++) to[c] = 0;
    }
  }
}

// The steps [step, step + 8) of one row: columns c on, `have` of them.
template <class Unit>
__m256i row_steps(const uint32_t* row, int64_t c, int64_t have) {
  if (have >= 8 * Unit::depth && c * Unit::bits % 8 == 0)
    return Unit::expand(reinterpret_cast<const uint8_t*>(row) + c * Unit::bits / 8);
  alignas(32) typename Unit::weight some[8 * Unit::depth] = {};
  for (int64_t j = 0; j < have && j < 8 * Unit::depth; j++)
    some[j] = static_cast<typename Unit::weight>(stream_read(row, c + j, Unit::bits) + Unit::base);
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(some));
}

template <class Unit>
void arrange_weights(const int8_product& p, const int8_block& b, int64_t row,
                     typename Unit::weight* to) {
  for (int64_t g = 0; g < b.groups; g++, to += b.steps * Unit::width * Unit::depth) {
    const int64_t first = b.first + g * b.length;
    for (int64_t step = 0; step < b.steps; step += 8) {
      const int64_t steps = b.steps - step < 8 ? b.steps - step : 8;
      for (int64_t octet = 0; octet < Unit::width; octet += 8) {
        __m256i v[8];
        for (int64_t r = 0; r < 8; r++) {
          const int64_t at = row + octet + r;
          v[r] = at < p.n ? row_steps<Unit>(p.codes + at * p.ldcodes, first + step * Unit::depth,
                                            b.length - step * Unit::depth)
                          : _mm256_setzero_si256();
        }
        transpose_dwords(v);
        for (int64_t s = 0; s < steps; s++) {
          _mm256_storeu_si256(
              reinterpret_cast<__m256i*>(to + ((step + s) * Unit::width + octet) * Unit::depth),
              v[s]);
        }
      }
    }
  }
}

// Scales and zeros of the panel's rows, a lane a row.
template <class Unit>
void arrange_scales(const int8_product& p, const int8_block& b, int64_t row, float* scales,
                    int32_t* zeros) {
  const int64_t groups = p.k / p.group;
  for (int64_t g = 0; g < b.groups; g++) {
    for (int64_t r = 0; r < Unit::width; r++) {
      const bool have = row + r < p.n;
      const int64_t at = (row + r) * groups + b.first / p.group + g;
      scales[g * Unit::width + r] = have ? p.scales[at] : 0.0f;
      zeros[g * Unit::width + r] = have && p.zeros != nullptr ? p.zeros[at] : 0;
    }
  }
}

// sums += scale * (totals - (base + zero) * sum of x), for the rows of one tile.
template <class Unit>
void close_groups(const int8_product& p, int64_t i0, int64_t group, const int32_t* totals,
                  const float* __restrict scales, const int32_t* __restrict zeros, float* sums) {
  const int64_t groups = p.k / p.group;
  for (int64_t i = 0; i < Unit::rows; i++) {
    const int32_t x_sum = i0 + i < p.m ? p.x_sums[(i0 + i) * groups + group] : 0;
    const int32_t* __restrict total = totals + i * Unit::width;
    float* __restrict sum = sums + i * Unit::width;
    if (p.zeros == nullptr) {
      const int32_t offset = Unit::base_left * x_sum;
      for (int64_t j = 0; j < Unit::width; j++)
        sum[j] += scales[j] * static_cast<float>(total[j] - offset);
    } else {
      for (int64_t j = 0; j < Unit::width; j++) {
        const int32_t offset = (Unit::base_left + zeros[j]) * x_sum;
        sum[j] += scales[j] * static_cast<float>(total[j] - offset);
      }
    }
  }
}

template <class Unit>
void multiply_block(const int8_product& p, const int8_block& b, int8_arena<Unit>* a,
                    const float* scales, const int32_t* zeros, float* sums,
                    int32_t* __restrict open) {
  constexpr int64_t tile = Unit::rows * Unit::width;
  const int64_t run = b.steps * Unit::depth;  // columns of a group in the arena
  const int64_t ldx = b.groups * run;
  alignas(64) int32_t totals[tile];
  for (int64_t i = 0; i < p.m; i += Unit::rows) {
    for (int64_t g = 0; g < b.groups; g++) {
      Unit::multiply(a->panel + g * run * Unit::width, a->x + i * ldx + g * run, ldx, b.steps,
                     totals);
      if (!b.opens) {
        for (int64_t j = 0; j < tile; j++) totals[j] += open[i * Unit::width + j];
      }
      if (b.closes) {
        close_groups<Unit>(p, i, b.first / p.group + g, totals, scales + g * Unit::width,
                           zeros + g * Unit::width, sums + i * Unit::width);
      } else {
        for (int64_t j = 0; j < tile; j++) open[i * Unit::width + j] = totals[j];
      }
    }
  }
}

template <class Unit>
void multiply_panels(const int8_product& p) {
  using arena = int8_arena<Unit>;
  static_assert(sizeof(arena) <= int8_scratch_bytes, "the arena is the caller's scratch");
  static_assert(int8_rows % Unit::rows == 0, "padded rows of x have room");
  arena* const a = static_cast<arena*>(p.scratch);
  constexpr int64_t width = Unit::width, per_panel = int8_rows * width;
  const int64_t panels = round_up(p.n, width) / width;
  for (int64_t panel = 0; panel < panels; panel++)
    memset(a->sums + panel * per_panel, 0, sizeof(float) * per_panel);
  for (int64_t first = 0; first < p.k;) {
    const int8_block b = block_at<Unit>(p, first);
    arrange_x<Unit>(p, b, a->x);
    for (int64_t panel = 0; panel < panels; panel++) {
      arrange_weights<Unit>(p, b, panel * width, a->panel);
      if (b.closes) arrange_scales<Unit>(p, b, panel * width, a->scales, a->zeros);
      multiply_block<Unit>(p, b, a, a->scales, a->zeros, a->sums + panel * per_panel,
                           a->open + panel * per_panel);
    }
    first += b.groups * b.length;
  }
  for (int64_t panel = 0; panel < panels; panel++) {
    const int64_t row = panel * width;
    const int64_t count = p.n - row < width ? p.n - row : width;
    for (int64_t i = 0; i < p.m; i++) {
      const float* sum = a->sums + panel * per_panel + i * width;
      float* y = p.y + i * p.ldy + row;
      const float scale = p.x_scales[i];
      if (p.bias == nullptr) {
        for (int64_t j = 0; j < count; j++) y[j] = sum[j] * scale;
      } else {
        for (int64_t j = 0; j < count; j++) y[j] = sum[j] * scale + p.bias[row + j];
      }
    }
  }
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_INT8_PANELS_H
