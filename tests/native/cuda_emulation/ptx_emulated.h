// SPDX-License-Identifier: Apache-2.0
//
// The functions of kernels/cuda/ptx.h under the host emulation.
#ifndef ESPALIER_CUDA_EMULATION_PTX_H
#define ESPALIER_CUDA_EMULATION_PTX_H

#include <array>

#include "cuda_runtime.h"
#include "fragments.h"

namespace esp {
namespace ptx {

namespace emulation = ::cuda_emulation;

inline uint32_t shared_address(const void* p) {
  return emulation::shared_address(p);
}

// ---- whole warps

// The value that lane `from` of the warp brings.
template <class T>
T exchange(T value, int from) {
  struct mine {
    T given, got;
    int from;
  } m{value, value, from};
  emulation::count_instruction();
  emulation::warp_together(
      whole_warp,
      [](void* const* all) {
        for (int i = 0; i < emulation::lanes; i++) {
          mine* const to = static_cast<mine*>(all[i]);
          to->got = static_cast<const mine*>(all[to->from & 31])->given;
        }
      },
      &m);
  return m.got;
}
template <class T>
T shuffle(T value, int lane) {
  return exchange(value, lane);
}
template <class T>
T shuffle_xor(T value, int mask) {
  return exchange(value, (emulation::running->number % emulation::lanes) ^ mask);
}
inline uint32_t ballot(bool condition) {
  struct mine {
    bool given;
    uint32_t got;
  } m{condition, 0};
  emulation::warp_together(
      whole_warp,
      [](void* const* all) {
        uint32_t bits = 0;
        for (int i = 0; i < emulation::lanes; i++)
          bits |= static_cast<uint32_t>(static_cast<const mine*>(all[i])->given) << i;
        for (int i = 0; i < emulation::lanes; i++) static_cast<mine*>(all[i])->got = bits;
      },
      &m);
  return m.got;
}

// ---- matrices in shared memory

template <int n>
void ldmatrix(uint32_t (&r)[n], const void* row) {
  emulation::ldmatrix(r, n, row, false);
}
template <int n>
void ldmatrix_transposed(uint32_t (&r)[n], const void* row) {
  emulation::ldmatrix(r, n, row, true);
}
inline void stmatrix(void* row, const uint32_t (&r)[4]) {
  emulation::stmatrix(row, r, 4, false);
}
inline void stmatrix_transposed(void* row, const uint32_t (&r)[4]) {
  emulation::stmatrix(row, r, 4, true);
}
inline uint32_t transpose(uint32_t a) {
  return emulation::movmatrix(a);
}

// ---- products

inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  emulation::mma(emulation::kind::bf16, d, a, b, nullptr, 0);
}
inline void mma_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  emulation::mma(emulation::kind::f16, d, a, b, nullptr, 0);
}
inline void mma_s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  emulation::mma(emulation::kind::s8, d, a, b, nullptr, 0);
}
inline void mma_f64(double (&d)[2], double a, double b) {
  emulation::mma_f64(d, a, b);
}
template <int selector>
void mma_sparse_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[4],
                     uint32_t metadata) {
  static_assert(selector == 0 || selector == 1, "the lanes that give the metadata");
  emulation::mma(emulation::kind::bf16, d, a, b, &metadata, selector);
}
inline void mma_sparse_s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[4],
                          uint32_t metadata) {
  emulation::mma(emulation::kind::s8, d, a, b, &metadata, 0);
}

// ---- pairs of 16-bit numbers

inline uint32_t pair_bf16(float low, float high) {
  return emulation::to_bf16(low) | static_cast<uint32_t>(emulation::to_bf16(high)) << 16;
}
inline uint32_t fma_bf16(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t d = 0;
  for (int shift = 0; shift < 32; shift += 16) {
    // The product of two bf16 is exact in fp32's 24 bits, the sum in fp64's 53 unless far apart,
    // where one rounding to fp32 on the way to bf16 cannot make a tie that was none by more than
    // the sticky bit that fp64 keeps.
    const double sum =
        static_cast<double>(emulation::from_bf16(static_cast<uint16_t>(a >> shift))) *
            static_cast<double>(emulation::from_bf16(static_cast<uint16_t>(b >> shift))) +
        static_cast<double>(emulation::from_bf16(static_cast<uint16_t>(c >> shift)));
    d |= static_cast<uint32_t>(emulation::to_bf16(sum)) << shift;
  }
  return d;
}

// ---- asynchronous copies

template <int bytes>
void copy_async(void* shared, const void* global, int valid = bytes, int line = __builtin_LINE()) {
  static_assert(bytes == 4 || bytes == 8 || bytes == 16, "what cp.async takes");
  if (valid > 0)
    emulation::touch(emulation::access::global_load, global, static_cast<size_t>(valid), line);
  emulation::touch(emulation::access::shared_store, shared, bytes, line);
  emulation::copy_async(shared, global, bytes, valid);
}
inline void copy_commit() {
  emulation::copy_commit();
}
template <int pending>
void copy_wait() {
  emulation::copy_wait(pending);
}
inline uint4 load_once(const uint4* from, int line = __builtin_LINE()) {
  emulation::touch(emulation::access::global_load, from, sizeof(uint4), line);
  return *from;
}

inline void barrier_make(uint64_t* barrier, uint32_t arrivals) {
  emulation::barrier_make(barrier, arrivals);
}
inline void barrier_visible() {}
inline void barrier_arrive(uint64_t* barrier) {
  emulation::barrier_arrive(barrier, 0);
}
inline void barrier_expect(uint64_t* barrier, uint32_t bytes) {
  emulation::barrier_arrive(barrier, bytes);
}
inline void barrier_wait(uint64_t* barrier, uint32_t parity) {
  while (!emulation::barrier_passed(barrier, parity)) emulation::spin();
}
inline void copy_bulk(void* shared, const void* global, uint32_t bytes, uint64_t* barrier) {
  emulation::copy_bulk(shared, global, bytes, barrier);
}
inline void fence_async() {}

// ---- warpgroup products

inline void wgmma_fence() {
  emulation::products_fence();
}
inline void wgmma_commit() {
  emulation::products_commit();
}
template <int pending>
void wgmma_wait() {
  emulation::products_wait(pending);
}
inline uint64_t wgmma_operand(const void* start, uint32_t leading_bytes, uint32_t stride_bytes,
                              uint32_t mode) {
  return static_cast<uint64_t>((shared_address(start) & 0x3ffff) >> 4) |
         static_cast<uint64_t>(leading_bytes >> 4) << 16 |
         static_cast<uint64_t>(stride_bytes >> 4) << 32 | static_cast<uint64_t>(mode) << 62;
}
template <int n>
struct wgmma_bf16 {
  static void run(float (&d)[n / 2], const uint32_t (&a)[4], uint64_t b, bool add) {
    emulation::wgmma(d, n, a, 0, b, add);
  }
  static void run(float (&d)[n / 2], uint64_t a, uint64_t b, bool add) {
    emulation::wgmma(d, n, nullptr, a, b, add);
  }
};

}  // namespace ptx
}  // namespace esp

#endif  // ESPALIER_CUDA_EMULATION_PTX_H
