// SPDX-License-Identifier: Apache-2.0
//
// What      y = x . W^T + bias, int8 activations, 8-bit weights.
// Layout    int8_panels.h: dwords of two int16 columns. vpmaddubsw would saturate (2 * 255 * 128 >
//           32767) and every way around it needs as many multiplications, so both sides are
//           widened.
// Tile      5 rows of x by 16 rows of W: 10 sums, 2 vectors of W, 3 for x and products; a sixth row
//           takes all 16 registers and measured no faster. Up to 4 rows of x: int8_rows.h.
// Numerics  products of signed codes in int32: |total| <= 128 * 128 * 65536 = 2^30; int8_rows.h
//           unsigned ones: 255 * 128 * 65536 < 2^31.
// Needs     AVX2.
// Tail      as the two headers say.
#include "cpu/matmul_w8a8/int8_panels.h"
#include "cpu/matmul_w8a8/int8_rows.h"

namespace esp {

matmul_w8a8_kernel matmul_w8a8_avx2;

namespace {

struct int16_pairs {
  static constexpr int64_t rows = 5, width = 16, depth = 2;
  static constexpr int32_t bits = 8;
  static constexpr int32_t base = 0, base_left = 0;  // signed codes
  using weight = int16_t;
  using activation = int16_t;

  // Lanes of 32 bits, as the sums are added; see matmul_w4a8_avx2.cpp.
  typedef int32_t int32s __attribute__((vector_size(32)));

  static __m256i expand(const uint8_t* p) {
    const __m128i u = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_cvtepi8_epi16(_mm_xor_si128(u, _mm_set1_epi8(-128)));
  }
  static void multiply(const int16_t* panel, const int16_t* x, int64_t ldx, int64_t steps,
                       int32_t* totals) {
    int32s t[rows][2] = {};
    for (int64_t s = 0; s < steps; s++) {
      const __m256i* w = reinterpret_cast<const __m256i*>(panel + s * width * depth);
      const __m256i w0 = _mm256_load_si256(w), w1 = _mm256_load_si256(w + 1);
#pragma GCC unroll 5
      for (int i = 0; i < rows; i++) {
        int32_t pair;
        memcpy(&pair, x + i * ldx + s * depth, sizeof pair);
        const __m256i b = _mm256_set1_epi32(pair);
        t[i][0] += reinterpret_cast<int32s>(_mm256_madd_epi16(w0, b));
        t[i][1] += reinterpret_cast<int32s>(_mm256_madd_epi16(w1, b));
      }
    }
    for (int i = 0; i < rows; i++) {
      _mm256_store_si256(reinterpret_cast<__m256i*>(totals + i * width),
                         reinterpret_cast<__m256i>(t[i][0]));
      _mm256_store_si256(reinterpret_cast<__m256i*>(totals + i * width + 8),
                         reinterpret_cast<__m256i>(t[i][1]));
    }
  }
};

struct bytes_of_four_rows {
  static constexpr int64_t chunk = 32;
  static constexpr int32_t bits = 8, base = 128;
  struct sums {
    __m256i at[4];
  };
  static void arrange(const int8_t* x, int64_t k, int8_t* to) {
    memcpy(to, x, static_cast<size_t>(k));
    memset(to + k, 0, static_cast<size_t>((chunk - k % chunk) % chunk));
  }
  static __m256i product(const uint8_t* w, __m256i x0, __m256i x1) {
    const __m256i w0 = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w)));
    const __m256i w1 =
        _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w + 16)));
    return _mm256_add_epi32(_mm256_madd_epi16(w0, x0), _mm256_madd_epi16(w1, x1));
  }
  static void add(const uint8_t* a, const uint8_t* b, const uint8_t* c, const uint8_t* d,
                  const int8_t* x, sums* s) {
    const __m128i* from = reinterpret_cast<const __m128i*>(x);
    const __m256i x0 = _mm256_cvtepi8_epi16(_mm_loadu_si128(from));
    const __m256i x1 = _mm256_cvtepi8_epi16(_mm_loadu_si128(from + 1));
    s->at[0] = _mm256_add_epi32(s->at[0], product(a, x0, x1));
    s->at[1] = _mm256_add_epi32(s->at[1], product(b, x0, x1));
    s->at[2] = _mm256_add_epi32(s->at[2], product(c, x0, x1));
    s->at[3] = _mm256_add_epi32(s->at[3], product(d, x0, x1));
  }
  static __m128i fold(const sums& s) { return fold_four(s.at); }
};

}  // namespace

void matmul_w8a8_avx2(const int8_product* p) {
  if (takes_rows<bytes_of_four_rows>(*p)) {
    multiply_rows<bytes_of_four_rows>(*p);
  } else {
    multiply_panels<int16_pairs>(*p);
  }
}

}  // namespace esp
