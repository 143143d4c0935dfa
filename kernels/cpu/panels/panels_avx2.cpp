// SPDX-License-Identifier: Apache-2.0
//
// The products of panels.h over the lanes of lanes_avx2.h (AVX2, FMA: 8 floats), and panels filled
// by squares of eight, transposed in registers.
#include "cpu/lanes_avx2.h"
#include "cpu/panels/panels.h"
#include "cpu/turn_eight.h"

namespace esp {

panel_product_kernel panel_product_avx2;
fill_panel_kernel fill_panel_avx2;

void panel_product_avx2(const panel_product& p) {
  multiply_panels(p);
}

void fill_panel_avx2(int64_t rows, int64_t k, const float* w, int64_t ldw, float* panel) {
  const int64_t whole = k / 8 * 8;
  for (int64_t j = 0; j < panel_width; j += 8) {
    for (int64_t t = 0; t < whole; t += 8) {
      __m256 square[8];
      for (int64_t i = 0; i < 8; i++)
        square[i] = j + i < rows ? load(w + (j + i) * ldw + t) : zeros();
      turn_eight(square);
      for (int64_t i = 0; i < 8; i++) store(panel + (t + i) * panel_width + j, square[i]);
    }
  }
  for (int64_t t = whole; t < k; t++) {
    for (int64_t j = 0; j < panel_width; j++)
      panel[t * panel_width + j] = j < rows ? w[j * ldw + t] : 0.0f;
  }
}

}  // namespace esp
