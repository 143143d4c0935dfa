// SPDX-License-Identifier: Apache-2.0
//
// The context: a pool of worker threads, one growing scratch block per worker, the variant that
// serves each operation.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <new>

#include "internal.h"
#include "pool.h"

namespace {

constexpr int32_t max_threads = esp::pool::most_threads;
constexpr int32_t row_count = static_cast<int32_t>(esp::row::count);

struct scratch_block {
  void* address = nullptr;
  int64_t bytes = 0;
};

}  // namespace

struct esp_context {
  int32_t threads = 1;
  scratch_block blocks[max_threads];
  // The function that serves an operation stands at the number of its reference row.
  void (*kernels[row_count])() = {};
  std::atomic<bool> cancelled{false};
  esp_precision precision = ESP_PRECISION_FP32;
  esp::pool pool;
};

namespace {

// The rows of one operation: numbers begin..reference, the reference being the last.
struct operation_rows {
  int32_t begin;
  int32_t reference;
};

operation_rows rows_from(const esp::variant* rows, int32_t begin) {
  int32_t last = begin;
  while (last + 1 < row_count && strcmp(rows[last + 1].operation, rows[begin].operation) == 0)
    last++;
  return {begin, last};
}

// The most preferred row that runs; a reference runs everywhere.
void unpin(esp_context* ctx, const esp::variant* rows, const operation_rows& operation) {
  int32_t i = operation.begin;
  while (!esp::isa_runs(rows[i].needs)) i++;
  ctx->kernels[operation.reference] = rows[i].function;
}

void shut_down(esp_context* ctx) {
  ctx->pool.stop();
  for (int32_t i = 0; i < ctx->threads; i++) free(ctx->blocks[i].address);
  delete ctx;
}

}  // namespace

namespace esp {

esp_status parallel(esp_context* ctx, int64_t tiles, tile_body body, void* argument) {
  return ctx->pool.run(tiles, body, argument);
}

void* scratch(esp_context* ctx, int32_t worker, int64_t bytes) {
  scratch_block& block = ctx->blocks[worker];
  if (block.bytes < bytes) {
    free(block.address);
    block.bytes = 0;
    const int64_t rounded = ceil_div(bytes, 4096) * 4096;
    if (posix_memalign(&block.address, 64, static_cast<size_t>(rounded)) != 0) {
      block.address = nullptr;
      return nullptr;
    }
    block.bytes = rounded;
  }
  return block.address;
}

bool cancelled(const esp_context* ctx) {
  return ctx->cancelled.load(std::memory_order_relaxed);
}

esp_precision precision(const esp_context* ctx) {
  return ctx->precision;
}

void (*choose(const esp_context* ctx, row reference))() {
  return ctx->kernels[static_cast<int32_t>(reference)];
}

}  // namespace esp

extern "C" {

esp_status esp_context_create(int32_t threads, esp_context** out) noexcept {
  if (out == nullptr)
    return esp::fail(ESP_INVALID_ARGUMENT, "context_create: out=NULL, expected an address");
  *out = nullptr;
  if (threads < 0 || threads > max_threads) {
    return esp::fail(ESP_INVALID_ARGUMENT, "context_create: threads=%d, expected 0..%d", threads,
                     max_threads);
  }
  if (threads == 0) {
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    threads = online < 1 ? 1 : (online > max_threads ? max_threads : static_cast<int32_t>(online));
  }
  esp_context* ctx = new (std::nothrow) esp_context;
  if (ctx == nullptr)
    return esp::fail(ESP_OUT_OF_MEMORY, "context_create: no memory for a context");
  ctx->threads = threads;
  int32_t count = 0;
  const esp::variant* rows = esp::variants(&count);
  for (int32_t i = 0; i < count;) {
    const operation_rows operation = rows_from(rows, i);
    unpin(ctx, rows, operation);
    i = operation.reference + 1;
  }
  if (!ctx->pool.start(threads)) {
    shut_down(ctx);
    return esp::fail(ESP_OUT_OF_MEMORY, "context_create: %d threads could not be started", threads);
  }
  *out = ctx;
  return ESP_OK;
}

esp_status esp_context_destroy(esp_context* ctx) noexcept {
  if (ctx != nullptr) shut_down(ctx);
  return ESP_OK;
}

void esp_context_cancel(esp_context* ctx) noexcept {
  if (ctx != nullptr) ctx->cancelled.store(true, std::memory_order_relaxed);
}

esp_status esp_context_set_precision(esp_context* ctx, esp_precision precision) noexcept {
  ESP_REQUIRE("context_set_precision", ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE("context_set_precision",
              precision == ESP_PRECISION_FP32 || precision == ESP_PRECISION_BF16, "0 or 1",
              precision);
  ctx->precision = precision;
  return ESP_OK;
}

int32_t esp_context_threads(const esp_context* ctx) noexcept {
  return ctx->threads;
}

int32_t esp_variant_count(void) noexcept {
  int32_t count = 0;
  esp::variants(&count);
  return count;
}

const char* esp_variant_operation(int32_t i) noexcept {
  int32_t count = 0;
  const esp::variant* rows = esp::variants(&count);
  return i < 0 || i >= count ? nullptr : rows[i].operation;
}

const char* esp_variant_name(int32_t i) noexcept {
  int32_t count = 0;
  const esp::variant* rows = esp::variants(&count);
  return i < 0 || i >= count ? nullptr : rows[i].name;
}

const char* esp_variant_isa(int32_t i) noexcept {
  int32_t count = 0;
  const esp::variant* rows = esp::variants(&count);
  return i < 0 || i >= count ? nullptr : esp::isa_name(rows[i].needs);
}

int32_t esp_variant_runs(int32_t i) noexcept {
  int32_t count = 0;
  const esp::variant* rows = esp::variants(&count);
  return i >= 0 && i < count && esp::isa_runs(rows[i].needs) ? 1 : 0;
}

esp_status esp_variant_pin(esp_context* ctx, const char* operation, const char* name) noexcept {
  if (ctx == nullptr || operation == nullptr) {
    return esp::fail(ESP_INVALID_ARGUMENT,
                     "variant_pin: operation=NULL, expected a name of the table");
  }
  int32_t count = 0;
  const esp::variant* rows = esp::variants(&count);
  int32_t begin = 0;
  while (begin < count && strcmp(rows[begin].operation, operation) != 0) begin++;
  if (begin == count) {
    return esp::fail(ESP_INVALID_ARGUMENT, "variant_pin: operation=%s, expected one of the table",
                     operation);
  }
  const operation_rows wanted = rows_from(rows, begin);
  if (name == nullptr || name[0] == 0) {
    unpin(ctx, rows, wanted);
    return ESP_OK;
  }
  for (int32_t i = wanted.begin; i <= wanted.reference; i++) {
    if (strcmp(rows[i].name, name) != 0) continue;
    if (!esp::isa_runs(rows[i].needs)) {
      return esp::fail(ESP_UNSUPPORTED,
                       "variant_pin: %s %s needs %s, which this CPU or ESPALIER_ISA lacks",
                       operation, name, esp::isa_name(rows[i].needs));
    }
    ctx->kernels[wanted.reference] = rows[i].function;
    return ESP_OK;
  }
  return esp::fail(ESP_INVALID_ARGUMENT, "variant_pin: no row %s %s in the table", operation, name);
}

}  // extern "C"
