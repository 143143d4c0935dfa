// SPDX-License-Identifier: Apache-2.0
//
// Stands for CUDA's <cuda_runtime.h> under the host emulation: the keywords, vector types,
// intrinsics and runtime calls that Espalier's sources use, and no others.
#ifndef ESPALIER_CUDA_EMULATION_RUNTIME_H
#define ESPALIER_CUDA_EMULATION_RUNTIME_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <functional>

#include "engine.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __restrict__ __restrict

struct alignas(8) uint2 {
  uint32_t x, y;
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};
inline uint2 make_uint2(uint32_t x, uint32_t y) {
  return {x, y};
}
inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) {
  return {x, y, z, w};
}
inline float2 make_float2(float x, float y) {
  return {x, y};
}
inline float4 make_float4(float x, float y, float z, float w) {
  return {x, y, z, w};
}
inline double2 make_double2(double x, double y) {
  return {x, y};
}

#define threadIdx (::cuda_emulation::running->thread)
#define blockIdx (::cuda_emulation::running->home->index)
#define blockDim (::cuda_emulation::running->home->threads)
#define gridDim (::cuda_emulation::running->home->grid)

// ---- intrinsics

inline void __syncthreads() {
  cuda_emulation::barrier(0, cuda_emulation::running->home->count);
}
inline void __syncwarp(uint32_t mask = 0xffffffffu) {
  cuda_emulation::warp_together(
      mask, [](void* const*) {}, nullptr);
}
inline void __threadfence() {}

inline float __uint_as_float(uint32_t u) {
  float f;
  memcpy(&f, &u, sizeof f);
  return f;
}
inline uint32_t __float_as_uint(float f) {
  uint32_t u;
  memcpy(&u, &f, sizeof u);
  return u;
}
inline int __popc(uint32_t x) {
  return __builtin_popcount(x);
}
inline int __ffs(uint32_t x) {
  return __builtin_ffs(static_cast<int>(x));
}
template <class T>
inline T atomicAdd(T* at, T value) {
  const T before = *at;
  *at = before + value;
  return before;
}
template <class T>
inline T atomicMin(T* at, T value) {
  const T before = *at;
  if (value < before) *at = value;
  return before;
}
template <class T>
inline T atomicMax(T* at, T value) {
  const T before = *at;
  if (value > before) *at = value;
  return before;
}

// ---- runtime

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorInsufficientDriver = 35,
  cudaErrorLaunchFailure = 719
};
enum cudaMemcpyKind {
  cudaMemcpyHostToDevice = 1,
  cudaMemcpyDeviceToHost = 2,
  cudaMemcpyDeviceToDevice = 3,
  cudaMemcpyDefault = 4
};
constexpr unsigned int cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2,
                       cudaHostAllocDefault = 0;

namespace cuda_emulation {
struct stream;
struct event;
// Queues work; the stream keeps the first failure.
cudaError_t enqueue(stream* s, std::function<cudaError_t()> work);
cudaError_t run(dim3 grid, dim3 threads, size_t shared, const std::function<void()>& body);
}  // namespace cuda_emulation

using cudaStream_t = cuda_emulation::stream*;
using cudaEvent_t = cuda_emulation::event*;

struct cudaDeviceProp {
  char name[256];
  int major, minor, multiProcessorCount;
  size_t totalGlobalMem, sharedMemPerBlockOptin;
};

cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* to, int device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaMemGetInfo(size_t* free, size_t* total);
cudaError_t cudaMalloc(void** to, size_t bytes);
cudaError_t cudaFree(void* p);
cudaError_t cudaHostAlloc(void** to, size_t bytes, unsigned int flags);
cudaError_t cudaFreeHost(void* p);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* to, unsigned int flags);
cudaError_t cudaStreamDestroy(cudaStream_t s);
cudaError_t cudaStreamSynchronize(cudaStream_t s);
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned int flags);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* to, unsigned int flags);
cudaError_t cudaEventDestroy(cudaEvent_t e);
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t s);
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t s);
cudaError_t cudaGetLastError();
const char* cudaGetErrorString(cudaError_t status);

#endif  // ESPALIER_CUDA_EMULATION_RUNTIME_H
