// SPDX-License-Identifier: Apache-2.0
//
// What      y[m, n] = x[m, k] W^T of 4-bit weights, m <= 16: the product of a decoded token.
// Layout    weights as layout/w4a16_tiles.h: W is the A operand, so that 16 bytes a lane are four
//           fragments and nothing is exchanged; x is the B operand, eight tokens an MMA. In shared
//           memory x lies in fragment order, [chunk of 64 columns, octet of tokens, half, lane] of
//           16 bytes: registers 0, 1 of two steps of 16 columns.
// Tile      a block: 128 rows and a part of the columns. Eight warps: four of 32 rows (two row
//           tiles), two for the halves of the columns. Weights go straight to registers, four
//           chunks ahead, begun before x is there. Scales meet the sums of a chunk (of 16 columns
//           where groups are no multiple of 64), not the weights: 8 FMAs for 64 columns instead
//           of 32.
// Roof      bytes: 0.5 a weight and 4 / group for scales, each read once. Beside it, for 1024
//           weights and 8 tokens: 4 MMAs, 44 dequantizing operations a lane, 8 FMAs.
// Numerics  q - zero is exact in bf16 (128 + stored, less 136 + zero); products with bf16 exact in
//           fp32. Parts of the columns are added in their order by the block that comes last, so
//           that the bits do not depend on which that is.
// Needs     sm_80; at most 64 KiB of shared memory.
// Tail      weights past n and k are stored with q = 0 and scale 0, x past m and k is 0.
#include "cuda/ptx.h"
#include "entries.h"
#include "layout/w4a16_tiles.h"

namespace esp {
namespace cuda {
namespace {

constexpr int threads = 256;
constexpr int row_warps = 4, column_warps = 2;
constexpr int warp_tiles = 2;                                      // row tiles of a warp
constexpr int block_rows = row_warps * warp_tiles * w4_tile_rows;  // 128
constexpr int ahead = 4;                                           // chunks under way a warp
constexpr int64_t most_chunks = 32;                                // of a part: 64 KiB of x
constexpr int64_t least_chunks = 2 * column_warps * ahead;  // of a part, where there are more
constexpr int64_t counter_bytes = 16;                       // apart for each block of rows

struct product_task {
  int64_t m, n, k, ldx, ldy, group;
  int64_t part;  // chunks of 64 columns of a part
  int64_t parts;
  const uint16_t* x;
  const unsigned char* tiles;
  w4_tiles t;
  float* y;
  int32_t* arrived;  // [blocks of rows], counter_bytes apart
  float* partial;    // [parts, m, n]
};

// A chunk of a warp on its way: codes, and of rows g (low half of bias) and g + 8 scale and minus
// (136 + zero).
struct piece {
  uint4 codes[warp_tiles];
  float scale[warp_tiles][2];
  uint32_t bias[warp_tiles];
};

// -(136 + zero) in bf16: 128 .. 255 have their last bit worth 1.
__device__ __forceinline__ uint32_t bias_of(int32_t zero) {
  return 0xc300u | static_cast<uint32_t>(8 + zero);
}

template <bool zeros>
__device__ __forceinline__ void fetch_scales(const product_task& g, int64_t row_tile,
                                             int64_t column, int i, piece* to) {
  const int64_t at =
      column / g.group * g.t.rows() + row_tile * w4_tile_rows + threadIdx.x % warp_size / 4;
  const float* const scales = reinterpret_cast<const float*>(g.tiles + g.t.scales_at());
  const int8_t* const zero = reinterpret_cast<const int8_t*>(g.tiles + g.t.zeros_at());
  to->scale[i][0] = load(scales + at);
  to->scale[i][1] = load(scales + at + 8);
  to->bias[i] = bias_of(zeros ? load(zero + at) : 0) | bias_of(zeros ? load(zero + at + 8) : 0)
                                                           << 16;
}

template <bool zeros>
__device__ __forceinline__ void fetch(const product_task& g, int64_t row_tile, int64_t chunk,
                                      piece* to) {
  ESP_UNROLL
  for (int i = 0; i < warp_tiles; i++) {
    if (row_tile + i >= g.t.row_tiles) {  // past the last row
      to->codes[i] = make_uint4(0, 0, 0, 0);
      to->scale[i][0] = to->scale[i][1] = 0.0f;
      to->bias[i] = bias_of(0) | bias_of(0) << 16;
      continue;
    }
    const unsigned char* const tile =
        g.tiles + ((row_tile + i) * g.t.chunks + chunk) * w4_tile_bytes;
    to->codes[i] = ptx::load_once(reinterpret_cast<const uint4*>(tile) + threadIdx.x % warp_size);
    fetch_scales<zeros>(g, row_tile + i, chunk * w4_tile_columns, i, to);
  }
}

// The four registers of a fragment.
__device__ __forceinline__ void widen(uint32_t word, uint32_t bias, uint32_t (&a)[4]) {
  const uint32_t both[2] = {(bias & 0xffffu) | bias << 16, (bias & 0xffff0000u) | bias >> 16};
  ESP_UNROLL
  for (int p = 0; p < 4; p++) {
    const uint32_t raised = (word >> 4 * p & 0x000f000fu) | 0x43004300u;  // 128 + stored
    a[p] = ptx::fma_bf16(raised, 0x3f803f80u, both[p % 2]);
  }
}

// x of the chunks [first, first + count) to fragment order.
template <int octets>
__device__ __forceinline__ void stage_x(const product_task& g, int64_t first, int64_t count,
                                        uint32_t* to) {
  for (int64_t at = threadIdx.x; at < count * octets * 256; at += threads) {
    const int64_t chunk = first + at / (octets * 256);
    const int inside = static_cast<int>(at % (octets * 256));
    const int octet = inside / 256, half = inside / 128 % 2, lane = inside / 4 % 32, r = inside % 4;
    const int64_t token = 8 * octet + lane / 4;
    const int64_t column =
        chunk * w4_tile_columns + 32 * half + 16 * (r / 2) + 8 * (r % 2) + 2 * (lane % 4);
    uint32_t pair = 0;
    if (token < g.m && column < g.k)  // k is a multiple of 16: the pair is whole
      pair = load(reinterpret_cast<const uint32_t*>(g.x + token * g.ldx + column));
    shared_store(to + at, pair);
  }
}

template <int octets, bool zeros, bool narrow>
__global__ void __launch_bounds__(threads) product_kernel(product_task g) {
  uint32_t* const memory = reinterpret_cast<uint32_t*>(shared_memory());
  const int lane = static_cast<int>(threadIdx.x % warp_size);
  const int warp = static_cast<int>(threadIdx.x / warp_size);
  const int64_t row_tile =
      (static_cast<int64_t>(blockIdx.x) * row_warps + warp % row_warps) * warp_tiles;
  const int64_t first = blockIdx.y * g.part, count = min_of(g.part, g.t.chunks - first);
  const int64_t half = ceil_div(count, column_warps);
  const int64_t begin = first + warp / row_warps * half;
  const int64_t end = min_of(first + count, begin + half);

  piece ring[ahead];
  ESP_UNROLL
  for (int p = 0; p < ahead; p++) {
    if (begin + p < end) fetch<zeros>(g, row_tile, begin + p, ring + p);
  }
  stage_x<octets>(g, first, count, memory);
  __syncthreads();

  float sums[warp_tiles][octets][4] = {};
  for (int64_t base = begin; base < end; base += ahead) {
    ESP_UNROLL
    for (int p = 0; p < ahead; p++) {
      const int64_t chunk = base + p;
      if (chunk >= end) break;  // the same for the warp
      piece* const now = ring + p;
      uint32_t b[octets][8];
      ESP_UNROLL
      for (int o = 0; o < octets; o++) {
        ESP_UNROLL
        for (int h = 0; h < 2; h++) {
          const uint4 v = shared_load(reinterpret_cast<const uint4*>(
              memory + ((chunk - first) * octets + o) * 256 + h * 128 + lane * 4));
          b[o][4 * h] = v.x;
          b[o][4 * h + 1] = v.y;
          b[o][4 * h + 2] = v.z;
          b[o][4 * h + 3] = v.w;
        }
      }
      ESP_UNROLL
      for (int i = 0; i < warp_tiles; i++) {
        const uint32_t words[4] = {now->codes[i].x, now->codes[i].y, now->codes[i].z,
                                   now->codes[i].w};
        float chunk_sums[octets][4] = {};
        ESP_UNROLL
        for (int step = 0; step < 4; step++) {
          if (narrow && step > 0 && row_tile + i < g.t.row_tiles &&
              chunk * w4_tile_columns + 16 * step < g.k)
            fetch_scales<zeros>(g, row_tile + i, chunk * w4_tile_columns + 16 * step, i, now);
          uint32_t a[4];
          widen(words[step], now->bias[i], a);
          ESP_UNROLL
          for (int o = 0; o < octets; o++) {
            const uint32_t pair[2] = {b[o][2 * step], b[o][2 * step + 1]};
            ptx::mma_bf16(chunk_sums[o], a, pair);
            if (narrow || step == 3) {
              ESP_UNROLL
              for (int e = 0; e < 4; e++) {
                sums[i][o][e] = fmaf(now->scale[i][e / 2], chunk_sums[o][e], sums[i][o][e]);
                chunk_sums[o][e] = 0.0f;
              }
            }
          }
        }
      }
      if (chunk + ahead < end) fetch<zeros>(g, row_tile, chunk + ahead, now);
    }
  }

  // The second half of the columns comes to the first through shared memory.
  constexpr int values = warp_tiles * octets * 4;
  float* const exchange = reinterpret_cast<float*>(memory);
  float* const flat = &sums[0][0][0];
  __syncthreads();
  ESP_UNROLL
  for (int v = 0; v < values && warp >= row_warps; v++)
    shared_store(exchange + (v * row_warps + warp - row_warps) * warp_size + lane, flat[v]);
  __syncthreads();
  // y or, of several parts, their place; both [m, n].
  float* const to = g.parts == 1 ? g.y : g.partial + blockIdx.y * g.m * g.n;
  const int64_t ld = g.parts == 1 ? g.ldy : g.n;
  ESP_UNROLL
  for (int v = 0; v < values && warp < row_warps; v++) {
    const int e = v % 4;
    const int64_t token = v / 4 % octets * 8 + 2 * (lane % 4) + e % 2;
    const int64_t row = (row_tile + v / 4 / octets) * w4_tile_rows + lane / 4 + 8 * (e / 2);
    const float sum = flat[v] + shared_load(exchange + (v * row_warps + warp) * warp_size + lane);
    if (token < g.m && row < g.n) store(to + token * ld + row, sum);
  }
  if (g.parts == 1) return;

  int32_t* const last = reinterpret_cast<int32_t*>(memory);
  int32_t* const arrived = g.arrived + blockIdx.x * (counter_bytes / 4);
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) *last = atomicAdd(arrived, 1) == g.parts - 1;
  __syncthreads();
  if (*last == 0) return;
  __threadfence();
  const int64_t top = static_cast<int64_t>(blockIdx.x) * block_rows;
  for (int64_t at = threadIdx.x; at < g.m * block_rows; at += threads) {
    const int64_t token = at / block_rows, row = top + at % block_rows;
    if (row >= g.n) continue;
    float sum = 0.0f;
    for (int64_t part = 0; part < g.parts; part++)
      sum += load(g.partial + (part * g.m + token) * g.n + row);
    store(g.y + token * g.ldy + row, sum);
  }
  if (threadIdx.x == 0) *arrived = 0;  // ready for the next product
}

// Two blocks a multiprocessor, if parts do not become too short for it or too long for x.
int64_t chunks_of_a_part(const esp_cuda_stream* s, int64_t n, int64_t k) {
  const int64_t chunks = ceil_div(k, w4_tile_columns), blocks = ceil_div(n, block_rows);
  const int64_t wanted = max_of(1, ceil_div(2 * s->multiprocessors, blocks));
  return min_of(min_of(most_chunks, chunks), max_of(ceil_div(chunks, wanted), least_chunks));
}

template <int octets>
auto kernel_of(bool zeros, bool narrow) {
  return zeros ? (narrow ? product_kernel<octets, true, true> : product_kernel<octets, true, false>)
               : (narrow ? product_kernel<octets, false, true>
                         : product_kernel<octets, false, false>);
}

}  // namespace

int64_t w4a16_work_bytes(const esp_cuda_stream* s, int64_t m, int64_t n, int64_t k) {
  if (s == nullptr || m <= 0 || n <= 0 || k <= 0) return 0;
  const int64_t parts = ceil_div(ceil_div(k, w4_tile_columns), chunks_of_a_part(s, n, k));
  return parts == 1 ? counter_bytes : ceil_div(n, block_rows) * counter_bytes + parts * m * n * 4;
}

esp_status matmul_w4a16(esp_cuda_stream* s, int64_t m, int64_t n, int64_t k, const uint16_t* d_x,
                        int64_t ldx, const void* d_tiles, int64_t group, int32_t zeros, float* d_y,
                        int64_t ldy, void* d_work) {
  const char* const op = "matmul_w4a16";
  ESP_CUDA_REQUIRE(op, s != nullptr, "a stream", s != nullptr);
  ESP_CUDA_REQUIRE(op, m >= 0 && m <= 16, "0..16", m);
  ESP_CUDA_REQUIRE(op, n >= 0, "n >= 0", n);
  ESP_CUDA_REQUIRE(op, k >= 0, "k >= 0", k);
  if (m == 0 || n == 0 || k == 0) return ESP_OK;
  ESP_CUDA_REQUIRE(op, group > 0 && group % 16 == 0 && k % group == 0,
                   "a multiple of 16 that divides k", group);
  ESP_CUDA_REQUIRE(op, ldx >= k && ldx % 2 == 0, "even, ldx >= k", ldx);
  ESP_CUDA_REQUIRE(op, ldy >= n, "ldy >= n", ldy);
  ESP_CUDA_REQUIRE(op, d_x != nullptr && d_tiles != nullptr && d_y != nullptr && d_work != nullptr,
                   "addresses", 0);
  const int64_t blocks = ceil_div(n, block_rows), part = chunks_of_a_part(s, n, k);
  const w4_tiles t = w4_tiles_of(n, k, group);
  const int64_t parts = ceil_div(t.chunks, part);
  unsigned char* const work = static_cast<unsigned char*>(d_work);
  const product_task task{m,
                          n,
                          k,
                          ldx,
                          ldy,
                          group,
                          part,
                          parts,
                          d_x,
                          static_cast<const unsigned char*>(d_tiles),
                          t,
                          d_y,
                          reinterpret_cast<int32_t*>(work),
                          reinterpret_cast<float*>(work + blocks * counter_bytes)};
  const int octets = m <= 8 ? 1 : 2;
  const bool narrow = group % w4_tile_columns != 0;
  const size_t x_bytes = static_cast<size_t>(part) * static_cast<size_t>(octets) * 1024;
  const size_t exchange_bytes = static_cast<size_t>(warp_tiles * octets * 4 * row_warps) * 128;
  return told(
      op,
      launch(octets == 1 ? kernel_of<1>(zeros != 0, narrow) : kernel_of<2>(zeros != 0, narrow),
             dim3(static_cast<unsigned int>(blocks), static_cast<unsigned int>(parts)),
             dim3(threads), x_bytes > exchange_bytes ? x_bytes : exchange_bytes, s->handle, task));
}

}  // namespace cuda
}  // namespace esp
