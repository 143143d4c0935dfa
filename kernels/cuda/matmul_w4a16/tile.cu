// SPDX-License-Identifier: Apache-2.0
//
// What      4-bit weights from the bit stream of the file to layout/w4a16_tiles.h, once a matrix.
// Tile      a thread one word of eight codes; scales and zeros a thread each.
// Roof      bytes, 1 a weight in all; done once, so that a byte-wise gather will do.
// Needs     sm_80.
#include "cuda/device.h"
#include "entries.h"
#include "layout/bit_stream.h"
#include "layout/w4a16_tiles.h"

namespace esp {
namespace cuda {
namespace {

constexpr int threads = 256;

__global__ void __launch_bounds__(threads)
    tile_kernel(w4_tiles t, int64_t n, int64_t k, const uint32_t* codes, int64_t ldcodes,
                uint32_t* to) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (at >= t.row_tiles * t.chunks * (w4_tile_bytes / 4)) return;
  const int64_t tile = at / (w4_tile_bytes / 4);
  const int in_tile = static_cast<int>(at % (w4_tile_bytes / 4));
  const int64_t top = tile / t.chunks * w4_tile_rows, left = tile % t.chunks * w4_tile_columns;
  uint32_t word = 0;
  for (int nibble = 0; nibble < 8; nibble++) {
    const int64_t r = top + w4_row_of(in_tile / 4, nibble);
    const int64_t c = left + w4_column_of(in_tile / 4, in_tile % 4, nibble);
    const int32_t q = r < n && c < k ? stream_read(codes + r * ldcodes, c, 4) : 0;
    word |= static_cast<uint32_t>(q + stream_offset(4)) << 4 * nibble;
  }
  store(to + at, word);
}

__global__ void __launch_bounds__(threads)
    scale_kernel(w4_tiles t, int64_t n, const float* scales, const int8_t* zeros, float* to_scales,
                 int8_t* to_zeros) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (at >= t.groups * t.rows()) return;
  const int64_t g = at / t.rows(), r = at % t.rows();
  store(to_scales + at, r < n ? load(scales + r * t.groups + g) : 0.0f);
  const bool there = r < n && zeros != nullptr;
  store(to_zeros + at, there ? load(zeros + r * t.groups + g) : static_cast<int8_t>(0));
}

dim3 grid_of(int64_t elements) {
  return dim3(static_cast<unsigned int>(ceil_div(elements, threads)));
}

}  // namespace

int64_t w4a16_tile_bytes(int64_t n, int64_t k, int64_t group) {
  return n > 0 && k > 0 && group > 0 ? w4_tiles_of(n, k, group).bytes() : 0;
}

esp_status w4a16_tile(esp_cuda_stream* s, int64_t n, int64_t k, const uint32_t* d_codes,
                      int64_t ldcodes, const float* d_scales, const int8_t* d_zeros, int64_t group,
                      void* d_tiles) {
  const char* const op = "w4a16_tile";
  ESP_CUDA_REQUIRE(op, s != nullptr, "a stream", s != nullptr);
  ESP_CUDA_REQUIRE(op, n >= 0, "n >= 0", n);
  ESP_CUDA_REQUIRE(op, k >= 0, "k >= 0", k);
  if (n == 0 || k == 0) return ESP_OK;
  ESP_CUDA_REQUIRE(op, group > 0 && group % 16 == 0 && k % group == 0,
                   "a multiple of 16 that divides k", group);
  ESP_CUDA_REQUIRE(op, ldcodes >= stream_words(k, 4), "ldcodes >= ceil(k / 8)", ldcodes);
  ESP_CUDA_REQUIRE(op, d_codes != nullptr && d_scales != nullptr && d_tiles != nullptr, "addresses",
                   0);
  const w4_tiles t = w4_tiles_of(n, k, group);
  unsigned char* const to = static_cast<unsigned char*>(d_tiles);
  ESP_CUDA_CALL(
      op, launch(tile_kernel, grid_of(t.row_tiles * t.chunks * (w4_tile_bytes / 4)), dim3(threads),
                 0, s->handle, t, n, k, d_codes, ldcodes, reinterpret_cast<uint32_t*>(to)));
  return told(op, launch(scale_kernel, grid_of(t.groups * t.rows()), dim3(threads), 0, s->handle, t,
                         n, d_scales, d_zeros, reinterpret_cast<float*>(to + t.scales_at()),
                         reinterpret_cast<int8_t*>(to + t.zeros_at())));
}

}  // namespace cuda
}  // namespace esp
