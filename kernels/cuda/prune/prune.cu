// SPDX-License-Identifier: Apache-2.0
//
// What      Which weights stay: the n smallest scores |x| * factor of every m columns go (magnitude
//           pruning; with the norm of the input channel as factor Wanda, arXiv 2306.11695); and
//           zeros where they went.
// Layout    x [rows, cols] fp32, factor [cols] fp32 or null, kept [rows, cols] bytes.
// Tile      a thread a set of m columns; sets of four in one load and one store where cols is a
//           multiple of four. apply: a thread four columns, or one.
// Roof      bytes: select reads 4 and writes 1 a weight, apply reads 1 and 4 and writes 4.
// Numerics  one fp32 product; of equal scores the lowest column goes first: the bits of
//           esp_select_nm.
// Needs     sm_80.
// Tail      the last set of a row may be shorter: of r columns r n / m go.
#include <math.h>

#include "cuda/device.h"
#include "entries.h"
#include "grid.h"

namespace esp {
namespace cuda {
namespace {

// Whether at least `drop` of the scores go before score i.
template <class F>
__device__ __forceinline__ bool stays(const F& score, int32_t count, int32_t drop, int32_t i) {
  const float mine = score(i);
  int32_t before = 0;
  for (int32_t j = 0; j < count; j++) {
    const float other = score(j);
    before += other < mine || (other == mine && j < i) ? 1 : 0;
  }
  return before >= drop;
}

__global__ void __launch_bounds__(element_threads)
    select_4_kernel(int64_t rows, int64_t cols, const float* x, const float* factor, int32_t n,
                    uint8_t* kept) {
  each_element(rows, cols, 4, [&](int64_t r, int64_t c) {
    const float4 v = load(reinterpret_cast<const float4*>(x + r * cols + c));
    float four[4] = {fabsf(v.x), fabsf(v.y), fabsf(v.z), fabsf(v.w)};
    if (factor != nullptr) {
      const float4 f = load(reinterpret_cast<const float4*>(factor + c));
      four[0] *= f.x;
      four[1] *= f.y;
      four[2] *= f.z;
      four[3] *= f.w;
    }
    uint32_t bytes = 0;
    ESP_UNROLL
    for (int32_t i = 0; i < 4; i++)
      bytes |= static_cast<uint32_t>(stays([&](int32_t j) { return four[j]; }, 4, n, i)) << 8 * i;
    store(reinterpret_cast<uint32_t*>(kept + r * cols + c), bytes);
  });
}

__global__ void __launch_bounds__(element_threads)
    select_kernel(int64_t rows, int64_t cols, const float* x, const float* factor, int32_t n,
                  int32_t m, uint8_t* kept) {
  each_element(rows, cols, m, [&](int64_t r, int64_t c) {
    const int32_t count = static_cast<int32_t>(min_of(m, cols - c));
    const auto score = [&](int32_t j) {
      const float size = fabsf(load(x + r * cols + c + j));
      return factor == nullptr ? size : size * load(factor + c + j);
    };
    for (int32_t i = 0; i < count; i++)
      store(kept + r * cols + c + i, static_cast<uint8_t>(stays(score, count, count * n / m, i)));
  });
}

template <int step>
__global__ void __launch_bounds__(element_threads)
    apply_kernel(int64_t elements, const uint8_t* kept, float* w) {
  each_element(1, elements, step, [&](int64_t, int64_t at) {
    if (step == 4) {
      const uint32_t bytes = load(reinterpret_cast<const uint32_t*>(kept + at));
      float4 v = load(reinterpret_cast<const float4*>(w + at));
      v.x = bytes & 0xffu ? v.x : 0.0f;
      v.y = bytes & 0xff00u ? v.y : 0.0f;
      v.z = bytes & 0xff0000u ? v.z : 0.0f;
      v.w = bytes & 0xff000000u ? v.w : 0.0f;
      store(reinterpret_cast<float4*>(w + at), v);
    } else if (load(kept + at) == 0) {
      store(w + at, 0.0f);
    }
  });
}

}  // namespace

esp_status select_nm(esp_cuda_stream* s, int64_t rows, int64_t cols, const float* d_x,
                     const float* d_factor, int32_t n, int32_t m, uint8_t* d_kept) {
  const char* const op = "select_nm";
  ESP_CUDA_REQUIRE(op, s != nullptr, "a stream", s != nullptr);
  ESP_CUDA_REQUIRE(op, rows >= 0, "rows >= 0", rows);
  ESP_CUDA_REQUIRE(op, cols >= 0, "cols >= 0", cols);
  ESP_CUDA_REQUIRE(op, m >= 1 && m <= 64, "1..64", m);
  ESP_CUDA_REQUIRE(op, n >= 0 && n <= m, "0..m", n);
  ESP_CUDA_REQUIRE(op, cols % m * n % m == 0, "a whole number of the rest", cols);
  if (rows == 0 || cols == 0) return ESP_OK;
  ESP_CUDA_REQUIRE(op, d_x != nullptr, "an address", d_x != nullptr);
  ESP_CUDA_REQUIRE(op, d_kept != nullptr, "an address", d_kept != nullptr);
  const dim3 grid = element_grid(rows, cols, m), block(element_threads);
  if (m == 4 && cols % 4 == 0)
    return told(op, launch(select_4_kernel, grid, block, 0, s->handle, rows, cols, d_x, d_factor, n,
                           d_kept));
  return told(op, launch(select_kernel, grid, block, 0, s->handle, rows, cols, d_x, d_factor, n, m,
                         d_kept));
}

esp_status apply_mask(esp_cuda_stream* s, int64_t rows, int64_t cols, const uint8_t* d_kept,
                      float* d_w) {
  const char* const op = "apply_mask";
  ESP_CUDA_REQUIRE(op, s != nullptr, "a stream", s != nullptr);
  ESP_CUDA_REQUIRE(op, rows >= 0, "rows >= 0", rows);
  ESP_CUDA_REQUIRE(op, cols >= 0, "cols >= 0", cols);
  if (rows == 0 || cols == 0) return ESP_OK;
  ESP_CUDA_REQUIRE(op, d_kept != nullptr, "an address", d_kept != nullptr);
  ESP_CUDA_REQUIRE(op, d_w != nullptr, "an address", d_w != nullptr);
  const int step = rows * cols % 4 == 0 ? 4 : 1;
  return told(
      op, launch(step == 4 ? apply_kernel<4> : apply_kernel<1>, element_grid(1, rows * cols, step),
                 dim3(element_threads), 0, s->handle, rows * cols, d_kept, d_w));
}

}  // namespace cuda
}  // namespace esp
