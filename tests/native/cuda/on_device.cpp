// SPDX-License-Identifier: Apache-2.0
#include "on_device.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine.h"

namespace cases {

const esp_cuda_functions& cuda() {
  static const esp_cuda_functions* const table = [] {
    const char* const path = getenv("ESPALIER_CUDA_LIBRARY");
    if (path == nullptr) return esp_cuda_table();
    void* const library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void* const door = library == nullptr ? nullptr : dlsym(library, "esp_cuda_table");
    if (door == nullptr) {
      fprintf(stderr, "%s: %s\n", path, dlerror());
      exit(2);
    }
    return reinterpret_cast<const esp_cuda_functions* (*)()>(door)();
  }();
  return *table;
}

esp_cuda_stream* cuda_stream() {
  static esp_cuda_stream* const stream = [] {
    esp_cuda_stream* s = nullptr;
    if (cuda().open(0, &s) != ESP_OK) {
      fprintf(stderr, "%s\n", cuda().last_error());
      exit(2);
    }
    return s;
  }();
  return stream;
}

bool emulated() {
  return &cuda() == esp_cuda_table();
}

void each_order(const std::function<void(uint64_t seed)>& act) {
  // Two orders in the first run of the CASE and one in the second.
  const uint64_t first = emulated() && at_start() ? 3 : 1, last = !emulated()  ? 1
                                                                  : at_start() ? 3
                                                                               : 2;
  for (uint64_t seed = first; seed <= last; seed++) {
    cuda_emulation::seed(seed);
    act(seed);
  }
}

void expect_done(esp_status queued, const std::string& label) {
  expect(queued == ESP_OK, "%s: status %d, %s", label.c_str(), queued, cuda().last_error());
  const esp_status done = cuda().synchronize(cuda_stream());
  expect(done == ESP_OK, "%s: status %d, %s", label.c_str(), done, cuda().last_error());
}

}  // namespace cases
