// SPDX-License-Identifier: Apache-2.0
//
// What      One wrapper of ptx.h executed on registers that the caller gives, so that a test can
//           say where every element goes: on a device, and in the emulation on what a device said.
// Layout    32-bit words, lane by lane:
//   ldmatrix.xN[.trans]     in: N matrices of 8 rows of 16 bytes        out: registers [32, N]
//   stmatrix.x4[.trans]     in: registers [32, 4]                       out: 4 matrices
//   movmatrix               in: [32]                                    out: [32]
//   mma.bf16|f16|s8         in: a [32, 4], b [32, 2], d [32, 4]         out: d
//   mma.sp.bf16.0|1, mma.sp.s8    a [32, 4], b [32, 4], d [32, 4], metadata [32]    out: d
//   mma.f64                 in: a [32], b [32], d [32, 2] (fp64)        out: d
//   copy.4|8|16             in: 32 x 16 bytes, valid [32]               out: 32 x 16 bytes
//   bulk                    in: 512 bytes                               out: 512 bytes
//   wgmma.nN.rs             in: leading, stride, mode of b, add, leading, stride, mode of a, words
//                               from the beginning of both operands, a [128, 4], a as it lies in
//                               shared memory (8 KiB), b as it lies (128 N bytes), d [128, N / 2]
//   wgmma.nN.ss             the same, a taken from shared memory        out: d
//   shuffle                 in: value [32], lane [32]                   out: [32]
// Needs     sm_80; stmatrix, bulk and wgmma sm_90a.
#include <string.h>

#include "cuda/ptx.h"
#include "entries.h"

namespace esp {
namespace cuda {
namespace {

template <int n>
__device__ __forceinline__ void take(uint32_t (&to)[n], const uint32_t*& from) {
  for (int i = 0; i < n; i++) to[i] = from[threadIdx.x * n + i];
  from += blockDim.x * n;
}
template <int n>
__device__ __forceinline__ void give(uint32_t* to, const uint32_t (&from)[n]) {
  for (int i = 0; i < n; i++) to[threadIdx.x * n + i] = from[i];
}
template <class T>
__device__ __forceinline__ T word_as(uint32_t word) {
  T value;
  memcpy(&value, &word, sizeof value);
  return value;
}

template <int n, bool transposed>
__global__ void ldmatrix_probe(const uint32_t* in, uint32_t* out) {
  uint32_t* const image = reinterpret_cast<uint32_t*>(shared_memory());
  for (int i = threadIdx.x; i < n * 32; i += warp_size) image[i] = in[i];
  __syncthreads();
  uint32_t r[n];
  const uint32_t* const row = image + 4 * (threadIdx.x % (8 * n));
  if (transposed) {
    ptx::ldmatrix_transposed(r, row);
  } else {
    ptx::ldmatrix(r, row);
  }
  give(out, r);
}

__global__ void movmatrix_probe(const uint32_t* in, uint32_t* out) {
  out[threadIdx.x] = ptx::transpose(in[threadIdx.x]);
}

__global__ void shuffle_probe(const uint32_t* in, uint32_t* out) {
  out[threadIdx.x] = ptx::shuffle(in[threadIdx.x], static_cast<int>(in[32 + threadIdx.x]));
}

enum class dense { bf16, f16, s8 };

template <dense type>
__global__ void mma_probe(const uint32_t* in, uint32_t* out) {
  uint32_t a[4], b[2], given[4];
  take(a, in);
  take(b, in);
  take(given, in);
  if (type == dense::s8) {
    int32_t d[4];
    for (int i = 0; i < 4; i++) d[i] = static_cast<int32_t>(given[i]);
    ptx::mma_s8(d, a, b);
    for (int i = 0; i < 4; i++) given[i] = static_cast<uint32_t>(d[i]);
  } else {
    float d[4];
    for (int i = 0; i < 4; i++) d[i] = word_as<float>(given[i]);
    if (type == dense::bf16) {
      ptx::mma_bf16(d, a, b);
    } else {
      ptx::mma_f16(d, a, b);
    }
    for (int i = 0; i < 4; i++) given[i] = __float_as_uint(d[i]);
  }
  give(out, given);
}

template <bool bytes, int selector>
__global__ void sparse_probe(const uint32_t* in, uint32_t* out) {
  uint32_t a[4], b[4], given[4], metadata[1];
  take(a, in);
  take(b, in);
  take(given, in);
  take(metadata, in);
  if (bytes) {
    int32_t d[4];
    for (int i = 0; i < 4; i++) d[i] = static_cast<int32_t>(given[i]);
    ptx::mma_sparse_s8(d, a, b, metadata[0]);
    for (int i = 0; i < 4; i++) given[i] = static_cast<uint32_t>(d[i]);
  } else {
    float d[4];
    for (int i = 0; i < 4; i++) d[i] = word_as<float>(given[i]);
    ptx::mma_sparse_bf16<selector>(d, a, b, metadata[0]);
    for (int i = 0; i < 4; i++) given[i] = __float_as_uint(d[i]);
  }
  give(out, given);
}

__global__ void f64_probe(const uint32_t* in, uint32_t* out) {
  const double* const from = reinterpret_cast<const double*>(in);
  double* const to = reinterpret_cast<double*>(out);
  const int l = static_cast<int>(threadIdx.x);
  double d[2] = {from[64 + 2 * l], from[65 + 2 * l]};
  ptx::mma_f64(d, from[l], from[32 + l]);
  to[2 * l] = d[0];
  to[2 * l + 1] = d[1];
}

template <int bytes>
__global__ void copy_probe(const uint32_t* in, uint32_t* out) {
  uint32_t* const mine = reinterpret_cast<uint32_t*>(shared_memory()) + 4 * threadIdx.x;
  for (int i = 0; i < 4; i++) mine[i] = 0;
  ptx::copy_async<bytes>(mine, in + 4 * threadIdx.x, static_cast<int>(in[128 + threadIdx.x]));
  ptx::copy_commit();
  ptx::copy_wait<0>();
  for (int i = 0; i < 4; i++) out[4 * threadIdx.x + i] = mine[i];
}

// The bodies of kernels that are launched on sm_90a only.
#if defined(ESP_HOPPER)
#define ESP_ON_HOPPER(...) __VA_ARGS__
#else
#define ESP_ON_HOPPER(...)
#endif

template <bool transposed>
__global__ void stmatrix_probe([[maybe_unused]] const uint32_t* in,
                               [[maybe_unused]] uint32_t* out){ESP_ON_HOPPER({
  uint32_t* const image = reinterpret_cast<uint32_t*>(shared_memory());
  uint32_t r[4];
  take(r, in);
  if (transposed) {
    ptx::stmatrix_transposed(image + 4 * threadIdx.x, r);
  } else {
    ptx::stmatrix(image + 4 * threadIdx.x, r);
  }
  __syncthreads();
  for (int i = 0; i < 4; i++) out[4 * threadIdx.x + i] = image[4 * threadIdx.x + i];
})}

__global__ void bulk_probe([[maybe_unused]] const uint32_t* in, [[maybe_unused]] uint32_t* out) {
  ESP_ON_HOPPER({
    uint32_t* const image = reinterpret_cast<uint32_t*>(shared_memory());
    uint64_t* const barrier = reinterpret_cast<uint64_t*>(image + 128);
    if (threadIdx.x == 0) {
      ptx::barrier_make(barrier, 1);
      ptx::barrier_visible();
    }
    __syncthreads();
    for (uint32_t half = 0; half < 2; half++) {  // two phases
      if (threadIdx.x == 0) {
        ptx::barrier_expect(barrier, 256);
        ptx::copy_bulk(image + 64 * half, in + 64 * half, 256, barrier);
      }
      ptx::barrier_wait(barrier, half);
      for (uint32_t i = threadIdx.x; i < 64; i += warp_size)
        out[64 * half + i] = image[64 * half + i];
      __syncthreads();
    }
  })
}

template <int n, bool shared_a>
__global__ void wgmma_probe([[maybe_unused]] const uint32_t* in, [[maybe_unused]] uint32_t* out) {
  ESP_ON_HOPPER({
    uint32_t* const a_image = reinterpret_cast<uint32_t*>(shared_memory());
    uint32_t* const b_image = a_image + 64 * 32;
    const uint32_t* const fields = in;
    in += 8;
    uint32_t a[4];
    take(a, in);
    for (uint32_t i = threadIdx.x; i < 64 * 32; i += 128) a_image[i] = in[i];
    in += 64 * 32;
    for (uint32_t i = threadIdx.x; i < n * 32; i += 128) b_image[i] = in[i];
    in += n * 32;
    float d[n / 2];
    for (int i = 0; i < n / 2; i++) d[i] = word_as<float>(in[threadIdx.x * (n / 2) + i]);
    ptx::fence_async();
    __syncthreads();
    const uint64_t b = ptx::wgmma_operand(b_image + fields[7], fields[0], fields[1], fields[2]);
    ptx::wgmma_fence();
    if (shared_a) {
      ptx::wgmma_bf16<n>::run(
          d, ptx::wgmma_operand(a_image + fields[7], fields[4], fields[5], fields[6]), b,
          fields[3] != 0);
    } else {
      ptx::wgmma_bf16<n>::run(d, a, b, fields[3] != 0);
    }
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    for (int i = 0; i < n / 2; i++) out[threadIdx.x * (n / 2) + i] = __float_as_uint(d[i]);
  })
}

struct instruction {
  const char* name;
  void (*kernel)(const uint32_t*, uint32_t*);
  uint32_t threads, shared_bytes;
  int32_t capability;
};

const instruction instructions[] = {
    {"ldmatrix.x1", ldmatrix_probe<1, false>, 32, 512, 80},
    {"ldmatrix.x2", ldmatrix_probe<2, false>, 32, 512, 80},
    {"ldmatrix.x4", ldmatrix_probe<4, false>, 32, 512, 80},
    {"ldmatrix.x1.trans", ldmatrix_probe<1, true>, 32, 512, 80},
    {"ldmatrix.x2.trans", ldmatrix_probe<2, true>, 32, 512, 80},
    {"ldmatrix.x4.trans", ldmatrix_probe<4, true>, 32, 512, 80},
    {"movmatrix", movmatrix_probe, 32, 0, 80},
    {"shuffle", shuffle_probe, 32, 0, 80},
    {"mma.bf16", mma_probe<dense::bf16>, 32, 0, 80},
    {"mma.f16", mma_probe<dense::f16>, 32, 0, 80},
    {"mma.s8", mma_probe<dense::s8>, 32, 0, 80},
    {"mma.sp.bf16.0", sparse_probe<false, 0>, 32, 0, 80},
    {"mma.sp.bf16.1", sparse_probe<false, 1>, 32, 0, 80},
    {"mma.sp.s8", sparse_probe<true, 0>, 32, 0, 80},
    {"mma.f64", f64_probe, 32, 0, 80},
    {"copy.4", copy_probe<4>, 32, 512, 80},
    {"copy.8", copy_probe<8>, 32, 512, 80},
    {"copy.16", copy_probe<16>, 32, 512, 80},
    {"stmatrix.x4", stmatrix_probe<false>, 32, 512, 90},
    {"stmatrix.x4.trans", stmatrix_probe<true>, 32, 512, 90},
    {"bulk", bulk_probe, 32, 520, 90},
    {"wgmma.n8.rs", wgmma_probe<8, false>, 128, (64 + 8) * 128, 90},
    {"wgmma.n16.rs", wgmma_probe<16, false>, 128, (64 + 16) * 128, 90},
    {"wgmma.n64.rs", wgmma_probe<64, false>, 128, (64 + 64) * 128, 90},
    {"wgmma.n128.rs", wgmma_probe<128, false>, 128, (64 + 128) * 128, 90},
    {"wgmma.n8.ss", wgmma_probe<8, true>, 128, (64 + 8) * 128, 90},
    {"wgmma.n32.ss", wgmma_probe<32, true>, 128, (64 + 32) * 128, 90},
    {"wgmma.n64.ss", wgmma_probe<64, true>, 128, (64 + 64) * 128, 90},
};

}  // namespace

esp_status probe(esp_cuda_stream* s, const char* instruction_name, const void* d_in, void* d_out) {
  ESP_CUDA_REQUIRE("probe", s != nullptr, "a stream", s != nullptr);
  ESP_CUDA_REQUIRE("probe", instruction_name != nullptr, "a name", instruction_name != nullptr);
  for (const instruction& i : instructions) {
    if (strcmp(i.name, instruction_name) != 0) continue;
    // Code for sm_90a runs on 9.0 and on no later device.
    if (i.capability > s->capability || (i.capability == 90 && s->capability != 90))
      return fail(ESP_UNSUPPORTED, "probe: %s on compute capability %d.%d", i.name,
                  s->capability / 10, s->capability % 10);
    return told("probe", launch(i.kernel, dim3(1), dim3(i.threads), i.shared_bytes, s->handle,
                                static_cast<const uint32_t*>(d_in), static_cast<uint32_t*>(d_out)));
  }
  return fail(ESP_UNSUPPORTED, "probe: instruction=%s, expected one of probe.cu", instruction_name);
}

}  // namespace cuda
}  // namespace esp
