// SPDX-License-Identifier: Apache-2.0
//
// What      y = x W^T + bias, or y += x W^T, W in panels of 16 rows; and the panels.
// Layout    panel [k][16]: what one column of x is multiplied with lies together.
// Tile      the whole.
// Numerics  fp32, one fused multiply-add after the other in order of k: off by at most
//           (k + 1) * 2^-24 (|y| before + sum|x||w|).
// Needs     nothing (the C library fuses in software where the CPU cannot).
// Tail      a panel's columns behind n are 0 and not written to y.
#include <math.h>

#include "operations.h"

namespace esp {

panel_product_kernel panel_product_reference;
fill_panel_kernel fill_panel_reference;

void panel_product_reference(const panel_product& p) {
  for (int64_t i = 0; i < p.m; i++) {
    for (int64_t j = 0; j < p.n; j++) {
      const float* const panel = p.panels + j / panel_width * p.panel_stride + j % panel_width;
      float* const y = p.y + i * p.ldy + j;
      float sum = p.adds ? *y : p.bias != nullptr ? p.bias[j] : 0.0f;
      for (int64_t t = 0; t < p.k; t++) sum = fmaf(p.x[i * p.ldx + t], panel[t * panel_width], sum);
      *y = sum;
    }
  }
}

void fill_panel_reference(int64_t rows, int64_t k, const float* w, int64_t ldw, float* panel) {
  for (int64_t t = 0; t < k; t++) {
    for (int64_t j = 0; j < panel_width; j++)
      panel[t * panel_width + j] = j < rows ? w[j * ldw + t] : 0.0f;
  }
}

}  // namespace esp
