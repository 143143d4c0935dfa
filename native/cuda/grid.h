// SPDX-License-Identifier: Apache-2.0
//
// The grid of kernels that go over the elements of a matrix: a thread for each `step` columns of a
// row, x along the row, y over the rows.
#ifndef ESPALIER_CUDA_GRID_H
#define ESPALIER_CUDA_GRID_H

#include "cuda/device.h"

namespace esp {
namespace cuda {

constexpr uint32_t element_threads = 256;
constexpr int64_t most_grid_rows = 65535;  // of the y dimension

inline dim3 element_grid(int64_t rows, int64_t cols, int64_t step) {
  return dim3(static_cast<unsigned int>(ceil_div(ceil_div(cols, step), element_threads)),
              static_cast<unsigned int>(min_of(rows, most_grid_rows)));
}

// Runs act(row, first column) for what this thread has.
template <class F>
__device__ __forceinline__ void each_element(int64_t rows, int64_t cols, int64_t step,
                                             const F& act) {
  const int64_t c = (static_cast<int64_t>(blockIdx.x) * element_threads + threadIdx.x) * step;
  if (c >= cols) return;
  for (int64_t r = blockIdx.y; r < rows; r += gridDim.y) act(r, c);
}

}  // namespace cuda
}  // namespace esp

#endif  // ESPALIER_CUDA_GRID_H
