// SPDX-License-Identifier: Apache-2.0
//
// The thread pool of a context. It runs one job at a time; a job is a number of tiles that write
// disjoint outputs and whose borders do not depend on the number of workers, so the schedule never
// shows in a result.
//
// One counter holds the tiles nobody has taken yet. A worker takes one by a compare-and-swap; what
// it then reads of the job is valid, because a job ends only when its taken tiles are done. So a
// job ends with its tiles, not with its workers: a job of one tile wakes nobody, and a worker that
// wakes too late finds the counter at zero and goes on waiting.
//
// An idle worker spins for `spin_nanoseconds` (the next job of a forward pass comes within
// microseconds), then sleeps on a condition variable.
#ifndef ESPALIER_POOL_H
#define ESPALIER_POOL_H

#include <pthread.h>

#include <atomic>

#include "internal.h"

namespace esp {

class pool {
 public:
  static constexpr int32_t most_threads = 256;
  static constexpr int64_t spin_nanoseconds = 50000;

  pool() = default;
  pool(const pool&) = delete;
  pool& operator=(const pool&) = delete;

  // Starts threads - 1 workers (the caller of run is the first). False when one could not be
  // started; stop() then ends those that were.
  bool start(int32_t threads);
  void stop();

  // Runs body(argument, tile, worker) once for every tile of [0, tiles) and returns when all are
  // done; the failure of the lowest tile is returned with its message.
  esp_status run(int64_t tiles, tile_body body, void* argument);

 private:
  struct start_of_worker {
    pool* owner;
    int32_t index;
  };
  static void* work(void* p);
  void serve(int32_t worker);
  void sleep_until_work();
  void run_tiles(int32_t worker);
  void record_failure(int64_t tile, esp_status status);

  pthread_t handles_[most_threads];
  start_of_worker starts_[most_threads];
  int32_t started_ = 0;

  // The job; written while no tile is left and none is running.
  tile_body body_ = nullptr;
  void* argument_ = nullptr;
  int64_t tiles_ = 0;
  // On lines of their own: every worker writes them.
  alignas(64) std::atomic<int64_t> untaken_{0};
  alignas(64) std::atomic<int64_t> done_{0};
  alignas(64) std::atomic<int32_t> sleepers_{0};
  std::atomic<bool> stopping_{false};
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t wake_ = PTHREAD_COND_INITIALIZER;

  pthread_mutex_t failure_mutex_ = PTHREAD_MUTEX_INITIALIZER;
  int64_t failed_tile_ = -1;
  esp_status failed_status_ = ESP_OK;
  char failed_message_[512];
};

}  // namespace esp

#endif  // ESPALIER_POOL_H
