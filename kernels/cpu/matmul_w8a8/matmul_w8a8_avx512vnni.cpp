// SPDX-License-Identifier: Apache-2.0
//
// What      y = x . W^T + bias, int8 activations, 8-bit weights.
// Layout    int8_panels.h: dwords of four bytes as they are stored, q + 128.
// Tile      12 rows of x by 32 rows of W; up to 4 rows of x: int8_rows.h.
// Numerics  int32 sums within 255 * 128 * 65536 < 2^31; the offset 128 is taken out through the
//           sums of x.
// Needs     AVX-512 F, VNNI.
// Tail      as the two headers say.
#include "cpu/matmul_w8a8/int8_avx512vnni.h"

namespace esp {

matmul_w8a8_kernel matmul_w8a8_avx512vnni;

namespace {

struct stored_bytes : byte_quads {
  static constexpr int32_t bits = 8;
  static constexpr int32_t base = 128, base_left = 128;
  static __m256i expand(const uint8_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
};

struct bytes_of_four_rows {
  static constexpr int64_t chunk = 64;
  static constexpr int32_t bits = 8, base = 128;
  using sums = sums_of_four_rows;
  static void arrange(const int8_t* x, int64_t k, int8_t* to) {
    memcpy(to, x, static_cast<size_t>(k));
    memset(to + k, 0, static_cast<size_t>((chunk - k % chunk) % chunk));
  }
  static void add(const uint8_t* a, const uint8_t* b, const uint8_t* c, const uint8_t* d,
                  const int8_t* x, sums* s) {
    const __m512i at = _mm512_loadu_si512(x);
    s->at[0] = _mm512_dpbusd_epi32(s->at[0], _mm512_loadu_si512(a), at);
    s->at[1] = _mm512_dpbusd_epi32(s->at[1], _mm512_loadu_si512(b), at);
    s->at[2] = _mm512_dpbusd_epi32(s->at[2], _mm512_loadu_si512(c), at);
    s->at[3] = _mm512_dpbusd_epi32(s->at[3], _mm512_loadu_si512(d), at);
  }
  static __m128i fold(const sums& s) { return fold_four(s); }
};

}  // namespace

void matmul_w8a8_avx512vnni(const int8_product* p) {
  if (takes_rows<bytes_of_four_rows>(*p)) {
    multiply_rows<bytes_of_four_rows>(*p);
  } else {
    multiply_panels<stored_bytes>(*p);
  }
}

}  // namespace esp
