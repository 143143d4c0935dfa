// SPDX-License-Identifier: Apache-2.0
//
// Devices, streams, events and memory: thin over the CUDA runtime.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <new>

#include "entries.h"

namespace esp {
namespace cuda {
namespace {
thread_local char message[512];
constexpr int32_t oldest_capability = 80;
}  // namespace

esp_status fail(esp_status status, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  return status;
}

const char* last_error() {
  return message;
}

esp_status told(const char* op, cudaError_t status) {
  if (status == cudaSuccess) return ESP_OK;
  return fail(status == cudaErrorMemoryAllocation ? ESP_OUT_OF_MEMORY : ESP_DEVICE,
              "%s: the device says %s", op, cudaGetErrorString(status));
}

esp_status device_count(int32_t* count) {
  ESP_CUDA_REQUIRE("device_count", count != nullptr, "an address", count != nullptr);
  *count = 0;
  int found = 0;
  const cudaError_t status = cudaGetDeviceCount(&found);
  if (status == cudaErrorInsufficientDriver)
    return fail(
        ESP_DEVICE,
        "device_count: no NVIDIA driver, or one too old for CUDA 13.0, expected 580 or later");
  if (status == cudaErrorNoDevice)
    return fail(ESP_DEVICE, "device_count: the driver has no device");
  ESP_CUDA_CALL("device_count", status);
  *count = found;
  return ESP_OK;
}

esp_status device_info(int32_t device, esp_cuda_device* to) {
  const char* const op = "device_info";
  ESP_CUDA_REQUIRE(op, to != nullptr, "an address", to != nullptr);
  int32_t count;
  const esp_status status = device_count(&count);
  if (status != ESP_OK) return status;
  ESP_CUDA_REQUIRE(op, device >= 0 && device < count, "one of the devices there are", device);
  cudaDeviceProp properties;
  ESP_CUDA_CALL(op, cudaGetDeviceProperties(&properties, device));
  ESP_CUDA_CALL(op, cudaSetDevice(device));
  size_t free_bytes = 0, total_bytes = 0;
  ESP_CUDA_CALL(op, cudaMemGetInfo(&free_bytes, &total_bytes));
  memset(to, 0, sizeof *to);
  snprintf(to->name, sizeof to->name, "%.127s", properties.name);
  to->major = properties.major;
  to->minor = properties.minor;
  to->multiprocessors = properties.multiProcessorCount;
  to->supported = 10 * properties.major + properties.minor >= oldest_capability;
  to->total_bytes = static_cast<int64_t>(total_bytes);
  to->free_bytes = static_cast<int64_t>(free_bytes);
  return ESP_OK;
}

esp_status open(int32_t device, esp_cuda_stream** to) {
  const char* const op = "open";
  ESP_CUDA_REQUIRE(op, to != nullptr, "an address", to != nullptr);
  *to = nullptr;
  esp_cuda_device info;
  const esp_status status = device_info(device, &info);
  if (status != ESP_OK) return status;
  if (info.supported == 0)
    return fail(ESP_UNSUPPORTED,
                "open: device %d has compute capability %d.%d, expected 8.0 or later", device,
                info.major, info.minor);
  cudaStream_t handle;
  ESP_CUDA_CALL(op, cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking));
  *to = new (std::nothrow)
      esp_cuda_stream{device, info.multiprocessors, 10 * info.major + info.minor, handle};
  if (*to == nullptr) {
    cudaStreamDestroy(handle);
    return fail(ESP_OUT_OF_MEMORY, "open: no memory for a stream");
  }
  return ESP_OK;
}

esp_status close(esp_cuda_stream* s) {
  if (s == nullptr) return ESP_OK;
  const esp_status status = synchronize(s);
  cudaStreamDestroy(s->handle);
  delete s;
  return status;
}

// Every call on behalf of a stream comes from a thread that may have used another device.
static esp_status enter(const char* op, const esp_cuda_stream* s) {
  ESP_CUDA_REQUIRE(op, s != nullptr, "a stream", s != nullptr);
  return told(op, cudaSetDevice(s->device));
}

#define ESP_CUDA_ENTER(op, s)                              \
  do {                                                     \
    const esp_status status_of_enter = enter(op, s);       \
    if (status_of_enter != ESP_OK) return status_of_enter; \
  } while (0)

esp_status synchronize(esp_cuda_stream* s) {
  ESP_CUDA_ENTER("synchronize", s);
  return told("synchronize", cudaStreamSynchronize(s->handle));
}

esp_status event_create(esp_cuda_stream* s, esp_cuda_event** to) {
  ESP_CUDA_ENTER("event_create", s);
  ESP_CUDA_REQUIRE("event_create", to != nullptr, "an address", to != nullptr);
  cudaEvent_t handle;
  ESP_CUDA_CALL("event_create", cudaEventCreateWithFlags(&handle, cudaEventDisableTiming));
  *to = new (std::nothrow) esp_cuda_event{handle};
  if (*to == nullptr) return fail(ESP_OUT_OF_MEMORY, "event_create: no memory for an event");
  return ESP_OK;
}

esp_status event_destroy(esp_cuda_event* e) {
  if (e == nullptr) return ESP_OK;
  cudaEventDestroy(e->handle);
  delete e;
  return ESP_OK;
}

esp_status event_record(esp_cuda_event* e, esp_cuda_stream* s) {
  ESP_CUDA_ENTER("event_record", s);
  ESP_CUDA_REQUIRE("event_record", e != nullptr, "an event", e != nullptr);
  return told("event_record", cudaEventRecord(e->handle, s->handle));
}

esp_status event_wait(esp_cuda_stream* s, esp_cuda_event* e) {
  ESP_CUDA_ENTER("event_wait", s);
  ESP_CUDA_REQUIRE("event_wait", e != nullptr, "an event", e != nullptr);
  return told("event_wait", cudaStreamWaitEvent(s->handle, e->handle, 0));
}

esp_status allocate(esp_cuda_stream* s, int64_t bytes, void** to) {
  const char* const op = "allocate";
  ESP_CUDA_ENTER(op, s);
  ESP_CUDA_REQUIRE(op, to != nullptr, "an address", to != nullptr);
  ESP_CUDA_REQUIRE(op, bytes >= 0, "bytes >= 0", bytes);
  *to = nullptr;
  if (bytes == 0) return ESP_OK;
  const cudaError_t status = cudaMalloc(to, static_cast<size_t>(bytes));
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // so that the next call does not find it again
    size_t free_bytes = 0, total_bytes = 0;
    cudaMemGetInfo(&free_bytes, &total_bytes);
    return fail(ESP_OUT_OF_MEMORY,
                "allocate: bytes=%lld, expected at most the %zu of %zu that are free",
                static_cast<long long>(bytes), free_bytes, total_bytes);
  }
  return told(op, status);
}

esp_status release(esp_cuda_stream* s, void* d_memory) {
  ESP_CUDA_ENTER("release", s);
  return told("release", cudaFree(d_memory));
}

esp_status host_allocate(int64_t bytes, void** to) {
  const char* const op = "host_allocate";
  ESP_CUDA_REQUIRE(op, to != nullptr, "an address", to != nullptr);
  ESP_CUDA_REQUIRE(op, bytes >= 0, "bytes >= 0", bytes);
  return told(op, cudaHostAlloc(to, static_cast<size_t>(bytes), cudaHostAllocDefault));
}

esp_status host_release(void* memory) {
  return told("host_release", cudaFreeHost(memory));
}

static esp_status transfer(const char* op, esp_cuda_stream* s, void* to, const void* from,
                           int64_t bytes, cudaMemcpyKind kind) {
  ESP_CUDA_ENTER(op, s);
  ESP_CUDA_REQUIRE(op, bytes >= 0, "bytes >= 0", bytes);
  if (bytes == 0) return ESP_OK;
  ESP_CUDA_REQUIRE(op, to != nullptr && from != nullptr, "an address", 0);
  return told(op, cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), kind, s->handle));
}

esp_status upload(esp_cuda_stream* s, void* d_to, const void* from, int64_t bytes) {
  return transfer("upload", s, d_to, from, bytes, cudaMemcpyHostToDevice);
}

esp_status download(esp_cuda_stream* s, void* to, const void* d_from, int64_t bytes) {
  return transfer("download", s, to, d_from, bytes, cudaMemcpyDeviceToHost);
}

esp_status copy(esp_cuda_stream* s, void* d_to, const void* d_from, int64_t bytes) {
  return transfer("copy", s, d_to, d_from, bytes, cudaMemcpyDeviceToDevice);
}

esp_status zero(esp_cuda_stream* s, void* d_to, int64_t bytes) {
  ESP_CUDA_ENTER("zero", s);
  ESP_CUDA_REQUIRE("zero", bytes >= 0, "bytes >= 0", bytes);
  if (bytes == 0) return ESP_OK;
  return told("zero", cudaMemsetAsync(d_to, 0, static_cast<size_t>(bytes), s->handle));
}

}  // namespace cuda
}  // namespace esp
