// SPDX-License-Identifier: Apache-2.0
//
// The products of panels.h over the lanes of lanes_avx512.h (AVX-512 F: 16 floats).
#include "cpu/lanes_avx512.h"
#include "cpu/panels/panels.h"

namespace esp {

panel_product_kernel panel_product_avx512;

void panel_product_avx512(const panel_product& p) {
  multiply_panels(p);
}

}  // namespace esp
