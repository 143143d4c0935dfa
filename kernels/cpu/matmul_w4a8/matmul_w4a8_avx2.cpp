// SPDX-License-Identifier: Apache-2.0
//
// What      y = x . W^T + bias, int8 activations, 4-bit weights.
// Layout    int8_panels.h: dwords of four unsigned bytes, a nibble each.
// Tile      5 rows of x by 16 rows of W; up to 4 rows of x: int8_rows.h.
// Numerics  vpmaddubsw: |pair| <= 2 * 15 * 128 = 3840, so that eight steps fit an int16 (30720)
//           before they are widened; in int8_rows.h two (7680). Totals within 15 * 128 * 65536.
// Needs     AVX2.
// Tail      as the two headers say.
#include "cpu/matmul_w8a8/int8_panels.h"
#include "cpu/matmul_w8a8/int8_rows.h"

namespace esp {

matmul_w4a8_kernel matmul_w4a8_avx2;

namespace {

struct nibble_quads {
  static constexpr int64_t rows = 5, width = 16, depth = 4;
  static constexpr int32_t bits = 4;
  static constexpr int32_t base = 8, base_left = 8;
  static constexpr int64_t narrow_steps = 8;  // 8 * 3840 = 30720 <= 32767
  using weight = uint8_t;
  using activation = int8_t;

  static __m256i expand(const uint8_t* p) {
    const __m128i u = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const __m128i mask = _mm_set1_epi8(15);
    const __m128i even = _mm_and_si128(u, mask), odd = _mm_and_si128(_mm_srli_epi16(u, 4), mask);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_unpacklo_epi8(even, odd)),
                                   _mm_unpackhi_epi8(even, odd), 1);
  }
  // A type of 16-bit lanes: sums held as __m256i change their type with every addition, for which
  // GCC 12 keeps each in two registers.
  typedef int16_t int16s __attribute__((vector_size(32)));

  // totals += the first `steps` <= narrow_steps steps. Not inlined, or the compiler would hold
  // the totals in registers too, of which there are too few: they stay in L1.
  __attribute__((noinline)) static void add_narrow(const uint8_t* panel, const int8_t* x,
                                                   int64_t ldx, int64_t steps, int32_t* totals) {
    int16s n[rows][2] = {};
    for (int64_t s = 0; s < steps; s++) {
      const __m256i* w = reinterpret_cast<const __m256i*>(panel + s * width * depth);
      const __m256i w0 = _mm256_load_si256(w), w1 = _mm256_load_si256(w + 1);
#pragma GCC unroll 5
      for (int i = 0; i < rows; i++) {
        int32_t quad;
        memcpy(&quad, x + i * ldx + s * depth, sizeof quad);
        const __m256i b = _mm256_set1_epi32(quad);
        n[i][0] += reinterpret_cast<int16s>(_mm256_maddubs_epi16(w0, b));
        n[i][1] += reinterpret_cast<int16s>(_mm256_maddubs_epi16(w1, b));
      }
    }
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i* t = reinterpret_cast<__m256i*>(totals);
#pragma GCC unroll 5
    for (int i = 0; i < rows; i++) {
      for (int v = 0; v < 2; v++) {
        __m256i* const at = t + 2 * i + v;
        const __m256i wide = _mm256_madd_epi16(reinterpret_cast<__m256i>(n[i][v]), ones);
        _mm256_store_si256(at, _mm256_add_epi32(_mm256_load_si256(at), wide));
      }
    }
  }
  static void multiply(const uint8_t* panel, const int8_t* x, int64_t ldx, int64_t steps,
                       int32_t* totals) {
#pragma GCC unroll 10
    for (int v = 0; v < 2 * rows; v++)
      _mm256_store_si256(reinterpret_cast<__m256i*>(totals) + v, _mm256_setzero_si256());
    for (int64_t s = 0; s < steps; s += narrow_steps) {
      add_narrow(panel + s * width * depth, x + s * depth, ldx,
                 s + narrow_steps < steps ? narrow_steps : steps - s, totals);
    }
  }
};

struct nibbles_of_four_rows {
  static constexpr int64_t chunk = 64;
  static constexpr int32_t bits = 4, base = 8;
  struct sums {
    __m256i at[4];
  };
  static void arrange(const int8_t* x, int64_t k, int8_t* to) { split_pairs(x, k, chunk, to); }
  static __m256i product(const uint8_t* w, __m256i even, __m256i odd) {
    const __m256i mask = _mm256_set1_epi8(15);
    const __m256i u = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w));
    const __m256i low = _mm256_maddubs_epi16(_mm256_and_si256(u, mask), even);
    const __m256i high = _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(u, 4), mask), odd);
    return _mm256_madd_epi16(_mm256_add_epi16(low, high), _mm256_set1_epi16(1));
  }
  static void add(const uint8_t* a, const uint8_t* b, const uint8_t* c, const uint8_t* d,
                  const int8_t* x, sums* s) {
    const __m256i* from = reinterpret_cast<const __m256i*>(x);
    const __m256i even = _mm256_loadu_si256(from), odd = _mm256_loadu_si256(from + 1);
    s->at[0] = _mm256_add_epi32(s->at[0], product(a, even, odd));
    s->at[1] = _mm256_add_epi32(s->at[1], product(b, even, odd));
    s->at[2] = _mm256_add_epi32(s->at[2], product(c, even, odd));
    s->at[3] = _mm256_add_epi32(s->at[3], product(d, even, odd));
  }
  static __m128i fold(const sums& s) { return fold_four(s.at); }
};

}  // namespace

void matmul_w4a8_avx2(const int8_product* p) {
  if (takes_rows<nibbles_of_four_rows>(*p)) {
    multiply_rows<nibbles_of_four_rows>(*p);
  } else {
    multiply_panels<nibble_quads>(*p);
  }
}

}  // namespace esp
