// SPDX-License-Identifier: Apache-2.0
//
// What every CUDA source begins with. Kernels are compiled twice: by nvcc, and by g++ against
// tests/native/cuda_emulation, whose <cuda_runtime.h> stands for the real one. So that both can:
//  * a kernel starts through esp::launch only, and every array it shares lies in shared_memory():
//    there is no __shared__ variable, and the emulation can poison and guard the whole of it;
//  * what has no CUDA C++ spelling is a wrapper of ptx.h: nothing else contains asm;
//  * global memory is read and written through load and store, which the emulation counts.
//
// Nothing is contracted (-fmad=false): a fused multiply-add is spelt fmaf.
#ifndef ESPALIER_CUDA_DEVICE_H
#define ESPALIER_CUDA_DEVICE_H

#include <stdint.h>

#include <cuda_runtime.h>

namespace esp {

constexpr int warp_size = 32;
constexpr uint32_t whole_warp = 0xffffffffu;

constexpr __host__ __device__ int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
constexpr __host__ __device__ int64_t min_of(int64_t a, int64_t b) {
  return a < b ? a : b;
}
constexpr __host__ __device__ int64_t max_of(int64_t a, int64_t b) {
  return a > b ? a : b;
}

// A parameter whose type comes from elsewhere.
template <class T>
struct same {
  using type = T;
};
template <class T>
using given = typename same<T>::type;

// Before a loop whose counter must become a constant, since it numbers registers.
#if defined(__CUDACC__)
#define ESP_UNROLL _Pragma("unroll")
#else
#define ESP_UNROLL
#endif

#if defined(ESPALIER_EMULATED)

// kernel(arguments...) on a grid of blocks with `shared` bytes of shared memory: queued on the
// stream, run when the host waits for it.
template <class... P>
inline cudaError_t launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared,
                          cudaStream_t stream, given<P>... arguments) {
  return cuda_emulation::enqueue(stream, [=] {
    return cuda_emulation::run(grid, block, shared, [=] { kernel(arguments...); });
  });
}

inline unsigned char* shared_memory() {
  return cuda_emulation::shared_memory();
}

// A load or store of global memory of 1, 2, 4, 8 or 16 bytes, aligned to its size.
template <class T>
inline T load(const T* from, int line = __builtin_LINE()) {
  cuda_emulation::touch(cuda_emulation::access::global_load, from, sizeof(T), line);
  return *from;
}
template <class T>
inline void store(T* to, const T& value, int line = __builtin_LINE()) {
  cuda_emulation::touch(cuda_emulation::access::global_store, to, sizeof(T), line);
  *to = value;
}
// The same of shared memory, where bank conflicts are counted.
template <class T>
inline T shared_load(const T* from, int line = __builtin_LINE()) {
  cuda_emulation::touch(cuda_emulation::access::shared_load, from, sizeof(T), line);
  return *from;
}
template <class T>
inline void shared_store(T* to, const T& value, int line = __builtin_LINE()) {
  cuda_emulation::touch(cuda_emulation::access::shared_store, to, sizeof(T), line);
  *to = value;
}

#else

// More than 48 KB of shared memory is asked for by an attribute of the kernel.
template <class... P>
inline cudaError_t launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared,
                          cudaStream_t stream, given<P>... arguments) {
  const void* const function = reinterpret_cast<const void*>(kernel);
  if (shared > 48 * 1024) {
    const cudaError_t status = cudaFuncSetAttribute(
        function, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared));
    if (status != cudaSuccess) return status;
  }
  void* list[] = {static_cast<void*>(&arguments)...};
  return cudaLaunchKernel(function, grid, block, list, shared, stream);
}

__device__ __forceinline__ unsigned char* shared_memory() {
  extern __shared__ __align__(1024) unsigned char espalier_shared[];
  return espalier_shared;
}

template <class T>
__device__ __forceinline__ T load(const T* from) {
  return *from;
}
template <class T>
__device__ __forceinline__ void store(T* to, const T& value) {
  *to = value;
}
template <class T>
__device__ __forceinline__ T shared_load(const T* from) {
  return *from;
}
template <class T>
__device__ __forceinline__ void shared_store(T* to, const T& value) {
  *to = value;
}

#endif

}  // namespace esp

#endif  // ESPALIER_CUDA_DEVICE_H
