// SPDX-License-Identifier: Apache-2.0
#include <dlfcn.h>
#include <stdio.h>

#include "vendors.h"

namespace bench {
namespace {

constexpr int row_major = 101, no_transpose = 111, transpose = 112;

void (*sgemm)(int, int, int, int, int, int, float, const float*, int, const float*, int, float,
              float*, int) = nullptr;
void (*sgemv)(int, int, int, int, float, const float*, int, const float*, int, float, float*,
              int) = nullptr;
void (*set_threads)(int) = nullptr;

std::vector<std::string>& names() {
  static std::vector<std::string> opened;
  return opened;
}

}  // namespace

std::vector<std::string> vendor_names() {
  return names();
}

void add_vendor_name(const std::string& name) {
  names().push_back(name);
}

bool open_blas(const char* path) {
  if (esp_blas_open(path) != ESP_OK) {
    fprintf(stderr, "error: %s\n", esp_last_error());
    return false;
  }
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);  // the one that is open already
  if (library == nullptr) return false;
  sgemm = reinterpret_cast<decltype(sgemm)>(dlsym(library, "cblas_sgemm"));
  sgemv = reinterpret_cast<decltype(sgemv)>(dlsym(library, "cblas_sgemv"));
  set_threads = reinterpret_cast<decltype(set_threads)>(dlsym(library, "openblas_set_num_threads"));
  const auto config = reinterpret_cast<const char* (*)()>(dlsym(library, "openblas_get_config"));
  if (sgemm == nullptr || sgemv == nullptr || set_threads == nullptr || config == nullptr) {
    fprintf(stderr, "error: %s is no OpenBLAS\n", path);
    return false;
  }
  const std::string words = config();  // "OpenBLAS 0.3.31 DYNAMIC_ARCH ..."
  const size_t end = words.find(' ', words.find(' ') + 1);
  add_vendor_name("openblas " + words.substr(words.find(' ') + 1, end - words.find(' ') - 1));
  return true;
}

void add_blas(const product_operands& p, bool in_out, std::vector<vendor_row>* rows) {
  if (sgemm == nullptr) return;
  const int m = static_cast<int>(p.m), n = static_cast<int>(p.n), k = static_cast<int>(p.k);
  const int ldw = in_out ? n : k;
  vendor_row row;
  row.name = "openblas";
  row.set_threads = set_threads;
  row.run = [=](int64_t turn) {
    const float* x = static_cast<const float*>(p.x);
    const float* w = static_cast<const float*>(p.w(turn));
    if (m == 1) {
      sgemv(row_major, in_out ? transpose : no_transpose, in_out ? k : n, ldw, 1.0f, w, ldw, x, 1,
            0.0f, p.y, 1);
    } else {
      sgemm(row_major, no_transpose, in_out ? no_transpose : transpose, m, n, k, 1.0f, x, k, w, ldw,
            0.0f, p.y, n);
    }
  };
  rows->push_back(row);
}

}  // namespace bench
