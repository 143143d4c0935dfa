// SPDX-License-Identifier: Apache-2.0
//
// What      The reversed Cholesky factor h = U U^T, U upper, as native/src/cholesky.cpp has it:
// block
//           columns of 64 from the last to the first, three kernels each,
//             diagonal   U_bb and its inverse of what is left of h_bb
//             panel      U_ib = h_ib U_bb^-T for the rows above
//             leading    h_ij -= U_ib U_jb^T for all i <= j above
// Layout    h [n, n] fp64, upper triangle. While a block column is worked on, the strict lower
//           triangle of its diagonal cell keeps the inverse, transposed; it ends as zeros.
//           In shared memory a cell is [64, 68]: rows 136 words apart, so that the 4 rows of 4
//           doubles that half a warp reads for an MMA lie in 32 different banks.
// Tile      diagonal: one block of 256. panel, leading: a cell of 64 x 64 a block, four warps of
//           32 x 32, fp64 MMAs of 8 x 8 x 4.
// Roof      MMAs: n^3 / 6 multiply-adds in fp64 on tensor cores, as fast there as fp32 elsewhere;
//           for small n the chain of n / 64 diagonal cells.
// Numerics  fp64 throughout. A pivot that is not positive stops the rest, on the device: *pivot
//           tells, no host waits.
// Needs     sm_80; 68 KiB of shared memory.
// Tail      cells past n are filled up with the identity.
#include <math.h>

#include "cuda/ptx.h"
#include "entries.h"

namespace esp {
namespace cuda {
namespace {

constexpr int cell = 64;
constexpr int pitch = 68;  // doubles from row to row
constexpr int diagonal_threads = 256, product_threads = 128;
constexpr int cell_bytes = cell * pitch * 8;

struct factor_task {
  int64_t n, start;  // first column of the block column
  double* h;
  int64_t* pivot;
};

// What of row r, column c of the cell at (top, left) is stored: the upper triangle, else identity.
__device__ __forceinline__ void load_cell(const factor_task& f, int64_t top, int64_t left,
                                          double* to) {
  for (int i = static_cast<int>(threadIdx.x); i < cell * cell; i += static_cast<int>(blockDim.x)) {
    const int64_t r = top + i / cell, c = left + i % cell;
    double value = r == c ? 1.0 : 0.0;
    if (r <= c && c < f.n) value = load(f.h + r * f.n + c);
    shared_store(to + i / cell * pitch + i % cell, value);
  }
}

__global__ void pivot_kernel(int64_t* pivot) {
  if (threadIdx.x == 0) *pivot = -1;
}

__global__ void __launch_bounds__(diagonal_threads) diagonal_kernel(factor_task f) {
  if (load(f.pivot) >= 0) return;
  double* const u = reinterpret_cast<double*>(shared_memory());
  double* const inverse = u + cell * pitch;
  const int me = static_cast<int>(threadIdx.x);
  load_cell(f, f.start, f.start, u);
  __syncthreads();
  for (int j = cell - 1; j >= 0; j--) {
    const double left = u[j * pitch + j];
    // The same value for every thread: all go, or none.
    if (!(left > 0.0) || left > 1.7976931348623157e308) {
      if (me == 0) store(f.pivot, f.start + j);
      return;
    }
    const double root = sqrt(left);
    __syncthreads();
    for (int r = me; r <= j; r += diagonal_threads)
      u[r * pitch + j] = r == j ? root : u[r * pitch + j] / root;
    __syncthreads();
    for (int i = me; i < j * cell; i += diagonal_threads) {
      const int r = i / cell, c = i % cell;
      if (r <= c && c < j) u[r * pitch + c] -= u[r * pitch + j] * u[c * pitch + j];
    }
    __syncthreads();
  }
  // Column k of the inverse, from the diagonal up, a thread a column.
  if (me < cell) {
    for (int i = cell - 1; i > me; i--) inverse[i * pitch + me] = 0.0;
    inverse[me * pitch + me] = 1.0 / u[me * pitch + me];
    for (int i = me - 1; i >= 0; i--) {
      double sum = 0.0;
      for (int p = i + 1; p <= me; p++) sum = fma(u[i * pitch + p], inverse[p * pitch + me], sum);
      inverse[i * pitch + me] = -sum / u[i * pitch + i];
    }
  }
  __syncthreads();
  for (int i = me; i < cell * cell; i += diagonal_threads) {
    const int r = i / cell, c = i % cell;
    if (f.start + r >= f.n || f.start + c >= f.n) continue;
    store(f.h + (f.start + r) * f.n + f.start + c,
          r <= c ? u[r * pitch + c] : inverse[c * pitch + r]);
  }
}

// sums += a b^T of two cells in shared memory, for the 32 x 32 of this warp. Accumulator (i, j):
// rows 8 i + lane / 4, columns 8 j + 2 (lane % 4) and the next.
__device__ __forceinline__ void multiply(const double* a, const double* b,
                                         double (&sums)[4][4][2]) {
  const int lane = static_cast<int>(threadIdx.x % warp_size);
  const int warp = static_cast<int>(threadIdx.x / warp_size);
  const double* const rows = a + (warp / 2 * 32 + lane / 4) * pitch + lane % 4;
  const double* const columns = b + (warp % 2 * 32 + lane / 4) * pitch + lane % 4;
  for (int k = 0; k < cell; k += 4) {
    double x[4], y[4];
    ESP_UNROLL
    for (int i = 0; i < 4; i++) {
      x[i] = shared_load(rows + 8 * i * pitch + k);
      y[i] = shared_load(columns + 8 * i * pitch + k);
    }
    ESP_UNROLL
    for (int i = 0; i < 4; i++) {
      ESP_UNROLL
      for (int j = 0; j < 4; j++) ptx::mma_f64(sums[i][j], x[i], y[j]);
    }
  }
}

// Runs act(row, column, value) for the sums of this warp.
template <class F>
__device__ __forceinline__ void each_sum(const double (&sums)[4][4][2], const F& act) {
  const int lane = static_cast<int>(threadIdx.x % warp_size);
  const int warp = static_cast<int>(threadIdx.x / warp_size);
  ESP_UNROLL
  for (int i = 0; i < 4; i++) {
    ESP_UNROLL
    for (int j = 0; j < 4; j++) {
      ESP_UNROLL
      for (int e = 0; e < 2; e++)
        act(warp / 2 * 32 + 8 * i + lane / 4, warp % 2 * 32 + 8 * j + 2 * (lane % 4) + e,
            sums[i][j][e]);
    }
  }
}

// Block b: the 64 rows from 64 b on.
__global__ void __launch_bounds__(product_threads) panel_kernel(factor_task f) {
  if (load(f.pivot) >= 0) return;
  double* const a = reinterpret_cast<double*>(shared_memory());
  double* const inverse = a + cell * pitch;
  const int64_t top = static_cast<int64_t>(blockIdx.x) * cell;
  for (int i = static_cast<int>(threadIdx.x); i < cell * cell; i += product_threads) {
    const int r = i / cell, c = i % cell;
    const bool inside = f.start + r < f.n && f.start + c < f.n;
    shared_store(a + r * pitch + c,
                 f.start + c < f.n ? load(f.h + (top + r) * f.n + f.start + c) : 0.0);
    // Row r, column c <= r of the diagonal cell keep column r, row c of the inverse.
    double value = r == c ? 1.0 : 0.0;
    if (inside && c <= r) {
      value = load(f.h + (f.start + r) * f.n + f.start + c);
      if (r == c) value = 1.0 / value;
    }
    if (c <= r) shared_store(inverse + c * pitch + r, value);
    if (c < r) shared_store(inverse + r * pitch + c, 0.0);
  }
  __syncthreads();
  double sums[4][4][2] = {};
  multiply(a, inverse, sums);
  each_sum(sums, [&](int r, int c, double value) {
    if (f.start + c < f.n) store(f.h + (top + r) * f.n + f.start + c, value);
  });
}

// Block t: cell t of the upper triangle above the block column.
__global__ void __launch_bounds__(product_threads) leading_kernel(factor_task f) {
  if (load(f.pivot) >= 0) return;
  int64_t column = 0, before = 0;
  while (before + column + 1 <= blockIdx.x) before += ++column;
  const int64_t top = (blockIdx.x - before) * cell, left = column * cell;
  double* const a = reinterpret_cast<double*>(shared_memory());
  double* const b = a + cell * pitch;
  for (int i = static_cast<int>(threadIdx.x); i < cell * cell; i += product_threads) {
    const int r = i / cell, c = i % cell;
    const bool inside = f.start + c < f.n;
    shared_store(a + r * pitch + c, inside ? load(f.h + (top + r) * f.n + f.start + c) : 0.0);
    shared_store(b + r * pitch + c, inside ? load(f.h + (left + r) * f.n + f.start + c) : 0.0);
  }
  __syncthreads();
  double sums[4][4][2] = {};
  multiply(a, b, sums);
  each_sum(sums, [&](int r, int c, double value) {
    double* const at = f.h + (top + r) * f.n + left + c;
    if (top + r <= left + c) store(at, load(at) - value);
  });
}

// Zeros where the inverses were.
__global__ void __launch_bounds__(diagonal_threads) clear_kernel(factor_task f) {
  const int64_t start = static_cast<int64_t>(blockIdx.x) * cell;
  for (int i = static_cast<int>(threadIdx.x); i < cell * cell; i += diagonal_threads) {
    const int r = i / cell, c = i % cell;
    if (c < r && start + r < f.n) store(f.h + (start + r) * f.n + start + c, 0.0);
  }
}

}  // namespace

esp_status cholesky_reversed(esp_cuda_stream* s, int64_t n, double* d_h, int64_t* d_pivot) {
  const char* const op = "cholesky_reversed";
  ESP_CUDA_REQUIRE(op, s != nullptr, "a stream", s != nullptr);
  ESP_CUDA_REQUIRE(op, n >= 0, "n >= 0", n);
  ESP_CUDA_REQUIRE(op, d_pivot != nullptr, "an address", d_pivot != nullptr);
  ESP_CUDA_CALL(op, launch(pivot_kernel, dim3(1), dim3(warp_size), 0, s->handle, d_pivot));
  if (n == 0) return ESP_OK;
  ESP_CUDA_REQUIRE(op, d_h != nullptr, "an address", d_h != nullptr);
  const int64_t cells = ceil_div(n, cell);
  for (int64_t b = cells - 1; b >= 0; b--) {
    const factor_task task{n, b * cell, d_h, d_pivot};
    ESP_CUDA_CALL(op, launch(diagonal_kernel, dim3(1), dim3(diagonal_threads), 2 * cell_bytes,
                             s->handle, task));
    if (b == 0) break;
    ESP_CUDA_CALL(op, launch(panel_kernel, dim3(static_cast<unsigned int>(b)),
                             dim3(product_threads), 2 * cell_bytes, s->handle, task));
    ESP_CUDA_CALL(op, launch(leading_kernel, dim3(static_cast<unsigned int>(b * (b + 1) / 2)),
                             dim3(product_threads), 2 * cell_bytes, s->handle, task));
  }
  return told(op, launch(clear_kernel, dim3(static_cast<unsigned int>(cells)),
                         dim3(diagonal_threads), 0, s->handle, factor_task{n, 0, d_h, d_pivot}));
}

}  // namespace cuda
}  // namespace esp
