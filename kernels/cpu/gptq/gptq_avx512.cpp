// SPDX-License-Identifier: Apache-2.0
//
// What      Preview and rounding of one block of GPTQ columns: gptq_lanes.h over AVX-512.
// Layout    gptq_lanes.h; a strip is 32 rows, four vectors of 8 doubles.
// Tile      64 rows, at most 128 columns.
// Numerics  the bits of the reference; no fused operation.
// Needs     AVX-512 F, DQ.
// Tail      none.
#include "cpu/gptq/gptq_lanes.h"
#include "cpu/gptq/vectors_avx512.h"

namespace esp {

gptq_preview_kernel gptq_preview_avx512;
gptq_columns_kernel gptq_columns_avx512;

void gptq_preview_avx512(const gptq_panels* panels, int64_t first, int64_t last, float* low,
                         float* high) {
  preview_lanes<vectors_avx512>(*panels, first, last, low, high);
}

void gptq_columns_avx512(const gptq_panels* panels, int64_t first, int64_t last, int32_t bits,
                         const int32_t* groups, const float* scales, const float* zeros,
                         float* values, int8_t* codes) {
  round_lanes<vectors_avx512>(*panels, first, last, bits, groups, scales, zeros, values, codes);
}

}  // namespace esp
