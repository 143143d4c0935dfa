// SPDX-License-Identifier: Apache-2.0
//
// What      Scores of magnitude pruning, |w|, and of Wanda (arXiv 2306.11695), |w| times the norm
// of
//           the input channel; and the n highest of every m columns.
// Layout    w [rows, cols] ldw; scores fp32 and mask bytes [rows, cols], ld = cols.
// Tile      scores: a thread four columns where all is a multiple of four, else one. mask: a thread
//           a group of m; 4 of 4 bytes in one store.
// Roof      bytes: scores read 4 and write 4 a weight, the mask reads 4 and writes 1.
// Numerics  one fp32 product; of equal scores the lower column counts as higher.
// Needs     sm_80.
#include <math.h>

#include "cuda/device.h"
#include "entries.h"
#include "grid.h"

namespace esp {
namespace cuda {
namespace {

template <int step>
__global__ void __launch_bounds__(element_threads)
    scores_kernel(int64_t rows, int64_t cols, const float* w, int64_t ldw, const float* norms,
                  float* scores) {
  each_element(rows, cols, step, [&](int64_t r, int64_t c) {
    if (step == 4) {
      float4 v = load(reinterpret_cast<const float4*>(w + r * ldw + c));
      v = make_float4(fabsf(v.x), fabsf(v.y), fabsf(v.z), fabsf(v.w));
      if (norms != nullptr) {
        const float4 n = load(reinterpret_cast<const float4*>(norms + c));
        v = make_float4(v.x * n.x, v.y * n.y, v.z * n.z, v.w * n.w);
      }
      store(reinterpret_cast<float4*>(scores + r * cols + c), v);
    } else {
      const float magnitude = fabsf(load(w + r * ldw + c));
      store(scores + r * cols + c, norms == nullptr ? magnitude : magnitude * load(norms + c));
    }
  });
}

// Whether fewer than n of the m scores stand above score i.
__device__ __forceinline__ bool is_kept(const float* scores, int32_t m, int32_t n, int32_t i) {
  int32_t above = 0;
  for (int32_t j = 0; j < m; j++) {
    const float other = scores[j];
    above += other > scores[i] || (other == scores[i] && j < i) ? 1 : 0;
  }
  return above < n;
}

__global__ void __launch_bounds__(element_threads)
    mask_4_kernel(int64_t rows, int64_t cols, const float* scores, int32_t n, uint8_t* mask) {
  each_element(rows, cols, 4, [&](int64_t r, int64_t c) {
    const float4 v = load(reinterpret_cast<const float4*>(scores + r * cols + c));
    const float four[4] = {v.x, v.y, v.z, v.w};
    uint32_t bytes = 0;
    ESP_UNROLL
    for (int32_t i = 0; i < 4; i++) bytes |= static_cast<uint32_t>(is_kept(four, 4, n, i)) << 8 * i;
    store(reinterpret_cast<uint32_t*>(mask + r * cols + c), bytes);
  });
}

__global__ void __launch_bounds__(element_threads)
    mask_kernel(int64_t rows, int64_t cols, const float* scores, int32_t n, int32_t m,
                uint8_t* mask) {
  each_element(rows, cols, m, [&](int64_t r, int64_t c) {
    const int64_t at = r * cols + c;
    for (int32_t i = 0; i < m; i++)
      store(mask + at + i, static_cast<uint8_t>(is_kept(scores + at, m, n, i)));
  });
}

}  // namespace

esp_status prune_scores(esp_cuda_stream* s, int64_t rows, int64_t cols, const float* d_w,
                        int64_t ldw, const float* d_norms, float* d_scores) {
  const char* const op = "prune_scores";
  ESP_CUDA_REQUIRE(op, s != nullptr, "a stream", s != nullptr);
  ESP_CUDA_REQUIRE(op, rows >= 0, "rows >= 0", rows);
  ESP_CUDA_REQUIRE(op, cols >= 0, "cols >= 0", cols);
  if (rows == 0 || cols == 0) return ESP_OK;
  ESP_CUDA_REQUIRE(op, ldw >= cols, "ldw >= cols", ldw);
  ESP_CUDA_REQUIRE(op, d_w != nullptr, "an address", d_w != nullptr);
  ESP_CUDA_REQUIRE(op, d_scores != nullptr, "an address", d_scores != nullptr);
  const int step = cols % 4 == 0 && ldw % 4 == 0 ? 4 : 1;
  return told(
      op, launch(step == 4 ? scores_kernel<4> : scores_kernel<1>, element_grid(rows, cols, step),
                 dim3(element_threads), 0, s->handle, rows, cols, d_w, ldw, d_norms, d_scores));
}

esp_status prune_mask(esp_cuda_stream* s, int64_t rows, int64_t cols, const float* d_scores,
                      int32_t n, int32_t m, uint8_t* d_mask) {
  const char* const op = "prune_mask";
  ESP_CUDA_REQUIRE(op, s != nullptr, "a stream", s != nullptr);
  ESP_CUDA_REQUIRE(op, rows >= 0, "rows >= 0", rows);
  ESP_CUDA_REQUIRE(op, m >= 1 && m <= 32 && cols >= 0 && cols % m == 0, "1..32, a divisor of cols",
                   m);
  ESP_CUDA_REQUIRE(op, n >= 1 && n <= m, "1..m", n);
  if (rows == 0 || cols == 0) return ESP_OK;
  ESP_CUDA_REQUIRE(op, d_scores != nullptr, "an address", d_scores != nullptr);
  ESP_CUDA_REQUIRE(op, d_mask != nullptr, "an address", d_mask != nullptr);
  const dim3 grid = element_grid(rows, cols, m), block(element_threads);
  if (m == 4)
    return told(op,
                launch(mask_4_kernel, grid, block, 0, s->handle, rows, cols, d_scores, n, d_mask));
  return told(op,
              launch(mask_kernel, grid, block, 0, s->handle, rows, cols, d_scores, n, m, d_mask));
}

}  // namespace cuda
}  // namespace esp
