// SPDX-License-Identifier: Apache-2.0
//
// What      Packing and unpacking, 64 codes at a time: pack_lanes.h over AVX-512.
// Layout    pack_lanes.h.
// Tile      one row.
// Numerics  exact.
// Needs     AVX-512 F, BW.
// Tail      pack_lanes.h.
#include <immintrin.h>

#include "cpu/pack/pack_lanes.h"
#include "operations.h"

namespace esp {

pack_kernel pack_avx512;
unpack_kernel unpack_avx512;

namespace {

struct vectors_avx512 {
  using u64 = __m512i;
  static constexpr int64_t lanes = 8;
  static u64 load(const void* p) { return _mm512_loadu_si512(p); }
  static void store(void* p, u64 x) { _mm512_storeu_si512(p, x); }
  static u64 set1(uint64_t x) { return _mm512_set1_epi64(static_cast<long long>(x)); }
  static u64 bit_and(u64 a, u64 b) { return _mm512_and_si512(a, b); }
  static u64 bit_or(u64 a, u64 b) { return _mm512_or_si512(a, b); }
  static u64 bit_xor(u64 a, u64 b) { return _mm512_xor_si512(a, b); }
  static u64 shift_left(u64 a, int n) { return _mm512_sll_epi64(a, _mm_cvtsi32_si128(n)); }
  static u64 shift_right(u64 a, int n) { return _mm512_srl_epi64(a, _mm_cvtsi32_si128(n)); }
  static u64 sub_bytes(u64 a, u64 b) { return _mm512_sub_epi8(a, b); }
};

}  // namespace

void pack_avx512(int64_t cols, int32_t bits, const int8_t* codes, uint32_t* words) {
  pack_lanes<vectors_avx512>(cols, bits, codes, words);
}

void unpack_avx512(int64_t cols, int32_t bits, const uint32_t* words, int8_t* codes) {
  unpack_lanes<vectors_avx512>(cols, bits, words, codes);
}

}  // namespace esp
