// SPDX-License-Identifier: Apache-2.0
//
// The variant table, assembled from the variants.inc of every kernel folder. A row ESP_VARIANT(op,
// name, isa) stands for the function op_name of the type op_kernel (kernels/operations.h).
#include "internal.h"
#include "operations.h"

namespace esp {

#define ESP_VARIANT(op, name, needs) op##_kernel op##_##name;
#include "table.inc"
#undef ESP_VARIANT

namespace {

const variant rows[] = {
#define ESP_VARIANT(op, name, needs) \
  {#op, #name, isa::needs, reinterpret_cast<void (*)()>(&op##_##name)},
#include "table.inc"
#undef ESP_VARIANT
    {nullptr, nullptr, isa::scalar, nullptr},  // end of the table
};

}  // namespace

const variant* variants(int32_t* count) {
  *count = static_cast<int32_t>(sizeof rows / sizeof rows[0]) - 1;
  return rows;
}

}  // namespace esp
