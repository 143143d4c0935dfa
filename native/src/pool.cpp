// SPDX-License-Identifier: Apache-2.0
//
// The thread pool of a context; see pool.h.
#include "pool.h"

#include <sched.h>
#include <string.h>
#include <time.h>

namespace esp {
namespace {

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

int64_t nanoseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1000000000} + now.tv_nsec;
}

// Spins until ready() or the time is up; returns whether ready().
template <class F>
bool spin(F ready) {
  constexpr int32_t pauses_between_looks_at_the_clock = 32;
  const int64_t end = nanoseconds() + pool::spin_nanoseconds;
  do {
    for (int32_t i = 0; i < pauses_between_looks_at_the_clock; i++) {
      if (ready()) return true;
      relax();
    }
  } while (nanoseconds() < end);
  return ready();
}

}  // namespace

bool pool::start(int32_t threads) {
  for (int32_t i = 1; i < threads; i++) {
    starts_[i] = {this, i};
    if (pthread_create(&handles_[started_], nullptr, work, &starts_[i]) != 0) return false;
    started_++;
  }
  return true;
}

void pool::stop() {
  pthread_mutex_lock(&mutex_);
  stopping_.store(true);
  pthread_cond_broadcast(&wake_);
  pthread_mutex_unlock(&mutex_);
  for (int32_t i = 0; i < started_; i++) pthread_join(handles_[i], nullptr);
  started_ = 0;
}

void* pool::work(void* p) {
  const start_of_worker* const start = static_cast<start_of_worker*>(p);
  start->owner->serve(start->index);
  return nullptr;
}

void pool::serve(int32_t worker) {
  for (;;) {
    const auto called = [this] {
      return untaken_.load(std::memory_order_relaxed) > 0 ||
             stopping_.load(std::memory_order_relaxed);
    };
    if (!spin(called)) sleep_until_work();
    if (stopping_.load()) return;
    run_tiles(worker);
  }
}

// Sequentially consistent on both sides: either the caller sees the sleeper and wakes it, or the
// sleeper sees the tiles.
void pool::sleep_until_work() {
  pthread_mutex_lock(&mutex_);
  sleepers_.fetch_add(1);
  while (untaken_.load() <= 0 && !stopping_.load()) pthread_cond_wait(&wake_, &mutex_);
  sleepers_.fetch_sub(1);
  pthread_mutex_unlock(&mutex_);
}

void pool::run_tiles(int32_t worker) {
  int64_t left = untaken_.load(std::memory_order_relaxed);
  while (left > 0) {
    if (!untaken_.compare_exchange_weak(left, left - 1, std::memory_order_acquire,
                                        std::memory_order_relaxed))
      continue;
    const int64_t tile = tiles_ - left;
    const esp_status status = body_(argument_, tile, worker);
    if (status != ESP_OK) record_failure(tile, status);
    done_.fetch_add(1, std::memory_order_release);
    left = untaken_.load(std::memory_order_relaxed);
  }
}

void pool::record_failure(int64_t tile, esp_status status) {
  pthread_mutex_lock(&failure_mutex_);
  if (failed_tile_ < 0 || tile < failed_tile_) {
    failed_tile_ = tile;
    failed_status_ = status;
    strncpy(failed_message_, esp_last_error(), sizeof failed_message_ - 1);
    failed_message_[sizeof failed_message_ - 1] = 0;
  }
  pthread_mutex_unlock(&failure_mutex_);
}

esp_status pool::run(int64_t tiles, tile_body body, void* argument) {
  if (tiles <= 0) return ESP_OK;
  if (tiles == 1 || started_ == 0) {
    // No other thread takes part; the lowest failing tile is the first one met.
    esp_status first = ESP_OK;
    for (int64_t tile = 0; tile < tiles; tile++) {
      if (first == ESP_OK) {
        first = body(argument, tile, 0);
        if (first != ESP_OK) {
          strncpy(failed_message_, esp_last_error(), sizeof failed_message_ - 1);
          failed_message_[sizeof failed_message_ - 1] = 0;
        }
      } else {
        body(argument, tile, 0);
      }
    }
    return first == ESP_OK ? ESP_OK : fail(first, "%s", failed_message_);
  }
  body_ = body;
  argument_ = argument;
  tiles_ = tiles;
  failed_tile_ = -1;
  failed_status_ = ESP_OK;
  done_.store(0, std::memory_order_relaxed);
  untaken_.store(tiles);
  if (sleepers_.load() > 0) {
    pthread_mutex_lock(&mutex_);
    pthread_cond_broadcast(&wake_);
    pthread_mutex_unlock(&mutex_);
  }
  run_tiles(0);
  // Spin, then yield: on a machine with fewer free cores than threads a worker needs ours.
  const auto finished = [this, tiles] { return done_.load(std::memory_order_acquire) == tiles; };
  if (!spin(finished)) {
    while (!finished()) sched_yield();
  }
  if (failed_status_ != ESP_OK) return fail(failed_status_, "%s", failed_message_);
  return ESP_OK;
}

}  // namespace esp
