// SPDX-License-Identifier: Apache-2.0
//
// Kernel types of quantization: packed products, ranges, codes, packing, the GPTQ solver.
#ifndef ESPALIER_QUANTIZATION_OPERATIONS_H
#define ESPALIER_QUANTIZATION_OPERATIONS_H

#include <stdint.h>

namespace esp {}  // namespace esp

#endif  // ESPALIER_QUANTIZATION_OPERATIONS_H
