// SPDX-License-Identifier: Apache-2.0
//
// What      y = x . W^T + bias, int8 activations, 4-bit weights.
// Layout    int8_panels.h: dwords of four bytes, a stored nibble q + 8 each.
// Tile      12 rows of x by 32 rows of W; up to 4 rows of x: int8_rows.h.
// Numerics  int32 sums within 15 * 128 * 65536 < 2^31; the offset 8 is taken out through the sums
//           of x.
// Needs     AVX-512 F, BW, VNNI.
// Tail      as the two headers say.
#include "cpu/matmul_w8a8/int8_avx512vnni.h"

namespace esp {

matmul_w4a8_kernel matmul_w4a8_avx512vnni;

namespace {

struct stored_nibbles : byte_quads {
  static constexpr int32_t bits = 4;
  static constexpr int32_t base = 8, base_left = 8;
  static __m256i expand(const uint8_t* p) {
    const __m128i u = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const __m128i mask = _mm_set1_epi8(15);
    const __m128i even = _mm_and_si128(u, mask), odd = _mm_and_si128(_mm_srli_epi16(u, 4), mask);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_unpacklo_epi8(even, odd)),
                                   _mm_unpackhi_epi8(even, odd), 1);
  }
};

struct nibbles_of_four_rows {
  static constexpr int64_t chunk = 128;
  static constexpr int32_t bits = 4, base = 8;
  using sums = sums_of_four_rows;
  static void arrange(const int8_t* x, int64_t k, int8_t* to) { split_pairs(x, k, chunk, to); }
  static __m512i product(__m512i sum, const uint8_t* w, __m512i even, __m512i odd) {
    const __m512i mask = _mm512_set1_epi32(0x0f0f0f0f);
    const __m512i u = _mm512_loadu_si512(w);
    const __m512i low = _mm512_dpbusd_epi32(sum, _mm512_and_si512(u, mask), even);
    return _mm512_dpbusd_epi32(low, _mm512_and_si512(_mm512_srli_epi32(u, 4), mask), odd);
  }
  static void add(const uint8_t* a, const uint8_t* b, const uint8_t* c, const uint8_t* d,
                  const int8_t* x, sums* s) {
    const __m512i even = _mm512_loadu_si512(x), odd = _mm512_loadu_si512(x + 64);
    s->at[0] = product(s->at[0], a, even, odd);
    s->at[1] = product(s->at[1], b, even, odd);
    s->at[2] = product(s->at[2], c, even, odd);
    s->at[3] = product(s->at[3], d, even, odd);
  }
  static __m128i fold(const sums& s) { return fold_four(s); }
};

}  // namespace

void matmul_w4a8_avx512vnni(const int8_product* p) {
  if (takes_rows<nibbles_of_four_rows>(*p)) {
    multiply_rows<nibbles_of_four_rows>(*p);
  } else {
    multiply_panels<stored_nibbles>(*p);
  }
}

}  // namespace esp
