// SPDX-License-Identifier: Apache-2.0
//
// Fibers, the order in which they run, and the points where they meet.
#include "engine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <algorithm>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
constexpr size_t stack_bytes = 512 * 1024;
#else
constexpr size_t stack_bytes = 128 * 1024;
#endif

// void cuda_emulation_switch(void** leave, void* enter): keeps what the calling convention asks a
// function to keep, and goes on with the other stack.
asm(R"(
.text
.type cuda_emulation_switch, @function
cuda_emulation_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size cuda_emulation_switch, . - cuda_emulation_switch
)");
extern "C" void cuda_emulation_switch(void** leave, void* enter);

namespace cuda_emulation {

thread_local fiber* running = nullptr;

namespace {

constexpr int most_threads = 1024;
constexpr int spins_allowed = 100000;  // rounds in which nobody did anything but spin

// The one device of the process; launches follow each other.
struct machine {
  unsigned char* stacks = nullptr;
  void* scheduler = nullptr;  // where run_blocks was left
  void* scheduler_fake_stack = nullptr;
  const void* scheduler_stack = nullptr;
  size_t scheduler_stack_bytes = 0;
  const std::function<void()>* body = nullptr;
  uint64_t random = 1;
  bool faulted = false;
  char message[512] = "";
};
machine device;

void enter_fiber(fiber* f) {
  running = f;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&device.scheduler_fake_stack, f->stack, stack_bytes);
#endif
  cuda_emulation_switch(&device.scheduler, f->at);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(device.scheduler_fake_stack, nullptr, nullptr);
#endif
  running = nullptr;
}

void leave_fiber() {
  fiber* const f = running;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(f->state == fiber::done ? nullptr : &f->fake_stack,
                                 device.scheduler_stack, device.scheduler_stack_bytes);
#endif
  cuda_emulation_switch(&f->at, device.scheduler);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(f->fake_stack, nullptr, nullptr);
#endif
}

extern "C" [[noreturn]] void cuda_emulation_thread() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &device.scheduler_stack, &device.scheduler_stack_bytes);
#endif
  (*device.body)();
  running->state = fiber::done;
  leave_fiber();
  abort();  // a finished thread is not entered again
}

void prepare(fiber* f) {
  void** top = reinterpret_cast<void**>(f->stack + stack_bytes) - 1;  // a call leaves 8 modulo 16
  *top = nullptr;
  *--top = reinterpret_cast<void*>(&cuda_emulation_thread);
  for (int i = 0; i < 6; i++) *--top = nullptr;
  f->at = top;
  f->state = fiber::ready;
}

// Runs every ready lane of a warp until it waits; true when one of them did more than spin.
bool run_warp(block* b, int warp) {
  const int first = warp * lanes, last = std::min(b->count, first + lanes);
  const bool up = random_below(2) == 0;
  bool moved = false;
  for (int i = 0; i < last - first && !device.faulted; i++) {
    fiber* const f = &b->fibers[static_cast<size_t>(up ? first + i : last - 1 - i)];
    if (f->state == fiber::spinning) f->state = fiber::ready;
    if (f->state != fiber::ready) continue;
    enter_fiber(f);
    moved |= f->state != fiber::spinning;
  }
  return moved;
}

void stand_still(const block* b) {
  int at_barrier = 0, with_warp = 0, spinning = 0, done = 0;
  for (const fiber& f : b->fibers) {
    done += f.state == fiber::done;
    spinning += f.state == fiber::spinning;
    with_warp +=
        f.state == fiber::waiting && b->offers[static_cast<size_t>(f.number)].act != nullptr;
  }
  at_barrier = b->count - done - spinning - with_warp;
  snprintf(
      device.message, sizeof device.message,
      "block (%u, %u, %u) stands still: of %d threads %d wait at a barrier or for a warpgroup, "
      "%d for their warp, %d spin, %d have ended",
      b->index.x, b->index.y, b->index.z, b->count, at_barrier, with_warp, spinning, done);
  device.faulted = true;
}

void run_block(block* b) {
  const int warps = (b->count + lanes - 1) / lanes;
  int idle = 0;
  while (!device.faulted) {
    int candidates[most_threads / lanes], found = 0;
    bool alive = false;
    for (int w = 0; w < warps; w++) {
      bool ready = false;
      for (int i = w * lanes; i < std::min(b->count, (w + 1) * lanes); i++) {
        const auto state = b->fibers[static_cast<size_t>(i)].state;
        ready |= state == fiber::ready || state == fiber::spinning;
        alive |= state != fiber::done;
      }
      if (ready) candidates[found++] = w;
    }
    if (!alive) return;
    if (found == 0 || idle > spins_allowed) {
      stand_still(b);
      return;
    }
    const bool moved = run_warp(b, candidates[random_below(static_cast<uint64_t>(found))]);
    idle = moved ? 0 : idle + 1;
  }
}

}  // namespace

void seed(uint64_t number) {
  device.random = number * 0x9E3779B97F4A7C15u + 1;
}

uint64_t random_below(uint64_t n) {
  uint64_t z = device.random += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return (z ^ (z >> 31)) % n;
}

void fault(const char* format, ...) {
  char text[400];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  const fiber* const f = running;
  snprintf(device.message, sizeof device.message, "block (%u, %u, %u) thread (%u, %u, %u): %s",
           f->home->index.x, f->home->index.y, f->home->index.z, f->thread.x, f->thread.y,
           f->thread.z, text);
  device.faulted = true;
  for (;;) leave_fiber();  // never to come back
}

const char* run_blocks(dim3 grid, dim3 threads, size_t shared_bytes,
                       const std::function<void()>& body) {
  if (device.stacks == nullptr) {
    device.stacks = static_cast<unsigned char*>(
        mmap(nullptr, most_threads * stack_bytes, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  }
  device.faulted = false;
  const uint64_t blocks = static_cast<uint64_t>(grid.x) * grid.y * grid.z;
  const unsigned int count = threads.x * threads.y * threads.z;
  if (blocks == 0 || count == 0 || count > most_threads || shared_bytes > 227 * 1024) {
    snprintf(
        device.message, sizeof device.message,
        "launch of %llu blocks of %u threads with %zu bytes of shared memory, expected at least "
        "one block, 1..1024 threads and at most 227 KB",
        static_cast<unsigned long long>(blocks), count, shared_bytes);
    return device.message;
  }
  std::vector<uint64_t> order(blocks);
  for (uint64_t i = 0; i < blocks; i++) order[i] = i;
  for (uint64_t i = blocks; i > 1; i--) std::swap(order[i - 1], order[random_below(i)]);
  void* shared = nullptr;
  if (posix_memalign(&shared, 1024, std::max<size_t>(shared_bytes, 1)) != 0) return "no memory";
  device.body = &body;
  for (uint64_t i = 0; i < blocks && !device.faulted; i++) {
    block b;
    b.index = {static_cast<unsigned int>(order[i] % grid.x),
               static_cast<unsigned int>(order[i] / grid.x % grid.y),
               static_cast<unsigned int>(order[i] / grid.x / grid.y)};
    b.grid = grid;
    b.threads = threads;
    b.count = static_cast<int>(count);
    b.shared = static_cast<unsigned char*>(shared);
    b.shared_bytes = shared_bytes;
    b.fibers.resize(count);
    b.offers.assign(count, offer{});
    b.group_offers.assign(count, offer{});
    b.groups.resize((count + group_threads - 1) / group_threads);
    memset(shared, 0xff, shared_bytes);  // NaN
    for (unsigned int t = 0; t < count; t++) {
      fiber* const f = &b.fibers[t];
      f->thread = {t % threads.x, t / threads.x % threads.y, t / threads.x / threads.y};
      f->number = static_cast<int>(t);
      f->home = &b;
      f->stack = device.stacks + t * stack_bytes;
      f->fake_stack = nullptr;
      prepare(f);
    }
    run_block(&b);
  }
#if defined(__SANITIZE_ADDRESS__)
  // Threads that a fault left standing have marked parts of their stacks.
  if (device.faulted) __asan_unpoison_memory_region(device.stacks, count * stack_bytes);
#endif
  free(shared);
  return device.faulted ? device.message : nullptr;
}

namespace {

// offers: of the `width` threads beginning at `first`.
void meet(block* b, std::vector<offer>& offers, int first, int width, uint32_t mask, action act,
          void* operands) {
  fiber* const me = running;
  offer* const of = offers.data() + first;
  const bool whole = width != lanes;
  of[me->number - first] = {act, operands, mask};
  for (int i = 0; i < width; i++) {
    if (!whole && (mask >> i & 1) == 0) continue;
    if (first + i >= b->count)
      fault("an instruction of %d threads in a block of %d", width, b->count);
    if (b->fibers[static_cast<size_t>(first + i)].state == fiber::done)
      fault("waits for thread %d, which has ended", first + i);
    if (of[i].act == nullptr) {
      me->state = fiber::waiting;
      leave_fiber();
      return;  // the last to come did it
    }
    if (of[i].act != act || of[i].mask != mask)
      fault("meets thread %d at another instruction", first + i);
  }
  void* all[group_threads];
  for (int i = 0; i < width; i++) all[i] = whole || (mask >> i & 1) ? of[i].operands : nullptr;
  if (whole || mask == 0xffffffffu) settle(me);
  act(all);
  for (int i = 0; i < width; i++) {
    if (!whole && (mask >> i & 1) == 0) continue;
    of[i].act = nullptr;
    b->fibers[static_cast<size_t>(first + i)].state = fiber::ready;
  }
}

}  // namespace

void warp_together(uint32_t mask, action act, void* operands) {
  block* const b = running->home;
  const int first = running->number / lanes * lanes;
  if ((mask >> (running->number - first) & 1) == 0) fault("is not in the mask %08x it gives", mask);
  meet(b, b->offers, first, lanes, mask, act, operands);
}

void group_together(action act, void* operands) {
  block* const b = running->home;
  meet(b, b->group_offers, running->number / group_threads * group_threads, group_threads, 0, act,
       operands);
}

void barrier(int id, int count) {
  block* const b = running->home;
  if (id < 0 || id >= named_barriers) fault("barrier %d, expected 0..15", id);
  auto& at = b->barriers[id];
  if (at.arrived > 0 && at.expected != count)
    fault("barrier %d of %d threads, others wait there for %d", id, count, at.expected);
  at.expected = count;
  at.arrived++;
  if (at.arrived < count) {
    at.waiting.push_back(running);
    running->state = fiber::waiting;
    leave_fiber();
    return;
  }
  for (fiber* f : at.waiting) f->state = fiber::ready;
  at.waiting.clear();
  at.arrived = 0;
}

void spin() {
  running->state = fiber::spinning;
  leave_fiber();
}

unsigned char* shared_memory() {
  return running->home->shared;
}

uint32_t shared_address(const void* p) {
  const unsigned char* const at = static_cast<const unsigned char*>(p);
  const block* const b = running->home;
  if (at < b->shared || at > b->shared + b->shared_bytes) fault("an address outside shared memory");
  return static_cast<uint32_t>(at - b->shared);
}

void check_shared(const char* what, const void* p, size_t bytes, size_t alignment) {
  const unsigned char* const at = static_cast<const unsigned char*>(p);
  const block* const b = running->home;
  if (at < b->shared || at + bytes > b->shared + b->shared_bytes)
    fault("%s: %zu bytes at %lld of %zu bytes of shared memory", what, bytes,
          static_cast<long long>(at - b->shared), b->shared_bytes);
  if (static_cast<size_t>(at - b->shared) % alignment != 0)
    fault("%s: at %lld of shared memory, expected a multiple of %zu", what,
          static_cast<long long>(at - b->shared), alignment);
}

}  // namespace cuda_emulation
