// SPDX-License-Identifier: Apache-2.0
//
// Every PTX instruction that Espalier's kernels use, each in one small function; nothing else
// contains asm. Fragments are the registers of one lane as the PTX ISA lays them out (9.7.14,
// 9.7.15): l = lane, g = l / 4, t = l % 4. Under the host emulation the same names come from
// tests/native/cuda_emulation/ptx_emulated.h.
//
// Needs sm_80; what stands under ESP_HOPPER needs sm_90a and exists there only.
#ifndef ESPALIER_CUDA_PTX_H
#define ESPALIER_CUDA_PTX_H

#include "cuda/device.h"

#if defined(ESPALIER_EMULATED) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define ESP_HOPPER 1
#endif

#if defined(ESPALIER_EMULATED)
#include "ptx_emulated.h"
#else

#define ESP_PTX __device__ __forceinline__

namespace esp {
namespace ptx {

// The 32-bit address of a place in shared memory.
ESP_PTX uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// ---- whole warps

template <class T>
ESP_PTX T shuffle(T value, int lane) {
  return __shfl_sync(whole_warp, value, lane);
}
template <class T>
ESP_PTX T shuffle_xor(T value, int mask) {
  return __shfl_xor_sync(whole_warp, value, mask);
}
ESP_PTX uint32_t ballot(bool condition) {
  return __ballot_sync(whole_warp, condition);
}

// ---- matrices of 8 rows of 16 bytes in shared memory

// Lane 8 j + i gives the address of row i of matrix j (16-byte aligned); register j of a lane
// becomes the two 16-bit elements 2t, 2t + 1 of row g of matrix j; _transposed: of column g.
ESP_PTX void ldmatrix(uint32_t (&r)[1], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
               : "=r"(r[0])
               : "r"(shared_address(row))
               : "memory");
}
ESP_PTX void ldmatrix(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
}
ESP_PTX void ldmatrix(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
ESP_PTX void ldmatrix_transposed(uint32_t (&r)[1], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
               : "=r"(r[0])
               : "r"(shared_address(row))
               : "memory");
}
ESP_PTX void ldmatrix_transposed(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
}
ESP_PTX void ldmatrix_transposed(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
// a[row g of lane, 2t, 2t + 1] of an 8 x 8 matrix held by the warp -> the same of its transpose.
ESP_PTX uint32_t transpose(uint32_t a) {
  uint32_t d;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(d) : "r"(a));
  return d;
}

// ---- products: d[16, 8] = a[16, k] b[k, 8] + d

// k = 16, bf16, fp32 sums. a: rows g, g + 8, g, g + 8; columns 2t, 2t + 1 (+ 8 in a[2], a[3]). b:
// rows 2t, 2t + 1 (+ 8 in b[1]) of column g. d: row g columns 2t, 2t + 1, then row g + 8.
ESP_PTX void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
ESP_PTX void mma_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
// k = 32, signed bytes, exact int32 sums that wrap.
ESP_PTX void mma_s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
// d[8, 8] += a[8, 4] b[4, 8] in fp64: a[g, t], b[t, g], d[g, 2t], d[g, 2t + 1].
ESP_PTX void mma_f64(double (&d)[2], double a, double b) {
  asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
               : "+d"(d[0]), "+d"(d[1])
               : "d"(a), "d"(b));
}

// 2:4 sparse a: two of every four columns stored, ascending. metadata: 4 bits a chunk of four
// columns, the places of its two; of the lanes t = 0, 1 (selector 0) or t = 2, 3 (1): even lane k
// 0..15, odd 16..31, low half row g, high half row g + 8. k = 32.
template <int selector>
ESP_PTX void mma_sparse_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[4],
                             uint32_t metadata) {
  asm volatile(
      "mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
      "{%4, %5, %6, %7}, {%8, %9, %10, %11}, {%0, %1, %2, %3}, %12, %13;"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(b[2]), "r"(b[3]),
        "r"(metadata), "n"(selector));
}
// k = 64: metadata of all lanes; lane bit 0 = row + 8, bit 1 = k + 32.
ESP_PTX void mma_sparse_s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[4],
                           uint32_t metadata) {
  asm volatile(
      "mma.sp::ordered_metadata.sync.aligned.m16n8k64.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, "
      "{%4, %5, %6, %7}, {%8, %9, %10, %11}, {%0, %1, %2, %3}, %12, 0;"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(b[2]), "r"(b[3]),
        "r"(metadata));
}

// ---- pairs of 16-bit numbers, low half first

ESP_PTX uint32_t pair_bf16(float low, float high) {  // rounded to nearest even
  uint32_t d;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(d) : "f"(high), "f"(low));
  return d;
}
ESP_PTX uint32_t fma_bf16(uint32_t a, uint32_t b, uint32_t c) {  // a b + c, rounded once
  uint32_t d;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}

// ---- asynchronous copies from global to shared memory (per thread, in groups)

// `bytes` = 4, 8 or 16, both addresses aligned to it; of the source only the first `valid` bytes
// are read, the rest becomes 0. Visible to this thread after copy_wait, to others after a barrier.
template <int bytes>
ESP_PTX void copy_async(void* shared, const void* global, int valid = bytes) {
  static_assert(bytes == 4 || bytes == 8 || bytes == 16, "what cp.async takes");
  if (bytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
                 "l"(global), "r"(valid)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(shared)),
                 "l"(global), "n"(bytes), "r"(valid)
                 : "memory");
  }
}
ESP_PTX void copy_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// At most `pending` of the newest groups are still under way.
template <int pending>
ESP_PTX void copy_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

// ---- loads that are read once: past the first-level cache, first to leave the second

ESP_PTX uint4 load_once(const uint4* from) {
  uint64_t policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::cache_hint.v4.u32 {%0, %1, %2, %3}, [%4], %5;"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from), "l"(policy));
  return v;
}

#if defined(ESP_HOPPER)

ESP_PTX void stmatrix(void* row, const uint32_t (&r)[4]) {  // ldmatrix backwards
  asm volatile(
      "stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(row)),
      "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
      : "memory");
}
ESP_PTX void stmatrix_transposed(void* row, const uint32_t (&r)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(
                   shared_address(row)),
               "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
               : "memory");
}

// ---- barriers of arrivals and bytes; bulk copies

// An 8-byte object in shared memory. A phase ends when `arrivals` have come and every byte
// announced has landed. One thread makes it; barrier_visible and a __syncthreads come before use.
ESP_PTX void barrier_make(uint64_t* barrier, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
               "r"(arrivals)
               : "memory");
}
ESP_PTX void barrier_visible() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
ESP_PTX void barrier_arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
               : "memory");
}
// Announces `bytes` and arrives.
ESP_PTX void barrier_expect(uint64_t* barrier, uint32_t bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
      "r"(bytes)
      : "memory");
}
// Waits until the phase of this parity is over: 0 for the first, then 1, 0, 1 ...
ESP_PTX void barrier_wait(uint64_t* barrier, uint32_t parity) {
  uint32_t done = 0;
  while (done == 0) {
    asm volatile(
        "{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n}"
        : "=r"(done)
        : "r"(shared_address(barrier)), "r"(parity)
        : "memory");
  }
}
// Copies `bytes` (a multiple of 16, both addresses 16-byte aligned); `barrier` counts them.
ESP_PTX void copy_bulk(void* shared, const void* global, uint32_t bytes, uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, "
      "[%3];" ::"r"(shared_address(shared)),
      "l"(global), "r"(bytes), "r"(shared_address(barrier))
      : "memory");
}
// Ordinary writes to shared memory become visible to bulk copies and wgmma (then a barrier).
ESP_PTX void fence_async() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// ---- warpgroup products: d[64, n] (+)= a[64, 16] b[16, n], bf16, fp32 sums

// Between wgmma and the wgmma_wait that covers it neither d nor a may be touched.
ESP_PTX void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
ESP_PTX void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int pending>
ESP_PTX void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}

// Where a K-major operand lies: rows of `swizzle` bytes, 16-byte chunks exchanged by the row. What
// the fields mean: golden table wgmma-smem; mode 1 = 128 B, 2 = 64 B, 3 = 32 B, 0 = none.
ESP_PTX uint64_t wgmma_operand(const void* start, uint32_t leading_bytes, uint32_t stride_bytes,
                               uint32_t mode) {
  return static_cast<uint64_t>((shared_address(start) & 0x3ffff) >> 4) |
         static_cast<uint64_t>(leading_bytes >> 4) << 16 |
         static_cast<uint64_t>(stride_bytes >> 4) << 32 | static_cast<uint64_t>(mode) << 62;
}

#define ESP_D4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define ESP_D8(i) ESP_D4(i), ESP_D4(i + 4)
#define ESP_D16(i) ESP_D8(i), ESP_D8(i + 8)
#define ESP_D32(i) ESP_D16(i), ESP_D16(i + 16)
#define ESP_R4 "%0, %1, %2, %3"
#define ESP_R8 ESP_R4 ", %4, %5, %6, %7"
#define ESP_R16 ESP_R8 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define ESP_R32 \
  ESP_R16 ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define ESP_R64                                                                                  \
  ESP_R32                                                                                        \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, " \
  "%50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"

template <int n>
struct wgmma_bf16;

// The numbers of the operands after d: registers of a (or its place), place of b, whether to add.
#define ESP_WGMMA(n, registers, outputs, a0, a1, a2, a3, rb, rp, sa, sb, sp)                    \
  template <>                                                                                   \
  struct wgmma_bf16<n> {                                                                        \
    static ESP_PTX void run(float (&d)[n / 2], const uint32_t (&a)[4], uint64_t b, bool add) {  \
      asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" rp                                      \
                   ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n "k16.f32.bf16.bf16 {" registers \
                   "}, {%" a0 ", %" a1 ", %" a2 ", %" a3 "}, %" rb ", p, 1, 1, 0;\n}"           \
                   : outputs                                                                    \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b),                        \
                     "r"(static_cast<int>(add)));                                               \
    }                                                                                           \
    static ESP_PTX void run(float (&d)[n / 2], uint64_t a, uint64_t b, bool add) {              \
      asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" sp                                      \
                   ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n "k16.f32.bf16.bf16 {" registers \
                   "}, %" sa ", %" sb ", p, 1, 1, 0, 0;\n}"                                     \
                   : outputs                                                                    \
                   : "l"(a), "l"(b), "r"(static_cast<int>(add)));                               \
    }                                                                                           \
  }
#define ESP_D64 ESP_D32(0), ESP_D32(32)
ESP_WGMMA(8, ESP_R4, ESP_D4(0), "4", "5", "6", "7", "8", "9", "4", "5", "6");
ESP_WGMMA(16, ESP_R8, ESP_D8(0), "8", "9", "10", "11", "12", "13", "8", "9", "10");
ESP_WGMMA(32, ESP_R16, ESP_D16(0), "16", "17", "18", "19", "20", "21", "16", "17", "18");
ESP_WGMMA(64, ESP_R32, ESP_D32(0), "32", "33", "34", "35", "36", "37", "32", "33", "34");
ESP_WGMMA(128, ESP_R64, ESP_D64, "64", "65", "66", "67", "68", "69", "64", "65", "66");

#endif  // ESP_HOPPER

}  // namespace ptx
}  // namespace esp

#endif  // ESPALIER_EMULATED

#endif  // ESPALIER_CUDA_PTX_H
