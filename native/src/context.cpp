// SPDX-License-Identifier: Apache-2.0
//
// The context: a pool of worker threads, one growing scratch block per worker, the variant that
// serves each operation.
//
// The pool runs one job at a time. Workers take tiles from a shared counter; since tiles write
// disjoint outputs and their borders do not depend on the number of workers, the schedule never
// shows in a result. An idle worker spins briefly (the next op of a forward pass comes within
// microseconds), then sleeps on a condition variable.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <atomic>
#include <new>

#include "internal.h"

namespace {

constexpr int32_t max_threads = 256;
constexpr int32_t row_count = static_cast<int32_t>(esp::row::count);
constexpr int32_t spins_before_sleep = 2000;  // about 20 microseconds of pause instructions

struct scratch_block {
  void* address = nullptr;
  int64_t bytes = 0;
};

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

struct esp_context {
  int32_t threads = 1;
  int32_t started = 0;
  pthread_t handles[max_threads];
  scratch_block blocks[max_threads];
  // The function that serves an operation stands at the number of its reference row.
  void (*kernels[row_count])() = {};
  std::atomic<bool> cancelled{false};
  esp_precision precision = ESP_PRECISION_FP32;

  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
  std::atomic<uint64_t> generation{0};
  std::atomic<bool> stop{false};
  std::atomic<int32_t> busy{0};

  // The job of the current generation.
  esp::tile_body body = nullptr;
  void* argument = nullptr;
  int64_t tiles = 0;
  std::atomic<int64_t> next{0};
  pthread_mutex_t failure_mutex = PTHREAD_MUTEX_INITIALIZER;
  int64_t failed_tile = -1;
  esp_status failed_status = ESP_OK;
  char failed_message[512];

  void run_tiles(int32_t worker) {
    for (;;) {
      const int64_t tile = next.fetch_add(1, std::memory_order_relaxed);
      if (tile >= tiles) return;
      const esp_status status = body(argument, tile, worker);
      if (status != ESP_OK) record_failure(tile, status);
    }
  }

  void record_failure(int64_t tile, esp_status status) {
    pthread_mutex_lock(&failure_mutex);
    if (failed_tile < 0 || tile < failed_tile) {
      failed_tile = tile;
      failed_status = status;
      strncpy(failed_message, esp_last_error(), sizeof failed_message - 1);
      failed_message[sizeof failed_message - 1] = 0;
    }
    pthread_mutex_unlock(&failure_mutex);
  }
};

namespace {

struct worker_start {
  esp_context* context;
  int32_t index;
};

void* work(void* p) {
  worker_start* start = static_cast<worker_start*>(p);
  esp_context* ctx = start->context;
  const int32_t index = start->index;
  delete start;
  uint64_t seen = 0;
  for (;;) {
    int32_t spins = 0;
    while (ctx->generation.load(std::memory_order_acquire) == seen &&
           !ctx->stop.load(std::memory_order_acquire)) {
      if (++spins < spins_before_sleep) {
        relax();
        continue;
      }
      pthread_mutex_lock(&ctx->mutex);
      while (ctx->generation.load(std::memory_order_acquire) == seen &&
             !ctx->stop.load(std::memory_order_acquire)) {
        pthread_cond_wait(&ctx->wake, &ctx->mutex);
      }
      pthread_mutex_unlock(&ctx->mutex);
    }
    if (ctx->stop.load(std::memory_order_acquire)) return nullptr;
    seen = ctx->generation.load(std::memory_order_acquire);
    ctx->run_tiles(index);
    ctx->busy.fetch_sub(1, std::memory_order_acq_rel);
  }
}

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
  pthread_mutex_lock(&ctx->mutex);
  ctx->stop.store(true, std::memory_order_release);
  pthread_cond_broadcast(&ctx->wake);
  pthread_mutex_unlock(&ctx->mutex);
  for (int32_t i = 0; i < ctx->started; i++) pthread_join(ctx->handles[i], nullptr);
  for (int32_t i = 0; i < ctx->threads; i++) free(ctx->blocks[i].address);
  delete ctx;
}

}  // namespace

namespace esp {

esp_status parallel(esp_context* ctx, int64_t tiles, tile_body body, void* argument) {
  if (tiles <= 0) return ESP_OK;
  ctx->body = body;
  ctx->argument = argument;
  ctx->tiles = tiles;
  ctx->failed_tile = -1;
  ctx->failed_status = ESP_OK;
  ctx->next.store(0, std::memory_order_relaxed);
  if (ctx->started > 0 && tiles > 1) {
    ctx->busy.store(ctx->started, std::memory_order_relaxed);
    pthread_mutex_lock(&ctx->mutex);
    ctx->generation.fetch_add(1, std::memory_order_acq_rel);
    pthread_cond_broadcast(&ctx->wake);
    pthread_mutex_unlock(&ctx->mutex);
    ctx->run_tiles(0);
    // Spin, then yield: on a machine with fewer free cores than threads the worker needs ours.
    for (int32_t spins = 0; ctx->busy.load(std::memory_order_acquire) != 0; spins++) {
      if (spins < spins_before_sleep) {
        relax();
      } else {
        sched_yield();
      }
    }
  } else {
    ctx->run_tiles(0);
  }
  if (ctx->failed_status != ESP_OK) return fail(ctx->failed_status, "%s", ctx->failed_message);
  return ESP_OK;
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
  for (int32_t i = 1; i < threads; i++) {
    worker_start* start = new (std::nothrow) worker_start{ctx, i};
    if (start == nullptr ||
        pthread_create(&ctx->handles[ctx->started], nullptr, work, start) != 0) {
      delete start;
      shut_down(ctx);
      return esp::fail(ESP_OUT_OF_MEMORY, "context_create: thread %d of %d could not be started", i,
                       threads);
    }
    ctx->started++;
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
