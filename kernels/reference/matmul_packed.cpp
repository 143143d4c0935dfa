// SPDX-License-Identifier: Apache-2.0
//
// What      y = x . W^T + bias with W[r, c] = scale * (q - zero) read from bit streams, and W
// itself. Layout    layout/bit_stream.h. Tile      the caller's rows n and m, one output after the
// other. Numerics  (q - zero) x summed in fp32 per chunk of 128 columns, scaled, chunks summed in
// fp32:
//           error <= (128 + chunks + 2) eps sum |W||x|.
// Needs     nothing.
// Tail      none: column by column.
#include "layout/bit_stream.h"
#include "operations.h"

namespace esp {

matmul_w4a16_kernel matmul_w4a16_reference;
matmul_w8a16_kernel matmul_w8a16_reference;
matmul_wna16_kernel matmul_wna16_reference;
dequantize_kernel dequantize_reference;

void matmul_wna16_reference(int32_t bits, int64_t m, int64_t n, int64_t k, const float* x,
                            int64_t ldx, const float*, const uint32_t* codes, int64_t ldcodes,
                            const float* scales, const int8_t* zeros, int64_t group,
                            const float* bias, float* y, int64_t ldy) {
  const int64_t groups = k == 0 ? 0 : k / group;
  for (int64_t r = 0; r < n; r++) {
    for (int64_t i = 0; i < m; i++) {
      float sum = 0.0f;
      for (int64_t g = 0; g < groups; g++) {
        const int32_t zero = zeros == nullptr ? 0 : zeros[r * groups + g];
        const int64_t end = (g + 1) * group;
        for (int64_t start = g * group; start < end; start += packed_chunk) {
          float chunk = 0.0f;
          for (int64_t c = start; c < end && c < start + packed_chunk; c++) {
            const int32_t q = stream_read(codes + r * ldcodes, c, bits);
            chunk += static_cast<float>(q - zero) * x[i * ldx + c];
          }
          sum += scales[r * groups + g] * chunk;
        }
      }
      y[i * ldy + r] = bias == nullptr ? sum : sum + bias[r];
    }
  }
}

void matmul_w4a16_reference(int64_t m, int64_t n, int64_t k, const float* x, int64_t ldx,
                            const float* sums, const uint32_t* codes, int64_t ldcodes,
                            const float* scales, const int8_t* zeros, int64_t group,
                            const float* bias, float* y, int64_t ldy) {
  matmul_wna16_reference(4, m, n, k, x, ldx, sums, codes, ldcodes, scales, zeros, group, bias, y,
                         ldy);
}

void matmul_w8a16_reference(int64_t m, int64_t n, int64_t k, const float* x, int64_t ldx,
                            const float* sums, const uint32_t* codes, int64_t ldcodes,
                            const float* scales, const int8_t* zeros, int64_t group,
                            const float* bias, float* y, int64_t ldy) {
  matmul_wna16_reference(8, m, n, k, x, ldx, sums, codes, ldcodes, scales, zeros, group, bias, y,
                         ldy);
}

void dequantize_reference(int32_t bits, int64_t n, int64_t k, const uint32_t* codes,
                          int64_t ldcodes, const float* scales, const int8_t* zeros, int64_t group,
                          const int32_t* group_index, float* w, int64_t ldw) {
  const int64_t groups = k == 0 ? 0 : k / group;
  for (int64_t r = 0; r < n; r++) {
    for (int64_t c = 0; c < k; c++) {
      const int64_t g = group_index == nullptr ? c / group : group_index[c];
      const int32_t zero = zeros == nullptr ? 0 : zeros[r * groups + g];
      const int32_t q = stream_read(codes + r * ldcodes, c, bits);
      w[r * ldw + c] = scales[r * groups + g] * static_cast<float>(q - zero);
    }
  }
}

}  // namespace esp
