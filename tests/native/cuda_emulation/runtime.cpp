// SPDX-License-Identifier: Apache-2.0
//
// The runtime calls of an emulated device: one, of compute capability 9.0. Work on a stream is done
// when the host waits for it and not before, so that a result read without waiting is not there.
// Device memory ends at an inaccessible page. ESPALIER_EMULATED_MEMORY: its size in bytes.
#include "cuda_runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <deque>
#include <map>
#include <mutex>

namespace cuda_emulation {

struct event {
  stream* of = nullptr;
  int64_t turn = 0;  // of the stream's work, that is done when the event is
};

struct stream {
  std::deque<std::function<cudaError_t()>> work;
  int64_t queued = 0, done = 0;
  cudaError_t failed = cudaSuccess;
};

namespace {

constexpr size_t page = 4096;

std::recursive_mutex everything;
std::map<void*, std::pair<void*, size_t>> regions;  // address -> mapping
size_t used = 0;
char launch_message[512];

size_t capacity() {
  const char* const bytes = getenv("ESPALIER_EMULATED_MEMORY");
  return bytes == nullptr ? size_t{4} << 30 : strtoull(bytes, nullptr, 10);
}

cudaError_t catch_up(stream* s, int64_t turn) {
  while (s->done < turn && !s->work.empty()) {
    const auto work = std::move(s->work.front());
    s->work.pop_front();
    const cudaError_t status = s->failed == cudaSuccess ? work() : s->failed;
    s->done++;
    if (s->failed == cudaSuccess) s->failed = status;
  }
  return s->failed;
}

}  // namespace

cudaError_t enqueue(stream* s, std::function<cudaError_t()> work) {
  const std::lock_guard<std::recursive_mutex> hold(everything);
  s->work.push_back(std::move(work));
  s->queued++;
  return cudaSuccess;
}

cudaError_t run(dim3 grid, dim3 threads, size_t shared, const std::function<void()>& body) {
  const char* const wrong = run_blocks(grid, threads, shared, body);
  if (wrong == nullptr) return cudaSuccess;
  snprintf(launch_message, sizeof launch_message, "%s", wrong);
  return cudaErrorLaunchFailure;
}

}  // namespace cuda_emulation

using cuda_emulation::everything;
using hold_all = std::lock_guard<std::recursive_mutex>;

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* to, int device) {
  if (device != 0) return cudaErrorInvalidDevice;
  *to = cudaDeviceProp{};
  snprintf(to->name, sizeof to->name, "emulated");
  to->major = 9;
  to->minor = 0;
  to->multiProcessorCount = 2;
  to->totalGlobalMem = cuda_emulation::capacity();
  to->sharedMemPerBlockOptin = 227 * 1024;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  return device == 0 ? cudaSuccess : cudaErrorInvalidDevice;
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const hold_all hold(everything);
  *total = cuda_emulation::capacity();
  *free = *total > cuda_emulation::used ? *total - cuda_emulation::used : 0;
  return cudaSuccess;
}

// Begins at a multiple of 16 and ends within 15 bytes of the page that may not be touched.
cudaError_t cudaMalloc(void** to, size_t bytes) {
  using namespace cuda_emulation;
  const hold_all hold(everything);
  const size_t room = (bytes + page - 1) / page * page + page;
  if (used + bytes > capacity()) return cudaErrorMemoryAllocation;
  void* const map = mmap(nullptr, room, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (map == MAP_FAILED) return cudaErrorMemoryAllocation;
  unsigned char* const end = static_cast<unsigned char*>(map) + room - page;
  mprotect(end, page, PROT_NONE);
  *to = end - (bytes + 15) / 16 * 16;
  memset(*to, 0xff, bytes);  // NaN, as if something had been there
  regions[*to] = {map, room};
  used += bytes;
  return cudaSuccess;
}

cudaError_t cudaFree(void* p) {
  using namespace cuda_emulation;
  const hold_all hold(everything);
  if (p == nullptr) return cudaSuccess;
  const auto found = regions.find(p);
  if (found == regions.end()) return cudaErrorInvalidValue;
  const size_t bytes =
      static_cast<size_t>(static_cast<unsigned char*>(found->second.first) + found->second.second -
                          page - static_cast<unsigned char*>(p));
  used -= bytes < used ? bytes : used;
  munmap(found->second.first, found->second.second);
  regions.erase(found);
  return cudaSuccess;
}

cudaError_t cudaHostAlloc(void** to, size_t bytes, unsigned int) {
  *to = malloc(bytes == 0 ? 1 : bytes);
  return *to == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}

cudaError_t cudaFreeHost(void* p) {
  free(p);
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* to, unsigned int) {
  *to = new cuda_emulation::stream;
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t s) {
  const hold_all hold(everything);
  delete s;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t s) {
  const hold_all hold(everything);
  const cudaError_t status = cuda_emulation::catch_up(s, s->queued);
  s->failed = cudaSuccess;  // told once; a real device would have to be opened anew
  return status;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* to, unsigned int) {
  *to = new cuda_emulation::event;
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t e) {
  delete e;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
  const hold_all hold(everything);
  e->of = s;
  e->turn = s->queued;
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned int) {
  const cuda_emulation::event now = *e;
  if (now.of == nullptr) return cudaSuccess;
  return cuda_emulation::enqueue(s, [now] { return cuda_emulation::catch_up(now.of, now.turn); });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                            cudaStream_t s) {
  return cuda_emulation::enqueue(s, [=] {
    memcpy(to, from, bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t s) {
  return cuda_emulation::enqueue(s, [=] {
    memset(to, value, bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaGetLastError() {
  return cudaSuccess;
}

const char* cudaGetErrorString(cudaError_t status) {
  switch (status) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorLaunchFailure:
      return cuda_emulation::launch_message;
    default:
      return "invalid argument";
  }
}
