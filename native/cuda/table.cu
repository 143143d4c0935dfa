// SPDX-License-Identifier: Apache-2.0
//
// The table that is the library's one export.
#include "entries.h"

extern "C" const esp_cuda_functions* esp_cuda_table(void) noexcept {
#define ESP_CUDA_ADDRESS(name) &esp::cuda::name,
  static const esp_cuda_functions table = {ESP_CUDA_ABI, static_cast<int32_t>(sizeof table),
                                           ESP_CUDA_ENTRIES(ESP_CUDA_ADDRESS)};
#undef ESP_CUDA_ADDRESS
  return &table;
}
