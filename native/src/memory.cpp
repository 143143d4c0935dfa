// SPDX-License-Identifier: Apache-2.0
//
// Aligned memory, read-only file mappings, and memory that lives in an unnamed file.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

namespace {

// From here on an allocation is a mapping of its own, so that freeing it gives the pages back at
// once. malloc would keep blocks up to 32 MiB in its arenas, and a run that promised to stay within
// a budget could not tell how much.
constexpr int64_t own_mapping = 1 << 18;

// From here on pages of 2 MiB are asked for, where the system gives them on request: a fault for
// every 4 KiB costs a block loop one second in fifteen.
constexpr int64_t large_pages = 4 << 20;

int64_t rounded_size(int64_t bytes) {
  return esp::max_of(64, esp::ceil_div(bytes, 64) * 64);
}

// A file without a name in `folder`; -1 with errno set when it cannot be made.
int unnamed_file(const char* folder) {
#ifdef O_TMPFILE
  const int unnamed = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (unnamed >= 0) return unnamed;
#endif
  // Some file systems have no unnamed files: take one that loses its name at once.
  char path[4096];
  const int length = snprintf(path, sizeof path, "%s/.espalier-XXXXXX", folder);
  if (length < 0 || length >= static_cast<int>(sizeof path)) {
    errno = ENAMETOOLONG;
    return -1;
  }
  const int named = mkstemp(path);
  if (named >= 0) unlink(path);
  return named;
}

}  // namespace

extern "C" {

esp_status esp_memory_allocate(int64_t bytes, void** out) noexcept {
  if (out == nullptr)
    return esp::fail(ESP_INVALID_ARGUMENT, "memory_allocate: out=NULL, expected an address");
  *out = nullptr;
  ESP_REQUIRE("memory_allocate", bytes >= 0 && bytes <= INT64_MAX - 64, "bytes >= 0", bytes);
  const size_t rounded = static_cast<size_t>(rounded_size(bytes));
  void* address = nullptr;
  if (bytes >= own_mapping) {
    address = mmap(nullptr, rounded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (address == MAP_FAILED) {
      return esp::fail(ESP_OUT_OF_MEMORY,
                       "memory_allocate: bytes=%lld, expected that much free memory",
                       static_cast<long long>(bytes));
    }
    if (bytes >= large_pages) madvise(address, rounded, MADV_HUGEPAGE);
    *out = address;
    return ESP_OK;
  }
  if (posix_memalign(&address, 64, rounded) != 0) {
    return esp::fail(ESP_OUT_OF_MEMORY,
                     "memory_allocate: bytes=%lld, expected that much free memory",
                     static_cast<long long>(bytes));
  }
  memset(address, 0, rounded);
  *out = address;
  return ESP_OK;
}

esp_status esp_memory_free(void* address, int64_t bytes) noexcept {
  if (address != nullptr && bytes >= own_mapping) {
    munmap(address, static_cast<size_t>(rounded_size(bytes)));
  } else {
    free(address);
  }
  return ESP_OK;
}

esp_status esp_memory_sparse(void* address, int64_t bytes) noexcept {
  if (address != nullptr && bytes >= own_mapping)
    madvise(address, static_cast<size_t>(rounded_size(bytes)), MADV_NOHUGEPAGE);
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

esp_status esp_file_spill(const char* folder, int64_t bytes, void** address) noexcept {
  if (folder == nullptr || address == nullptr)
    return esp::fail(ESP_INVALID_ARGUMENT,
                     "file_spill: NULL argument, expected folder and address");
  *address = nullptr;
  ESP_REQUIRE("file_spill", bytes > 0, "bytes > 0", bytes);
  const int descriptor = unnamed_file(folder);
  if (descriptor < 0)
    return esp::fail(ESP_IO, "file_spill: no file can be made in %s: %s", folder, strerror(errno));
  // All blocks now: a page that finds the disk full later would end the process with SIGBUS.
  const int reason = posix_fallocate(descriptor, 0, static_cast<off_t>(bytes));
  if (reason != 0) {
    close(descriptor);
    return esp::fail(ESP_IO, "file_spill: no %lld bytes in %s: %s", static_cast<long long>(bytes),
                     folder, strerror(reason));
  }
  void* mapped =
      mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  const int fault = errno;
  close(descriptor);
  if (mapped == MAP_FAILED)
    return esp::fail(ESP_IO, "file_spill: cannot map %lld bytes of %s: %s",
                     static_cast<long long>(bytes), folder, strerror(fault));
  *address = mapped;
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
