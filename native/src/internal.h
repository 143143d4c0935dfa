// SPDX-License-Identifier: Apache-2.0
//
// What the entry points share: status messages, the context with its thread pool and scratch, the
// variant table. No exceptions, no RTTI, no STL containers anywhere in the library.
#ifndef ESPALIER_INTERNAL_H
#define ESPALIER_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "espalier.h"

namespace esp {

// ---- status
// ----------------------------------------------------------------------------------------------

// Stores this thread's message and returns `status`.
esp_status fail(esp_status status, const char* format, ...) __attribute__((format(printf, 2, 3)));

// Returns INVALID_ARGUMENT from the enclosing function unless `condition` holds.
// `expected` is a sentence such as "k >= 0".
#define ESP_REQUIRE(op, condition, expected, value)                                    \
  do {                                                                                 \
    if (!(condition)) {                                                                \
      return ::esp::fail(ESP_INVALID_ARGUMENT, "%s: %s=%lld, expected %s", op, #value, \
                         static_cast<long long>(value), expected);                     \
    }                                                                                  \
  } while (0)

// ---- instruction sets
// --------------------------------------------------------------------------------

// In ascending order of preference. avx2 means AVX2 + FMA + F16C; avx512 means F + BW + DQ + VL
// (and avx2); avx512vnni and avx512bf16 add their one extension to avx512.
enum class isa : int32_t { scalar = 0, avx2 = 1, avx512 = 2, avx512vnni = 3, avx512bf16 = 4 };

// True when the CPU and the operating system offer `which` and ESPALIER_ISA does not clamp it away.
bool isa_runs(isa which);
const char* isa_name(isa which);

// ---- variant table
// -----------------------------------------------------------------------------------

// One row: a kernel of an operation for an instruction set. `function` has the type
// <operation>_kernel of kernels/operations.h.
struct variant {
  const char* operation;
  const char* name;
  isa needs;
  void (*function)();
};

// The rows, grouped by operation, best first, the reference last; see native/src/variants.cpp.
const variant* variants(int32_t* count);

// Every row by name, numbered in the order of the table: row::rms_norm_avx2. An operation is known
// by its reference row, which it always has; a misspelt operation does not compile.
enum class row : int32_t {
#define ESP_VARIANT(op, name, needs) op##_##name,
#include "table.inc"
#undef ESP_VARIANT
  count
};

// The function that serves the operation whose reference row is `reference`: the pinned row of ctx,
// else the first that runs. One load: rows are chosen when the context is made and when it is
// pinned.
void (*choose(const esp_context* ctx, row reference))();

// Typed lookup: ESP_KERNEL(ctx, rms_norm) has the type rms_norm_kernel*.
#define ESP_KERNEL(ctx, op) \
  reinterpret_cast<op##_kernel*>(::esp::choose(ctx, ::esp::row::op##_reference))

// What esp_context_set_precision allowed: an esp_precision.
esp_precision precision(const esp_context* ctx);

// ---- threads and scratch
// -----------------------------------------------------------------------------

// Runs body(argument, tile, worker) for every tile in [0, tiles), each exactly once, on the pool of
// ctx; returns when all are done. Tiles must write disjoint outputs, so that the schedule cannot
// show in the result. worker < threads(ctx). The first status other than OK that a tile returns is
// returned (lowest tile wins) with its message.
using tile_body = esp_status (*)(void* argument, int64_t tile, int32_t worker);
esp_status parallel(esp_context* ctx, int64_t tiles, tile_body body, void* argument);

// The same for a callable `f(tile, worker) -> esp_status`.
template <class F>
esp_status parallel_tiles(esp_context* ctx, int64_t tiles, F&& f) {
  struct call {
    static esp_status run(void* p, int64_t tile, int32_t worker) {
      return (*static_cast<F*>(p))(tile, worker);
    }
  };
  return parallel(ctx, tiles, &call::run, &f);
}

// 64-byte aligned scratch of at least `bytes` for one worker, kept by the context and valid until
// the next request of the same worker. Null when memory is exhausted (the caller returns
// OUT_OF_MEMORY). Not zeroed.
void* scratch(esp_context* ctx, int32_t worker, int64_t bytes);

// True once esp_context_cancel was called: long operations ask between their steps.
bool cancelled(const esp_context* ctx);

// ---- vendor BLAS (opened by esp_blas_open; scalar loops otherwise)
// -------------------------------------

// c[m, n] = alpha * a . b + beta * c, row-major; trans_x: 0 as stored, 1 transposed.
// Single-threaded; call it from a tile.
void gemm_f32(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha,
              const float* a, int64_t lda, const float* b, int64_t ldb, float beta, float* c,
              int64_t ldc);
void gemm_f64(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, double alpha,
              const double* a, int64_t lda, const double* b, int64_t ldb, double beta, double* c,
              int64_t ldc);

constexpr int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
constexpr int64_t min_of(int64_t a, int64_t b) {
  return a < b ? a : b;
}
constexpr int64_t max_of(int64_t a, int64_t b) {
  return a > b ? a : b;
}

}  // namespace esp

#endif  // ESPALIER_INTERNAL_H
