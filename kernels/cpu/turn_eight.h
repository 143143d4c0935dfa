// SPDX-License-Identifier: Apache-2.0
//
// The transpose of a square of eight fp32. Needs AVX2, also in an AVX-512 file.
#ifndef ESPALIER_TURN_EIGHT_H
#define ESPALIER_TURN_EIGHT_H

#include <immintrin.h>
#include <stdint.h>

namespace esp {
namespace {

// Eight vectors of eight, transposed in place.
inline void turn_eight(__m256* r) {
  __m256 s[8];
  for (int64_t i = 0; i < 8; i += 2) {
    s[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    s[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int64_t i = 0; i < 8; i += 4) {
    r[i] = _mm256_shuffle_ps(s[i], s[i + 2], 0x44);
    r[i + 1] = _mm256_shuffle_ps(s[i], s[i + 2], 0xEE);
    r[i + 2] = _mm256_shuffle_ps(s[i + 1], s[i + 3], 0x44);
    r[i + 3] = _mm256_shuffle_ps(s[i + 1], s[i + 3], 0xEE);
  }
  for (int64_t i = 0; i < 4; i++) s[i] = r[i];
  for (int64_t i = 0; i < 4; i++) {
    r[i] = _mm256_permute2f128_ps(s[i], r[i + 4], 0x20);
    r[i + 4] = _mm256_permute2f128_ps(s[i], r[i + 4], 0x31);
  }
}

}  // namespace
}  // namespace esp

#endif  // ESPALIER_TURN_EIGHT_H
