// SPDX-License-Identifier: Apache-2.0
//
// What      Masks and kept weights of a dense row, and the codes of a sparse one.
// Layout    layout/sparse.h.
// Tile      Eight columns, one byte of the mask: bytes are collected by pext and spread by pdep
//           under a mask of bytes, fp32 lanes permuted by a table.
// Numerics  exact.
// Needs     AVX2, BMI2.
// Tail      Columns beyond the last whole byte one by one; nothing is stored behind the last kept
//           weight.
#include <immintrin.h>
#include <string.h>

#include "espalier.h"
#include "layout/sparse.h"
#include "operations.h"

namespace esp {

sparse_bits_f32_kernel sparse_bits_f32_avx2;
sparse_bits_u8_kernel sparse_bits_u8_avx2;
sparse_collect_f32_kernel sparse_collect_f32_avx2;
sparse_collect_i8_kernel sparse_collect_i8_avx2;
sparse_codes_kernel sparse_codes_avx2;

namespace {

uint64_t load_word(const void* p) {
  uint64_t word;
  memcpy(&word, p, sizeof word);
  return word;
}

// Bit i of mask becomes byte i, 0xFF where it is set.
uint64_t bytes_of(uint64_t mask) {
  return _pdep_u64(mask, 0x0101010101010101u) * 0xFF;
}

// The rest of a row behind its `done` (a multiple of 8) first columns.
template <class T>
int64_t last_bits(int64_t done, int64_t cols, const T* w, uint8_t* bitmask) {
  if (done == cols) return 0;
  uint32_t bits = 0;
  for (int64_t c = done; c < cols; c++) bits |= static_cast<uint32_t>(w[c] != T{0}) << (c - done);
  bitmask[done / 8] = static_cast<uint8_t>(bits);
  return __builtin_popcount(bits);
}

int64_t kept_of(int64_t cols, const uint8_t* bitmask) {
  const int64_t bytes = sparse_place_bytes(cols);
  int64_t kept = 0, b = 0;
  for (; b + 8 <= bytes; b += 8) kept += __builtin_popcountll(load_word(bitmask + b));
  for (; b < bytes; b++) kept += __builtin_popcount(bitmask[b]);
  return kept;
}

template <class T>
void last_kept(int64_t done, int64_t cols, const uint8_t* bitmask, const T* w, T* kept) {
  for (int64_t c = done; c < cols; c++) {
    if ((bitmask[c >> 3] >> (c & 7) & 1) != 0) *kept++ = w[c];
  }
}

// The lanes of a byte's kept columns, first ones first.
struct kept_table {
  alignas(64) uint8_t at[256][8];
  constexpr kept_table() : at{} {
    for (int32_t mask = 0; mask < 256; mask++) {
      int32_t kept = 0;
      for (int32_t c = 0; c < 8; c++) {
        if ((mask >> c & 1) != 0) at[mask][kept++] = static_cast<uint8_t>(c);
      }
    }
  }
};
constexpr kept_table lanes_of_mask;

// Eight codes of the nibbles of `stream`, two's complement bytes.
uint64_t codes_of_nibbles(uint64_t stream) {
  const uint64_t flipped =
      _pdep_u64(stream, 0x0F0F0F0F0F0F0F0Fu) ^ 0x0808080808080808u;  // code mod 16
  return flipped | (flipped & 0x0808080808080808u) * 0x1E;           // 8 * 0x1E = 0xF0: the sign
}

void codes_row(const sparse_weights& w, int64_t r, int8_t* codes) {
  const uint8_t* const places = w.places + r * sparse_place_bytes(w.cols);
  const uint8_t* const values = w.values + w.starts[r];
  int64_t j = 0;
  for (int64_t c = 0; c < w.cols; c += 8) {
    const int64_t count = w.cols - c < 8 ? w.cols - c : 8;
    const uint32_t mask = w.pattern == ESP_SPARSE_24
                              ? sparse_mask_of_places(places[c / 8], count > 4 ? 2 : 1)
                              : places[c / 8];
    const uint8_t* const p = values + (w.dtype == ESP_U8 ? j >> 1 : j);
    uint64_t stream = 0;
    if (w.values_end - p >= 8) {
      stream = load_word(p);
    } else {
      for (int64_t i = 0; i < w.values_end - p; i++)
        stream |= static_cast<uint64_t>(p[i]) << (8 * i);
    }
    if (w.dtype == ESP_U8) stream = codes_of_nibbles(stream >> (4 * (j & 1)));
    const uint64_t spread = _pdep_u64(stream, bytes_of(mask));
    memcpy(codes + c, &spread, static_cast<size_t>(count));
    j += __builtin_popcount(mask);
  }
}

}  // namespace

int64_t sparse_bits_f32_avx2(int64_t cols, const float* w, uint8_t* bitmask) {
  int64_t kept = 0, c = 0;
  for (; c + 8 <= cols; c += 8) {
    const __m256 differs = _mm256_cmp_ps(_mm256_loadu_ps(w + c), _mm256_setzero_ps(), _CMP_NEQ_UQ);
    const int32_t bits = _mm256_movemask_ps(differs);
    bitmask[c / 8] = static_cast<uint8_t>(bits);
    kept += __builtin_popcount(static_cast<uint32_t>(bits));
  }
  return kept + last_bits(c, cols, w, bitmask);
}

int64_t sparse_bits_u8_avx2(int64_t cols, const uint8_t* w, uint8_t* bitmask) {
  int64_t kept = 0, c = 0;
  for (; c + 32 <= cols; c += 32) {
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + c));
    const uint32_t bits = ~static_cast<uint32_t>(
        _mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, _mm256_setzero_si256())));
    memcpy(bitmask + c / 8, &bits, sizeof bits);
    kept += __builtin_popcount(bits);
  }
  for (; c + 8 <= cols; c += 8) kept += last_bits(c, c + 8, w, bitmask);
  return kept + last_bits(c, cols, w, bitmask);
}

void sparse_collect_f32_avx2(int64_t cols, const uint8_t* bitmask, const float* w, float* kept) {
  const float* const end = kept + kept_of(cols, bitmask);
  int64_t c = 0;
  for (; c + 8 <= cols && end - kept >= 8; c += 8) {
    const uint8_t mask = bitmask[c / 8];
    const __m256i lanes = _mm256_cvtepu8_epi32(
        _mm_loadl_epi64(reinterpret_cast<const __m128i*>(lanes_of_mask.at[mask])));
    _mm256_storeu_ps(kept, _mm256_permutevar8x32_ps(_mm256_loadu_ps(w + c), lanes));
    kept += __builtin_popcount(mask);
  }
  last_kept(c, cols, bitmask, w, kept);
}

void sparse_collect_i8_avx2(int64_t cols, const uint8_t* bitmask, const int8_t* w, int8_t* kept) {
  const int8_t* const end = kept + kept_of(cols, bitmask);
  int64_t c = 0;
  for (; c + 8 <= cols && end - kept >= 8; c += 8) {
    const uint8_t mask = bitmask[c / 8];
    const uint64_t bytes = _pext_u64(load_word(w + c), bytes_of(mask));
    memcpy(kept, &bytes, sizeof bytes);
    kept += __builtin_popcount(mask);
  }
  last_kept(c, cols, bitmask, w, kept);
}

void sparse_codes_avx2(const sparse_weights& w, int64_t begin, int64_t end, int8_t* codes) {
  for (int64_t r = begin; r < end; r++, codes += w.cols) codes_row(w, r, codes);
}

}  // namespace esp
