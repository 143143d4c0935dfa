// SPDX-License-Identifier: Apache-2.0
//
// Dense products through an OpenBLAS opened at run time, or plain loops without it.
//
// OpenBLAS is set to one thread: its own threading changes the bits with the number of threads,
// ours (tiles) does not.
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include <atomic>

#include "internal.h"

namespace {

constexpr int row_major = 101;
constexpr int no_transpose = 111;
constexpr int transpose = 112;

using sgemm_function = void (*)(int, int, int, int, int, int, float, const float*, int,
                                const float*, int, float, float*, int);
using dgemm_function = void (*)(int, int, int, int, int, int, double, const double*, int,
                                const double*, int, double, double*, int);

std::atomic<sgemm_function> sgemm{nullptr};
std::atomic<dgemm_function> dgemm{nullptr};

template <class T>
void plain_gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a,
                int64_t lda, const T* b, int64_t ldb, T beta, T* c, int64_t ldc) {
  for (int64_t i = 0; i < m; i++) {
    T* row = c + i * ldc;
    for (int64_t j = 0; j < n; j++) row[j] = beta == T(0) ? T(0) : beta * row[j];
    for (int64_t p = 0; p < k; p++) {
      const T factor = alpha * (trans_a ? a[p * lda + i] : a[i * lda + p]);
      if (trans_b) {
        for (int64_t j = 0; j < n; j++) row[j] += factor * b[j * ldb + p];
      } else {
        for (int64_t j = 0; j < n; j++) row[j] += factor * b[p * ldb + j];
      }
    }
  }
}

}  // namespace

namespace esp {

void gemm_f32(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha,
              const float* a, int64_t lda, const float* b, int64_t ldb, float beta, float* c,
              int64_t ldc) {
  if (m == 0 || n == 0) return;
  const sgemm_function f = sgemm.load(std::memory_order_acquire);
  if (f == nullptr || k == 0) {
    plain_gemm(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    return;
  }
  f(row_major, trans_a ? transpose : no_transpose, trans_b ? transpose : no_transpose,
    static_cast<int>(m), static_cast<int>(n), static_cast<int>(k), alpha, a, static_cast<int>(lda),
    b, static_cast<int>(ldb), beta, c, static_cast<int>(ldc));
}

void gemm_f64(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, double alpha,
              const double* a, int64_t lda, const double* b, int64_t ldb, double beta, double* c,
              int64_t ldc) {
  if (m == 0 || n == 0) return;
  const dgemm_function f = dgemm.load(std::memory_order_acquire);
  if (f == nullptr || k == 0) {
    plain_gemm(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    return;
  }
  f(row_major, trans_a ? transpose : no_transpose, trans_b ? transpose : no_transpose,
    static_cast<int>(m), static_cast<int>(n), static_cast<int>(k), alpha, a, static_cast<int>(lda),
    b, static_cast<int>(ldb), beta, c, static_cast<int>(ldc));
}

}  // namespace esp

extern "C" esp_status esp_blas_open(const char* path) noexcept {
  if (path == nullptr)
    return esp::fail(ESP_INVALID_ARGUMENT, "blas_open: path=NULL, expected a library");
  if (sgemm.load(std::memory_order_acquire) != nullptr) return ESP_OK;
  // ESPALIER_ISA clamps the vendor library too; it reads this variable once, when it is loaded.
  const char* clamp = getenv("ESPALIER_ISA");
  if (clamp != nullptr && strcmp(clamp, "scalar") == 0) setenv("OPENBLAS_CORETYPE", "Prescott", 1);
  if (clamp != nullptr && strcmp(clamp, "avx2") == 0) setenv("OPENBLAS_CORETYPE", "Haswell", 1);
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return esp::fail(ESP_IO, "blas_open: %s", dlerror());
  using set_threads_function = void (*)(int);
  const auto set_threads =
      reinterpret_cast<set_threads_function>(dlsym(library, "openblas_set_num_threads"));
  const auto f32 = reinterpret_cast<sgemm_function>(dlsym(library, "cblas_sgemm"));
  const auto f64 = reinterpret_cast<dgemm_function>(dlsym(library, "cblas_dgemm"));
  if (set_threads == nullptr || f32 == nullptr || f64 == nullptr) {
    return esp::fail(
        ESP_IO, "blas_open: %s lacks cblas_sgemm, cblas_dgemm or openblas_set_num_threads", path);
  }
  set_threads(1);
  dgemm.store(f64, std::memory_order_release);
  sgemm.store(f32, std::memory_order_release);
  return ESP_OK;
}
