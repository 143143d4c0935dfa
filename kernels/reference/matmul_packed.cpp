// SPDX-License-Identifier: Apache-2.0
//
// What      y = x . W^T + bias with W[r, c] = scale * (q - zero) read from bit streams, W itself,
// and
//           x in block fixed point.
// Layout    layout/bit_stream.h, layout/fixed_point.h.
// Tile      the caller's rows n and m, one output after the other; fix_row one row.
// Numerics  (q - zero) x summed in fp32 per chunk of 128 columns, scaled, chunks summed in
// fp32:
//           error <= (128 + chunks + 2) eps sum |W||x|.
// Needs     nothing.
// Tail      none: column by column.
#include "layout/bit_stream.h"
#include "layout/fixed_point.h"
#include "operations.h"

namespace esp {

fix_row_kernel fix_row_reference;
matmul_w4a16_kernel matmul_w4a16_reference;
matmul_w8a16_kernel matmul_w8a16_reference;
matmul_wna16_kernel matmul_wna16_reference;
dequantize_kernel dequantize_reference;

void fix_row_reference(int32_t bits, int32_t fine, int64_t k, int64_t group, const float* x,
                       int8_t* digits, float* quanta, float* sums) {
  const fixed_layout f = fixed_layout_of(bits, fine != 0);
  for (int64_t g = 0; g < k / group; g++) {
    const int64_t end = (g + 1) * group;
    double sum = 0.0;  // of products that are exact: below 2^37 times 24 bits
    for (int64_t start = g * group; start < end; start += packed_chunk) {
      const int64_t stop = end < start + packed_chunk ? end : start + packed_chunk;
      const int64_t chunk = fixed_chunk(f, fine != 0, x, start, stop, digits, quanta);
      sum += static_cast<double>(chunk) * static_cast<double>(*quanta++);
      digits += fixed_steps(f, start, stop) * f.step_bytes();
    }
    sums[g] = static_cast<float>(sum);
  }
}

void matmul_wna16_reference(const packed_operands& o) {
  const int64_t groups = o.k == 0 ? 0 : o.k / o.group;
  for (int64_t r = 0; r < o.n; r++) {
    for (int64_t i = 0; i < o.m; i++) {
      float sum = 0.0f;
      for (int64_t g = 0; g < groups; g++) {
        const int32_t zero = o.zeros == nullptr ? 0 : o.zeros[r * groups + g];
        const int64_t end = (g + 1) * o.group;
        for (int64_t start = g * o.group; start < end; start += packed_chunk) {
          float chunk = 0.0f;
          for (int64_t c = start; c < end && c < start + packed_chunk; c++) {
            const int32_t q = stream_read(o.codes + r * o.ldcodes, c, o.bits);
            chunk += static_cast<float>(q - zero) * o.x[i * o.ldx + c];
          }
          sum += o.scales[r * groups + g] * chunk;
        }
      }
      o.y[i * o.ldy + r] = o.bias == nullptr ? sum : sum + o.bias[r];
    }
  }
}

void matmul_w4a16_reference(const packed_operands& o) {
  matmul_wna16_reference(o);
}
void matmul_w8a16_reference(const packed_operands& o) {
  matmul_wna16_reference(o);
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
