// SPDX-License-Identifier: Apache-2.0
//
// vpdpbusd as Unit of int8_panels.h and the folding of int8_rows.h, for 8- and 4-bit weights:
// unsigned weights (the stored q + 2^(bits-1)) times signed activations, four products a lane.
#ifndef ESPALIER_INT8_AVX512VNNI_H
#define ESPALIER_INT8_AVX512VNNI_H

#include "cpu/matmul_w8a8/int8_panels.h"
#include "cpu/matmul_w8a8/int8_rows.h"

namespace esp {
namespace {

// 12 rows of x by two vectors of 16 rows of W: 24 sums and two vectors of W in 32 registers; x is
// broadcast by the load.
struct byte_quads {
  static constexpr int64_t rows = 12, width = 32, depth = 4;
  using weight = uint8_t;
  using activation = int8_t;

  static void multiply(const uint8_t* panel, const int8_t* x, int64_t ldx, int64_t steps,
                       int32_t* totals) {
    __m512i t[rows][2];
    for (int i = 0; i < rows; i++) t[i][0] = t[i][1] = _mm512_setzero_si512();
    for (int64_t s = 0; s < steps; s++) {
      const uint8_t* w = panel + s * width * depth;
      const __m512i w0 = _mm512_loadu_si512(w), w1 = _mm512_loadu_si512(w + 64);
#pragma GCC unroll 12
      for (int i = 0; i < rows; i++) {
        int32_t quad;
        memcpy(&quad, x + i * ldx + s * depth, sizeof quad);
        const __m512i b = _mm512_set1_epi32(quad);
        t[i][0] = _mm512_dpbusd_epi32(t[i][0], w0, b);
        t[i][1] = _mm512_dpbusd_epi32(t[i][1], w1, b);
      }
    }
    for (int i = 0; i < rows; i++) {
      _mm512_storeu_si512(totals + i * width, t[i][0]);
      _mm512_storeu_si512(totals + i * width + 16, t[i][1]);
    }
  }
};

struct sums_of_four_rows {
  __m512i at[4];
};
inline __m128i fold_four(const sums_of_four_rows& s) {
  __m256i v[4];
  for (int r = 0; r < 4; r++) {
    v[r] = _mm256_add_epi32(_mm512_castsi512_si256(s.at[r]), _mm512_extracti64x4_epi64(s.at[r], 1));
  }
  return fold_four(v);
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_INT8_AVX512VNNI_H
