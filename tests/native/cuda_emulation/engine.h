// SPDX-License-Identifier: Apache-2.0
//
// A CUDA device on the host, for tests: the threads of a block are fibers of one thread, blocks
// follow each other. What hardware leaves open is chosen against the program: warps run in random
// order between the points where they meet, blocks in random order, asynchronous copies land only
// at the wait that covers them, and shared memory begins as NaN. What a device would do silently
// wrong (a warp whose lanes meet at different instructions, a barrier that not all reach, a copy
// that is not aligned) ends the launch with a message.
#ifndef ESPALIER_CUDA_EMULATION_ENGINE_H
#define ESPALIER_CUDA_EMULATION_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#include <deque>
#include <functional>
#include <vector>

struct uint3 {
  unsigned int x, y, z;
};
struct dim3 {
  unsigned int x, y, z;
  constexpr dim3(unsigned int x_ = 1, unsigned int y_ = 1, unsigned int z_ = 1)
      : x(x_), y(y_), z(z_) {}
};

namespace cuda_emulation {

constexpr int lanes = 32;
constexpr int group_threads = 128;  // of a warpgroup
constexpr int named_barriers = 16;

// A copy that has been issued and has not landed.
struct copy {
  unsigned char* to;
  const unsigned char* from;
  uint32_t bytes, valid;  // valid: how many come from `from`, the rest is 0
  uint64_t* barrier;      // told when it lands, or null
};

struct block;

// One thread. Its stack lies in `stack`; `at` is where it was left.
struct fiber {
  uint3 thread;
  int number;  // in the block
  block* home;
  void* at;
  unsigned char* stack;
  void* fake_stack;  // the address sanitizer's
  enum { ready, waiting, spinning, done } state;
  std::vector<copy> open;  // cp.async since the last commit
  std::deque<std::vector<copy>> committed;
};

// What a thread brings to an instruction that a warp or a warpgroup executes together.
using action = void (*)(void* const* operands);  // [lanes or group_threads], null where absent
struct offer {
  action act;
  void* operands;
  uint32_t mask;
};

// One asynchronous product of a warpgroup: `finish` writes the accumulators.
using product = std::function<void()>;
struct group_products {
  bool fenced = false;
  std::vector<product> open;
  std::deque<std::vector<product>> committed;
};

struct block {
  uint3 index;
  dim3 grid, threads;
  int count;  // of threads
  unsigned char* shared;
  size_t shared_bytes;
  std::vector<fiber> fibers;
  std::vector<offer> offers;        // of every thread, act null when there is none
  std::vector<offer> group_offers;  // the same for instructions of warpgroups
  std::vector<group_products> groups;
  std::vector<copy> bulk;  // under way
  struct {
    int arrived = 0, expected = 0;
    std::vector<fiber*> waiting;
  } barriers[named_barriers];
};

extern thread_local fiber* running;

// Runs body once for every thread of every block. Null, or what went wrong: valid until the next
// call.
const char* run_blocks(dim3 grid, dim3 threads, size_t shared_bytes,
                       const std::function<void()>& body);

// Seeds the order of warps and blocks of the launches that follow.
void seed(uint64_t number);
uint64_t random_below(uint64_t n);

// Ends the launch. Called by a thread of it.
[[noreturn]] void fault(const char* format, ...) __attribute__((format(printf, 1, 2)));

// Waits for the lanes of `mask` to come with the same act, which then runs once, on the operands
// of all, while all of them stand here.
void warp_together(uint32_t mask, action act, void* operands);
void group_together(action act, void* operands);
// Named barrier `id` of `count` threads; 0 with all of the block is __syncthreads.
void barrier(int id, int count);
// Lets others run; a launch in which all only do this has come to a standstill.
void spin();

// An address of shared memory as a device has it: its distance from the beginning.
uint32_t shared_address(const void* p);
unsigned char* shared_memory();
// Faults unless the bytes lie in the shared memory of the block, aligned.
void check_shared(const char* what, const void* p, size_t bytes, size_t alignment);

// ---- asynchronous copies and products (async.cpp)

void copy_async(void* to, const void* from, uint32_t bytes, int valid);
void copy_commit();
void copy_wait(int pending);
void barrier_make(uint64_t* at, uint32_t arrivals);
void barrier_arrive(uint64_t* at, uint32_t bytes);
bool barrier_passed(uint64_t* at, uint32_t parity);
void copy_bulk(void* to, const void* from, uint32_t bytes, uint64_t* at);
void products_fence();
void products_commit();
void products_wait(int pending);
// Queues `finish` for the wait that covers it; once for the warpgroup, from an action.
void products_queue(fiber* of, product finish);

// ---- counters (counters.cpp)

enum class access : int { global_load, global_store, shared_load, shared_store };
// One thread's access at a line of the source. Costs nothing unless counting is on.
void touch(access kind, const void* p, size_t bytes, int line);
// A matrix instruction, once for the warp.
void count_mma();
void count_instruction();
// Groups what the lanes of a warp did since they last met.
void settle(const fiber* of);

}  // namespace cuda_emulation

#endif  // ESPALIER_CUDA_EMULATION_ENGINE_H
