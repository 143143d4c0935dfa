// SPDX-License-Identifier: Apache-2.0
//
// What      The GPTQ solver of kernels/reference/gptq.cpp (left-looking, from U with U U^T = H):
// all
//           columns of a matrix in one launch, since its rows do not know each other.
//             P_j = sum over i < j of D_i U_ij;  w_j = w0_j + P_j / U_jj;  D_j = w0_j - q_j
// Layout    A block solves 32 rows. D of them lies in device memory as [cols, 32], so that the
//           rows it reads are one line of 128 bytes and 32 columns one piece of 4 KiB. U in fp32,
//           [wide, wide], wide = cols rounded up to 128, zeros below the diagonal.
// Tile      128 columns at a time.
//             pull   P[32, 128] = D[:, :start] U[:start, block], in stages of 32 columns: a thread
//             4
//                    rows x 4 columns in registers;
//             solve  a thread 16 columns of one row in registers, eight threads a row, thread e the
//                    columns 8 i + e: column by column its owner rounds and says D to the other
//                    seven, and each adds D U to what it has.
//           Scales of a group are computed from a preview: the same steps with q = w, which leave
//           the range of the updated weights.
// Roof      FMAs of the pull, rows * cols^2 / 2 in fp32, at 5 passes through shared memory to 4
//           clocks of FMA. (The known next step is the pull on tensor cores, operands split in
//           three bf16.) The solve has rows * cols * 68 FMAs: a part of cols / 136 of the pull.
// Numerics  P, D and w in fp32; rounding as layout/affine.h with ties told, the CPU's to the
// letter. Needs     sm_80; 126 KiB of shared memory. Tail      rows past the end compute with zeros
// and are not stored; columns past cols have U = 0.
#include "cuda/ptx.h"
#include "entries.h"
#include "layout/affine.h"

namespace esp {
namespace cuda {
namespace {

constexpr int tile_rows = 32;
constexpr int width = 128;  // columns of a block
constexpr int threads = 256;
constexpr int row_threads = threads / tile_rows;  // 8
constexpr int mine = width / row_threads;         // 16 columns of a thread
constexpr int depth = 32;                         // finished columns of a stage
constexpr int stages = 3;
constexpr int stage_floats = depth * (tile_rows + width);
constexpr int shared_bytes = (width * width + width + stages * stage_floats) * 4;
static_assert(tile_rows * width <= stages * stage_floats, "P passes through the stages");

struct solve_task {
  int64_t rows, cols, wide;
  float* w;        // [rows, cols]
  const float* u;  // [wide, wide]
  float* d;        // [tiles of 32 rows, cols, 32]
  int64_t group;
  const int32_t* fixed;  // [cols] or null
  bool own;              // scales are computed here
  int32_t bits, symmetric, dtype;
  float* scales;  // [rows, cols / group]
  int8_t* zeros;  // the same shape, or null
  int8_t* codes;  // [rows, cols]
};

struct block_memory {
  float* u;        // [width, width] of the diagonal
  float* inverse;  // [width], 1 / U_jj
  float* stages;
};

// What a thread has of 128 columns.
struct columns {
  float w[mine];  // as they came
  float p[mine];
};

// Queues stage `stage` of the pull for the columns from `start` on.
__device__ __forceinline__ void fetch(const solve_task& g, const float* d, float* to, int64_t first,
                                      int64_t start) {
  // first + depth <= start <= cols: whole stages only.
  const int me = static_cast<int>(threadIdx.x);
  ptx::copy_async<16>(to + 4 * me, d + first * tile_rows + 4 * me);
  ESP_UNROLL
  for (int i = 0; i < depth * width / 4 / threads; i++) {
    const int at = i * threads + me, r = at / (width / 4), c = at % (width / 4) * 4;
    ptx::copy_async<16>(to + depth * tile_rows + r * width + c,
                        g.u + (first + r) * g.wide + start + c);
  }
}

__device__ void load_columns(const solve_task& g, const block_memory& m, const float* d,
                             int64_t row, int64_t start, columns* c) {
  const int me = static_cast<int>(threadIdx.x);
  __syncthreads();  // the columns before are done with the shared memory
  for (int i = me; i < width * width / 4; i += threads) {
    const int r = i / (width / 4), at = i % (width / 4) * 4;
    ptx::copy_async<16>(m.u + r * width + at, g.u + (start + r) * g.wide + start + at);
  }
  ptx::copy_commit();
  const int64_t steps = start / depth;
  const auto stage = [&](int64_t step) { return m.stages + step % stages * stage_floats; };
  for (int64_t step = 0; step < stages - 1; step++) {
    if (step < steps) fetch(g, d, stage(step), step * depth, start);
    ptx::copy_commit();
  }
  // 4 rows from 4 (warp), 4 columns from 4 (lane).
  const int warp = me / warp_size, lane = me % warp_size;
  float sums[4][4] = {};
  for (int64_t step = 0; step < steps; step++) {
    ptx::copy_wait<stages - 2>();
    __syncthreads();
    if (step + stages - 1 < steps)
      fetch(g, d, stage(step + stages - 1), (step + stages - 1) * depth, start);
    ptx::copy_commit();
    const float* const from_d = stage(step) + 4 * warp;
    const float* const from_u = stage(step) + depth * tile_rows + 4 * lane;
    ESP_UNROLL
    for (int k = 0; k < depth; k++) {
      const float4 x = shared_load(reinterpret_cast<const float4*>(from_d + k * tile_rows));
      const float4 y = shared_load(reinterpret_cast<const float4*>(from_u + k * width));
      const float a[4] = {x.x, x.y, x.z, x.w}, b[4] = {y.x, y.y, y.z, y.w};
      ESP_UNROLL
      for (int i = 0; i < 4; i++) {
        ESP_UNROLL
        for (int j = 0; j < 4; j++) sums[i][j] = fmaf(a[i], b[j], sums[i][j]);
      }
    }
  }
  ptx::copy_wait<0>();
  __syncthreads();
  // From the layout of the product to that of the solve.
  ESP_UNROLL
  for (int i = 0; i < 4; i++)
    shared_store(reinterpret_cast<float4*>(m.stages + (4 * warp + i) * width + 4 * lane),
                 make_float4(sums[i][0], sums[i][1], sums[i][2], sums[i][3]));
  if (me < width) {
    const float pivot = m.u[me * width + me];
    shared_store(m.inverse + me, pivot == 0.0f ? 0.0f : 1.0f / pivot);
  }
  __syncthreads();
  const int local = me / row_threads, e = me % row_threads;
  ESP_UNROLL
  for (int i = 0; i < mine; i++) {
    const int64_t column = start + 8 * i + e;
    c->p[i] = shared_load(m.stages + local * width + 8 * i + e);
    c->w[i] = row < g.rows && column < g.cols ? load(g.w + row * g.cols + column) : 0.0f;
  }
}

// The group of columns whose scale a row is using.
struct scale_of_row {
  float scale, zero, low, high;
};

__device__ __forceinline__ void known_scale(const solve_task& g, int64_t row, int64_t index,
                                            scale_of_row* s) {
  const int64_t at = row * (g.cols / g.group) + index;
  s->scale = row < g.rows ? load(g.scales + at) : 1.0f;
  s->zero = row < g.rows && g.zeros != nullptr ? static_cast<float>(load(g.zeros + at)) : 0.0f;
}

// Goes through the columns [first, last) of the 128 from `start`; preview leaves them unrounded and
// widens the range, otherwise codes and values are stored. D of every column goes to memory.
template <bool preview>
__device__ void go_through(const solve_task& g, const block_memory& m, float* d, int64_t row,
                           int64_t start, int first, int last, scale_of_row* s, columns* c) {
  const int me = static_cast<int>(threadIdx.x);
  const int local = me / row_threads, e = me % row_threads;
  const int lane_of_row = me % warp_size / row_threads * row_threads;
  const float low = code_low(g.bits), high = code_high(g.bits), shifter = tie_shifter(g.bits);
  ESP_UNROLL
  for (int i = 0; i < mine; i++) {
    if (8 * i + 8 <= first || 8 * i >= last) continue;  // the same for all
    const int begin = first > 8 * i ? first - 8 * i : 0, end = last < 8 * i + 8 ? last - 8 * i : 8;
    for (int owner = begin; owner < end; owner++) {
      const int j = 8 * i + owner;
      const int64_t column = start + j;
      const float update = c->p[i] * shared_load(m.inverse + j);
      const float w = c->w[i] + update;
      float difference = -update;
      if (!preview) {
        // Every thread of the row goes along, so that the warp stays together; the owner's counts.
        if (g.fixed != nullptr) known_scale(g, row, load(g.fixed + column), s);
        const float q = quantize_code(w, s->scale, s->zero, low, high, shifter);
        const float value = s->scale * (q - s->zero);
        difference = c->w[i] - value;
        if (e == owner && row < g.rows) {
          store(g.w + row * g.cols + column, value);
          store(g.codes + row * g.cols + column, static_cast<int8_t>(q));
        }
      } else if (e == owner) {
        s->low = w < s->low ? w : s->low;
        s->high = w > s->high ? w : s->high;
      }
      if (e == owner) store(d + column * tile_rows + local, difference);
      difference = ptx::shuffle(difference, lane_of_row + owner);
      ESP_UNROLL
      for (int k = i; k < mine; k++)
        c->p[k] = fmaf(difference, shared_load(m.u + j * width + 8 * k + e), c->p[k]);
    }
  }
}

__device__ __forceinline__ void begin_range(scale_of_row* s) {
  s->low = s->high = 0.0f;
}

// Scale and zero of group `index` from the ranges of the eight threads of the row.
__device__ __forceinline__ void finish_range(const solve_task& g, int64_t row, int64_t index,
                                             scale_of_row* s) {
  for (int distance = 1; distance < row_threads; distance *= 2) {
    const float low = ptx::shuffle_xor(s->low, distance),
                high = ptx::shuffle_xor(s->high, distance);
    s->low = low < s->low ? low : s->low;
    s->high = high > s->high ? high : s->high;
  }
  affine_of_range(s->low, s->high, g.bits, g.symmetric, g.dtype, false, &s->scale, &s->zero);
  if (threadIdx.x % row_threads == 0 && row < g.rows) {
    const int64_t at = row * (g.cols / g.group) + index;
    store(g.scales + at, s->scale);
    store(g.zeros + at, static_cast<int8_t>(s->zero));
  }
}

__global__ void __launch_bounds__(threads, 1) solve_kernel(solve_task g) {
  block_memory m;
  m.u = reinterpret_cast<float*>(shared_memory());
  m.inverse = m.u + width * width;
  m.stages = m.inverse + width;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * tile_rows + threadIdx.x / row_threads;
  float* const d = g.d + static_cast<int64_t>(blockIdx.x) * g.cols * tile_rows;
  scale_of_row s{1.0f, 0.0f, 0.0f, 0.0f};
  columns c;
  const auto columns_at = [&](int64_t start) {
    return static_cast<int>(min_of(width, g.cols - start));
  };
  if (!g.own) {
    if (g.fixed == nullptr) known_scale(g, row, 0, &s);  // one scale a row
    for (int64_t start = 0; start < g.cols; start += width) {
      load_columns(g, m, d, row, start, &c);
      go_through<false>(g, m, d, row, start, 0, columns_at(start), &s, &c);
    }
  } else if (g.group <= width) {  // whole groups a block
    for (int64_t start = 0; start < g.cols; start += width) {
      load_columns(g, m, d, row, start, &c);
      for (int first = 0; first < columns_at(start); first += static_cast<int>(g.group)) {
        const int last = first + static_cast<int>(g.group);
        columns unrounded = c;
        begin_range(&s);
        go_through<true>(g, m, d, row, start, first, last, &s, &unrounded);
        finish_range(g, row, (start + first) / g.group, &s);
        go_through<false>(g, m, d, row, start, first, last, &s, &c);
      }
    }
  } else {  // whole blocks a group: all are previewed, then all are rounded
    for (int64_t from = 0; from < g.cols; from += g.group) {
      begin_range(&s);
      for (int64_t start = from; start < from + g.group; start += width) {
        load_columns(g, m, d, row, start, &c);
        go_through<true>(g, m, d, row, start, 0, columns_at(start), &s, &c);
      }
      finish_range(g, row, from / g.group, &s);
      for (int64_t start = from; start < from + g.group; start += width) {
        load_columns(g, m, d, row, start, &c);
        go_through<false>(g, m, d, row, start, 0, columns_at(start), &s, &c);
      }
    }
  }
}

// The upper triangle of u [cols, cols] in fp32, zeros elsewhere in [wide, wide].
__global__ void __launch_bounds__(threads)
    narrow_kernel(int64_t cols, int64_t wide, const double* u, float* to) {
  const int64_t c = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (c >= wide) return;
  for (int64_t r = blockIdx.y; r < wide; r += gridDim.y)
    store(to + r * wide + c,
          r <= c && c < cols ? static_cast<float>(load(u + r * cols + c)) : 0.0f);
}

int64_t wide_of(int64_t cols) {
  return ceil_div(cols, width) * width;
}

}  // namespace

int64_t gptq_work_bytes(int64_t rows, int64_t cols) {
  return 4 * (wide_of(cols) * wide_of(cols) + ceil_div(rows, tile_rows) * tile_rows * cols);
}

esp_status gptq_solve(esp_cuda_stream* s, int64_t rows, int64_t cols, float* d_w, const double* d_u,
                      int32_t bits, int32_t symmetric, int64_t group, const int32_t* d_fixed_group,
                      esp_dtype scale_dtype, float* d_scales, int8_t* d_zeros, int8_t* d_codes,
                      void* d_work) {
  const char* const op = "gptq_solve";
  ESP_CUDA_REQUIRE(op, s != nullptr, "a stream", s != nullptr);
  ESP_CUDA_REQUIRE(op, rows >= 0, "rows >= 0", rows);
  ESP_CUDA_REQUIRE(op, cols >= 0, "cols >= 0", cols);
  ESP_CUDA_REQUIRE(op, bits >= 2 && bits <= 8, "2..8", bits);
  ESP_CUDA_REQUIRE(op, is_scale_dtype(scale_dtype), "F32, F16, BF16 or BF16_AND_F16", scale_dtype);
  if (rows == 0 || cols == 0) return ESP_OK;
  ESP_CUDA_REQUIRE(op, group > 0 && cols % group == 0, "a divisor of cols", group);
  const bool own = d_fixed_group == nullptr && group < cols;
  ESP_CUDA_REQUIRE(op, !own || width % group == 0 || group % width == 0,
                   "a divisor or a multiple of 128, or cols", group);
  ESP_CUDA_REQUIRE(op,
                   d_w != nullptr && d_u != nullptr && d_scales != nullptr && d_codes != nullptr &&
                       d_work != nullptr,
                   "addresses", 0);
  ESP_CUDA_REQUIRE(op, d_zeros != nullptr || (d_fixed_group != nullptr && symmetric), "an address",
                   d_zeros != nullptr);
  if (d_fixed_group == nullptr && group == cols) {  // from the weights as they came
    const esp_status status = quantize_range(s, rows, cols, d_w, cols, bits, symmetric, group,
                                             scale_dtype, 0, d_scales, d_zeros);
    if (status != ESP_OK) return status;
  }
  const int64_t wide = wide_of(cols);
  float* const u = static_cast<float*>(d_work);
  ESP_CUDA_CALL(op, launch(narrow_kernel,
                           dim3(static_cast<unsigned int>(ceil_div(wide, threads)),
                                static_cast<unsigned int>(min_of(wide, 65535))),
                           dim3(threads), 0, s->handle, cols, wide, d_u, u));
  const solve_task task{rows,     cols,          wide,   d_w,  u,         u + wide * wide,
                        group,    d_fixed_group, own,    bits, symmetric, scale_dtype,
                        d_scales, d_zeros,       d_codes};
  return told(op, launch(solve_kernel, dim3(static_cast<unsigned int>(ceil_div(rows, tile_rows))),
                         dim3(threads), shared_bytes, s->handle, task));
}

}  // namespace cuda
}  // namespace esp
