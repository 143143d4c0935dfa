// SPDX-License-Identifier: Apache-2.0
//
// What      Scale and zero of every group, and round to nearest under them (layout/affine.h): the
//           bits of kernels/reference/quantize.cpp, plain ranges only.
// Layout    w [rows, cols] fp32; scales, zeros [rows, cols / group]; codes [rows, cols] bytes.
// Tile      ranges: a warp a group. codes: a thread four columns, where everything is a multiple of
//           four, else one.
// Roof      bytes: ranges read 4 a weight, codes read 4 and write 1.
// Numerics  minimum and maximum do not depend on their order.
// Needs     sm_80.
#include "cuda/ptx.h"
#include "entries.h"
#include "grid.h"
#include "layout/affine.h"

namespace esp {
namespace cuda {
namespace {

constexpr int range_warps = 8;

struct range_task {
  int64_t groups, group, per_row, ldw;  // groups in all, columns each, groups a row
  const float* w;
  int32_t bits, symmetric, dtype, exact;
  float* scales;
  int8_t* zeros;
};

template <bool wide>
__global__ void __launch_bounds__(range_warps* warp_size) range_kernel(range_task t) {
  const int lane = static_cast<int>(threadIdx.x % warp_size);
  const int64_t step = static_cast<int64_t>(gridDim.x) * range_warps;
  for (int64_t g = static_cast<int64_t>(blockIdx.x) * range_warps + threadIdx.x / warp_size;
       g < t.groups; g += step) {
    const float* const values = t.w + g / t.per_row * t.ldw + g % t.per_row * t.group;
    float low = 0.0f, high = 0.0f;
    const auto take = [&](float v) {
      low = v < low ? v : low;
      high = v > high ? v : high;
    };
    if (wide) {
      for (int64_t c = 4 * lane; c < t.group; c += 4 * warp_size) {
        const float4 v = load(reinterpret_cast<const float4*>(values + c));
        take(v.x);
        take(v.y);
        take(v.z);
        take(v.w);
      }
    } else {
      for (int64_t c = lane; c < t.group; c += warp_size) take(load(values + c));
    }
    for (int distance = warp_size / 2; distance > 0; distance /= 2) {
      const float other_low = ptx::shuffle_xor(low, distance);
      const float other_high = ptx::shuffle_xor(high, distance);
      low = other_low < low ? other_low : low;
      high = other_high > high ? other_high : high;
    }
    if (lane == 0) {
      float scale, zero;
      affine_of_range(low, high, t.bits, t.symmetric, t.dtype, t.exact != 0, &scale, &zero);
      store(t.scales + g, scale);
      store(t.zeros + g, static_cast<int8_t>(zero));
    }
  }
}

struct nearest_task {
  int64_t rows, cols, ldw, group, per_row;
  const float* w;
  int32_t bits, tell_ties;
  const float* scales;
  const int8_t* zeros;  // or null
  int8_t* codes;
};

__device__ __forceinline__ int8_t code_of(const nearest_task& t, float w, float scale, float zero) {
  const float low = code_low(t.bits), high = code_high(t.bits);
  if (t.zeros != nullptr && t.tell_ties != 0)
    return static_cast<int8_t>(exact_code(w, scale, zero, low, high));
  const float shifter = t.tell_ties != 0 ? tie_shifter(t.bits) : 0.0f;
  return static_cast<int8_t>(quantize_code(w, scale, zero, low, high, shifter));
}

template <int step>
__global__ void __launch_bounds__(element_threads) nearest_kernel(nearest_task t) {
  each_element(t.rows, t.cols, step, [&](int64_t r, int64_t c) {
    const int64_t g = r * t.per_row + c / t.group;
    const float scale = load(t.scales + g);
    const float zero = t.zeros == nullptr ? 0.0f : static_cast<float>(load(t.zeros + g));
    if (step == 4) {
      const float4 v = load(reinterpret_cast<const float4*>(t.w + r * t.ldw + c));
      const float four[4] = {v.x, v.y, v.z, v.w};
      uint32_t word = 0;
      for (int i = 0; i < 4; i++) {
        word |= static_cast<uint32_t>(static_cast<uint8_t>(code_of(t, four[i], scale, zero)))
                << 8 * i;
      }
      store(reinterpret_cast<uint32_t*>(t.codes + r * t.cols + c), word);
    } else {
      store(t.codes + r * t.cols + c, code_of(t, load(t.w + r * t.ldw + c), scale, zero));
    }
  });
}

bool is_wide(int64_t cols, int64_t ldw, int64_t group) {
  return cols % 4 == 0 && ldw % 4 == 0 && group % 4 == 0;
}

esp_status check(const char* op, const esp_cuda_stream* s, int64_t rows, int64_t cols,
                 const float* w, int64_t ldw, int32_t bits, int64_t group) {
  ESP_CUDA_REQUIRE(op, s != nullptr, "a stream", s != nullptr);
  ESP_CUDA_REQUIRE(op, rows >= 0, "rows >= 0", rows);
  ESP_CUDA_REQUIRE(op, cols >= 0, "cols >= 0", cols);
  ESP_CUDA_REQUIRE(op, bits >= 2 && bits <= 8, "2..8", bits);
  if (rows == 0 || cols == 0) return ESP_OK;
  ESP_CUDA_REQUIRE(op, group > 0 && cols % group == 0, "a divisor of cols", group);
  ESP_CUDA_REQUIRE(op, ldw >= cols, "ldw >= cols", ldw);
  ESP_CUDA_REQUIRE(op, w != nullptr, "an address", w != nullptr);
  return ESP_OK;
}

}  // namespace

esp_status quantize_range(esp_cuda_stream* s, int64_t rows, int64_t cols, const float* d_w,
                          int64_t ldw, int32_t bits, int32_t symmetric, int64_t group,
                          esp_dtype scale_dtype, int32_t tell_ties, float* d_scales,
                          int8_t* d_zeros) {
  const char* const op = "quantize_range";
  const esp_status status = check(op, s, rows, cols, d_w, ldw, bits, group);
  if (status != ESP_OK || rows == 0 || cols == 0) return status;
  ESP_CUDA_REQUIRE(op, is_scale_dtype(scale_dtype), "F32, F16, BF16 or BF16_AND_F16", scale_dtype);
  ESP_CUDA_REQUIRE(op, d_scales != nullptr, "an address", d_scales != nullptr);
  ESP_CUDA_REQUIRE(op, d_zeros != nullptr, "an address", d_zeros != nullptr);
  const int64_t per_row = cols / group, groups = rows * per_row;
  const range_task task{groups,    group,       per_row,   ldw,      d_w,    bits,
                        symmetric, scale_dtype, tell_ties, d_scales, d_zeros};
  const dim3 grid(static_cast<unsigned int>(
      min_of(ceil_div(groups, range_warps), int64_t{16} * s->multiprocessors)));
  const auto kernel = is_wide(cols, ldw, group) ? range_kernel<true> : range_kernel<false>;
  return told(op, launch(kernel, grid, dim3(range_warps * warp_size), 0, s->handle, task));
}

esp_status quantize_nearest(esp_cuda_stream* s, int64_t rows, int64_t cols, const float* d_w,
                            int64_t ldw, int32_t bits, int64_t group, const float* d_scales,
                            const int8_t* d_zeros, int32_t tell_ties, int8_t* d_codes) {
  const char* const op = "quantize_nearest";
  const esp_status status = check(op, s, rows, cols, d_w, ldw, bits, group);
  if (status != ESP_OK || rows == 0 || cols == 0) return status;
  ESP_CUDA_REQUIRE(op, d_scales != nullptr, "an address", d_scales != nullptr);
  ESP_CUDA_REQUIRE(op, d_codes != nullptr, "an address", d_codes != nullptr);
  const nearest_task task{rows, cols,      ldw,      group,   cols / group, d_w,
                          bits, tell_ties, d_scales, d_zeros, d_codes};
  const bool wide = is_wide(cols, ldw, group);
  return told(op, launch(wide ? nearest_kernel<4> : nearest_kernel<1>,
                         element_grid(rows, cols, wide ? 4 : 1), dim3(element_threads), 0,
                         s->handle, task));
}

}  // namespace cuda
}  // namespace esp
