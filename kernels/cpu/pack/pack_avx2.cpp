// SPDX-License-Identifier: Apache-2.0
//
// What      Packing and unpacking, 32 codes at a time: pack_lanes.h over AVX2.
// Layout    pack_lanes.h.
// Tile      one row.
// Numerics  exact.
// Needs     AVX2.
// Tail      pack_lanes.h.
#include <immintrin.h>

#include "cpu/pack/pack_lanes.h"
#include "operations.h"

namespace esp {

pack_kernel pack_avx2;
unpack_kernel unpack_avx2;

namespace {

struct vectors_avx2 {
  using u64 = __m256i;
  static constexpr int64_t lanes = 4;
  static u64 load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  static void store(void* p, u64 x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }
  static u64 set1(uint64_t x) { return _mm256_set1_epi64x(static_cast<long long>(x)); }
  static u64 bit_and(u64 a, u64 b) { return _mm256_and_si256(a, b); }
  static u64 bit_or(u64 a, u64 b) { return _mm256_or_si256(a, b); }
  static u64 bit_xor(u64 a, u64 b) { return _mm256_xor_si256(a, b); }
  static u64 shift_left(u64 a, int n) { return _mm256_sll_epi64(a, _mm_cvtsi32_si128(n)); }
  static u64 shift_right(u64 a, int n) { return _mm256_srl_epi64(a, _mm_cvtsi32_si128(n)); }
  static u64 sub_bytes(u64 a, u64 b) { return _mm256_sub_epi8(a, b); }
};

}  // namespace

void pack_avx2(int64_t cols, int32_t bits, const int8_t* codes, uint32_t* words) {
  pack_lanes<vectors_avx2>(cols, bits, codes, words);
}

void unpack_avx2(int64_t cols, int32_t bits, const uint32_t* words, int8_t* codes) {
  unpack_lanes<vectors_avx2>(cols, bits, words, codes);
}

}  // namespace esp
