// SPDX-License-Identifier: Apache-2.0
//
// The function type of every operation that has variants: <operation>_kernel. Entry points
// (native/src) check arguments and cut tiles; a kernel computes one tile from raw pointers,
// allocates nothing and cannot fail.
#ifndef ESPALIER_OPERATIONS_H
#define ESPALIER_OPERATIONS_H

#include "gradient_operations.h"
#include "int8_operations.h"
#include "pruning_operations.h"
#include "quantization_operations.h"
#include "sparse_operations.h"
#include "transformer_operations.h"

#endif  // ESPALIER_OPERATIONS_H
