// SPDX-License-Identifier: Apache-2.0
//
// Where a 4-bit weight lies for the tensor cores: tiles of 16 rows x 64 columns, 512 bytes, in the
// order [row tile, column chunk]; the 16 bytes of lane l at 16 l. Word s of them is the lane's A
// fragment of m16n8k16 at columns 16 s: register p of it holds rows g + 8 (p % 2), columns
// 2 t + e + 8 (p / 2), g = l / 4, t = l % 4, and its half e is
//
//   bit   31   28   24   20   16   12    8    4    0
//         | p=3 | p=2 | p=1 | p=0 | p=3 | p=2 | p=1 | p=0 |      stored = q + 8
//         |------- e = 1 --------|------- e = 0 ---------|
//
// so that (word >> 4 p) & 0x000f000f is register p but for the exponent. Rows and columns are
// filled up with q = 0. Then scales [groups, rows of 16] fp32, then zeros of the same shape, bytes.
#ifndef ESPALIER_LAYOUT_W4A16_TILES_H
#define ESPALIER_LAYOUT_W4A16_TILES_H

#include <stdint.h>

#include "layout/host_device.h"

namespace esp {

constexpr int w4_tile_rows = 16;
constexpr int w4_tile_columns = 64;
constexpr int w4_tile_bytes = 512;

struct w4_tiles {
  int64_t row_tiles, chunks, groups;

  ESP_HOST_DEVICE int64_t rows() const { return row_tiles * w4_tile_rows; }
  ESP_HOST_DEVICE int64_t scales_at() const { return row_tiles * chunks * w4_tile_bytes; }
  ESP_HOST_DEVICE int64_t zeros_at() const { return scales_at() + groups * rows() * 4; }
  ESP_HOST_DEVICE int64_t bytes() const { return zeros_at() + groups * rows(); }
};

ESP_HOST_DEVICE static w4_tiles w4_tiles_of(int64_t n, int64_t k, int64_t group) {
  return {(n + w4_tile_rows - 1) / w4_tile_rows, (k + w4_tile_columns - 1) / w4_tile_columns,
          k / group};
}

// Row in the tile and column in the chunk of nibble `bit / 4` of word s of a lane.
ESP_HOST_DEVICE static int w4_row_of(int lane, int nibble) {
  return lane / 4 + 8 * (nibble % 4 % 2);
}
ESP_HOST_DEVICE static int w4_column_of(int lane, int s, int nibble) {
  return 16 * s + 2 * (lane % 4) + nibble / 4 + 8 * (nibble % 4 / 2);
}

}  // namespace esp

#endif  // ESPALIER_LAYOUT_W4A16_TILES_H
