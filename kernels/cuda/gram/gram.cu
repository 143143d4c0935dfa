// SPDX-License-Identifier: Apache-2.0
//
// What      h += x^T x on and above the diagonal: the Hessian of GPTQ, one for all linears that
//           share an input.
// Layout    x [tokens, k] bf16; h [k, k] fp64.
//           A stage in shared memory, of 32 tokens: two panels [32, 128] of bf16, a row 256 bytes
//           of sixteen 16-byte chunks, chunk c of row t in place c ^ (t % 8): eight rows of one
//           chunk lie in eight different groups of banks, for ldmatrix and cp.async alike.
// Tile      a block: 128 x 128 of h over all tokens, so that no two blocks add to one place and the
//           bits are the same every time. Eight warps of 64 x 32: 16 accumulators of m16n8. Both
//           operands are x^T as stored, hence ldmatrix with transposition.
// Roof      MMAs: tokens * k^2 / 2 multiply-adds on the upper triangle, 6 ldmatrix.x4 to 16 MMAs of
//           k16; mma.sync, which Hopper runs at some two thirds of what wgmma reaches.
// Numerics  products of bf16 are exact in fp32; sums of 2048 tokens in fp32, then added in fp64.
// Needs     sm_80; 64 KiB of shared memory.
// Tail      tokens and channels past the end are copies of nothing: zeros.
#include "cuda/ptx.h"
#include "entries.h"

namespace esp {
namespace cuda {
namespace {

constexpr int side = 128;  // channels of a tile
constexpr int depth = 32;  // tokens of a stage
constexpr int stages = 4;
constexpr int fold = 2048 / depth;  // stages between two additions to h
constexpr int threads = 256;
constexpr int chunks = side / 8;  // of 16 bytes a row
constexpr int panel_bytes = depth * side * 2;
constexpr int shared_bytes = stages * 2 * panel_bytes;

struct gram_task {
  int64_t tokens, k, ldx;
  const uint16_t* x;
  double* h;
};

// Where chunk c of row t of a panel lies.
__device__ __forceinline__ unsigned char* chunk_at(unsigned char* panel, int t, int c) {
  return panel + (t * chunks + (c ^ (t & 7))) * 16;
}

// Queues the copies of stage number `stage`: rows of x from `token` on, 128 channels from
// `channel`.
__device__ __forceinline__ void fetch_panel(const gram_task& g, unsigned char* panel, int64_t token,
                                            int64_t channel) {
  ESP_UNROLL
  for (int i = 0; i < depth * chunks / threads; i++) {
    const int at = i * threads + static_cast<int>(threadIdx.x);
    const int t = at / chunks, c = at % chunks;
    const bool there = token + t < g.tokens && channel + 8 * c < g.k;
    const uint16_t* const from = there ? g.x + (token + t) * g.ldx + channel + 8 * c : g.x;
    ptx::copy_async<16>(chunk_at(panel, t, c), from, there ? 16 : 0);
  }
}

// Adds the accumulators of a warp to h and clears them.
__device__ __forceinline__ void add_to(const gram_task& g, int64_t row, int64_t column,
                                       float (&sums)[4][4][4]) {
  const int lane = static_cast<int>(threadIdx.x % warp_size);
  ESP_UNROLL
  for (int i = 0; i < 4; i++) {
    ESP_UNROLL
    for (int j = 0; j < 4; j++) {
      ESP_UNROLL
      for (int half = 0; half < 2; half++) {
        const int64_t r = row + 16 * i + lane / 4 + 8 * half, c = column + 8 * j + 2 * (lane % 4);
        if (r <= c + 1 && c < g.k) {  // k is a multiple of 8: c + 1 < k too, and r <= c + 1 < k
          double2* const at = reinterpret_cast<double2*>(g.h + r * g.k + c);
          double2 old = load(at);
          old.x += static_cast<double>(sums[i][j][2 * half]);
          old.y += static_cast<double>(sums[i][j][2 * half + 1]);
          store(at, old);
        }
        sums[i][j][2 * half] = sums[i][j][2 * half + 1] = 0.0f;
      }
    }
  }
}

__global__ void __launch_bounds__(threads) gram_kernel(gram_task g) {
  // Tile number to (row, column) of the upper triangle, column by column.
  int64_t tile_column = 0, before = 0;
  while (before + tile_column + 1 <= blockIdx.x) before += ++tile_column;
  const int64_t top = (blockIdx.x - before) * side, left = tile_column * side;

  unsigned char* const memory = shared_memory();
  const int lane = static_cast<int>(threadIdx.x % warp_size);
  const int warp = static_cast<int>(threadIdx.x / warp_size);
  const int warp_row = warp / 4 * 64, warp_column = warp % 4 * 32;
  const int64_t steps = ceil_div(g.tokens, depth);
  const auto panel = [&](int64_t step, int which) {
    return memory + (step % stages * 2 + which) * panel_bytes;
  };
  const auto fetch = [&](int64_t step) {
    if (step < steps) {
      fetch_panel(g, panel(step, 0), step * depth, top);
      fetch_panel(g, panel(step, 1), step * depth, left);
    }
    ptx::copy_commit();  // empty past the end, so that the count of groups stays
  };

  float sums[4][4][4] = {};
  for (int64_t step = 0; step < stages - 1; step++) fetch(step);
  for (int64_t step = 0; step < steps; step++) {
    ptx::copy_wait<stages - 2>();
    __syncthreads();  // the stage is there for all, and all are done with the one fetched into next
    fetch(step + stages - 1);
    unsigned char* const rows = panel(step, 0);
    unsigned char* const columns = panel(step, 1);
    ESP_UNROLL
    for (int t = 0; t < depth; t += 16) {
      uint32_t a[4][4], b[2][4];
      // Matrix j of ldmatrix: for a tokens 8 (j / 2), channels 8 (j % 2); for b the other way
      // round.
      const int outer = lane / 16 * 8, inner = lane / 8 % 2, row = lane % 8;
      ESP_UNROLL
      for (int i = 0; i < 4; i++)
        ptx::ldmatrix_transposed(a[i],
                                 chunk_at(rows, t + outer + row, (warp_row + 16 * i) / 8 + inner));
      ESP_UNROLL
      for (int j = 0; j < 2; j++)
        ptx::ldmatrix_transposed(
            b[j], chunk_at(columns, t + 8 * inner + row, (warp_column + 16 * j) / 8 + lane / 16));
      ESP_UNROLL
      for (int i = 0; i < 4; i++) {
        ESP_UNROLL
        for (int j = 0; j < 4; j++) {
          const uint32_t pair[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
          ptx::mma_bf16(sums[i][j], a[i], pair);
        }
      }
    }
    if (step % fold == fold - 1 || step == steps - 1)
      add_to(g, top + warp_row, left + warp_column, sums);
  }
}

}  // namespace

esp_status gram(esp_cuda_stream* s, int64_t tokens, int64_t k, const uint16_t* d_x, int64_t ldx,
                double* d_h) {
  const char* const op = "gram";
  ESP_CUDA_REQUIRE(op, s != nullptr, "a stream", s != nullptr);
  ESP_CUDA_REQUIRE(op, tokens >= 0, "tokens >= 0", tokens);
  ESP_CUDA_REQUIRE(op, k >= 0 && k % 8 == 0, "a multiple of 8", k);
  if (tokens == 0 || k == 0) return ESP_OK;
  ESP_CUDA_REQUIRE(op, ldx >= k && ldx % 8 == 0, "a multiple of 8, ldx >= k", ldx);
  ESP_CUDA_REQUIRE(op, d_x != nullptr, "an address", d_x != nullptr);
  ESP_CUDA_REQUIRE(op, d_h != nullptr, "an address", d_h != nullptr);
  const int64_t wide = ceil_div(k, side);
  return told(
      op, launch(gram_kernel, dim3(static_cast<unsigned int>(wide * (wide + 1) / 2)), dim3(threads),
                 shared_bytes, s->handle, gram_task{tokens, k, ldx, d_x, d_h}));
}

}  // namespace cuda
}  // namespace esp
