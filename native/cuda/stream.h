// SPDX-License-Identifier: Apache-2.0
//
// What the entry points of espalier_cuda share.
#ifndef ESPALIER_CUDA_STREAM_H
#define ESPALIER_CUDA_STREAM_H

#include <cuda_runtime.h>

#include "espalier_cuda.h"

struct esp_cuda_stream {
  int32_t device;
  int32_t multiprocessors;
  int32_t capability;  // 10 major + minor
  cudaStream_t handle;
};

struct esp_cuda_event {
  cudaEvent_t handle;
};

namespace esp {
namespace cuda {

// Stores this thread's message and returns `status`.
esp_status fail(esp_status status, const char* format, ...) __attribute__((format(printf, 2, 3)));
// The status of a runtime call, with the driver's word.
esp_status told(const char* op, cudaError_t status);
const char* last_error();

#define ESP_CUDA_REQUIRE(op, condition, expected, value)                                     \
  do {                                                                                       \
    if (!(condition)) {                                                                      \
      return ::esp::cuda::fail(ESP_INVALID_ARGUMENT, "%s: %s=%lld, expected %s", op, #value, \
                               static_cast<long long>(value), expected);                     \
    }                                                                                        \
  } while (0)

// Returns from the enclosing function when a runtime call fails.
#define ESP_CUDA_CALL(op, call)                                    \
  do {                                                             \
    const esp_status status_of_call = ::esp::cuda::told(op, call); \
    if (status_of_call != ESP_OK) return status_of_call;           \
  } while (0)

}  // namespace cuda
}  // namespace esp

#endif  // ESPALIER_CUDA_STREAM_H
