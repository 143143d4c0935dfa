// SPDX-License-Identifier: Apache-2.0
//
// Aligned memory and read-only file mappings.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

extern "C" {

esp_status esp_memory_allocate(int64_t bytes, void** out) noexcept {
  if (out == nullptr)
    return esp::fail(ESP_INVALID_ARGUMENT, "memory_allocate: out=NULL, expected an address");
  *out = nullptr;
  ESP_REQUIRE("memory_allocate", bytes >= 0 && bytes <= INT64_MAX - 64, "bytes >= 0", bytes);
  const size_t rounded = static_cast<size_t>(esp::max_of(64, esp::ceil_div(bytes, 64) * 64));
  void* address = nullptr;
  if (posix_memalign(&address, 64, rounded) != 0) {
    return esp::fail(ESP_OUT_OF_MEMORY,
                     "memory_allocate: bytes=%lld, expected that much free memory",
                     static_cast<long long>(bytes));
  }
  memset(address, 0, rounded);
  *out = address;
  return ESP_OK;
}

esp_status esp_memory_free(void* address, int64_t) noexcept {
  free(address);
  return ESP_OK;
}

esp_status esp_file_map(const char* path, void** address, int64_t* size) noexcept {
  if (path == nullptr || address == nullptr || size == nullptr) {
    return esp::fail(ESP_INVALID_ARGUMENT,
                     "file_map: NULL argument, expected path, address and size");
  }
  *address = nullptr;
  *size = 0;
  const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    return esp::fail(ESP_IO, "file_map: cannot open %s: %s", path, strerror(errno));
  struct stat facts;
  if (fstat(descriptor, &facts) != 0 || !S_ISREG(facts.st_mode)) {
    close(descriptor);
    return esp::fail(ESP_IO, "file_map: %s is not a regular file", path);
  }
  if (facts.st_size > 0) {
    void* mapped =
        mmap(nullptr, static_cast<size_t>(facts.st_size), PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (mapped == MAP_FAILED) {
      const int reason = errno;
      close(descriptor);
      return esp::fail(ESP_IO, "file_map: cannot map %s: %s", path, strerror(reason));
    }
    *address = mapped;
    *size = static_cast<int64_t>(facts.st_size);
  }
  close(descriptor);
  return ESP_OK;
}

esp_status esp_file_unmap(void* address, int64_t size) noexcept {
  if (address != nullptr && size > 0 && munmap(address, static_cast<size_t>(size)) != 0) {
    return esp::fail(ESP_IO, "file_unmap: %s", strerror(errno));
  }
  return ESP_OK;
}

esp_status esp_file_forget(const void* address, int64_t bytes) noexcept {
  const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(address) + page - 1) / page * page;
  const uintptr_t end =
      (reinterpret_cast<uintptr_t>(address) + static_cast<uintptr_t>(bytes)) / page * page;
  // Only whole pages: a neighbour's bytes on a shared page stay resident. Failure is harmless, it
  // is advice.
  if (address != nullptr && bytes > 0 && begin < end)
    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  return ESP_OK;
}

}  // extern "C"
