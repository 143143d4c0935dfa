// SPDX-License-Identifier: Apache-2.0
//
// The functions behind the table of espalier_cuda.h, each with the type of its entry: an entry that
// nobody defines does not link, one of another type does not compile.
#ifndef ESPALIER_CUDA_ENTRIES_H
#define ESPALIER_CUDA_ENTRIES_H

#include <type_traits>

#include "stream.h"

namespace esp {
namespace cuda {

// In the order of the table.
#define ESP_CUDA_ENTRIES(entry)                                                             \
  entry(last_error) entry(device_count) entry(device_info) entry(open) entry(close)         \
      entry(synchronize) entry(event_create) entry(event_destroy) entry(event_record)       \
          entry(event_wait) entry(allocate) entry(release) entry(host_allocate)             \
              entry(host_release) entry(upload) entry(download) entry(copy) entry(zero)     \
                  entry(probe) entry(quantize_range) entry(quantize_nearest) entry(pack)    \
                      entry(unpack) entry(select_nm) entry(apply_mask) entry(gram)          \
                          entry(cholesky_reversed) entry(gptq_solve) entry(gptq_work_bytes) \
                              entry(w4a16_tile) entry(w4a16_tile_bytes) entry(matmul_w4a16) \
                                  entry(w4a16_work_bytes)

#define ESP_CUDA_DECLARE(name) std::remove_pointer_t<decltype(esp_cuda_functions::name)> name;
ESP_CUDA_ENTRIES(ESP_CUDA_DECLARE)
#undef ESP_CUDA_DECLARE

}  // namespace cuda
}  // namespace esp

#endif  // ESPALIER_CUDA_ENTRIES_H
