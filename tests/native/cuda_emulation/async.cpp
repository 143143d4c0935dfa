// SPDX-License-Identifier: Apache-2.0
//
// Copies and products that run beside the program. A copy makes its destination NaN when it is
// issued and lands when a wait covers it: what is read too early, or waited for by the wrong count,
// shows. A product of a warpgroup reads shared memory and writes its accumulators at the wait.
//
// A barrier of arrivals and bytes keeps its state in its own 8 bytes of shared memory:
//   bits 0..19 arrivals a phase, 20..39 arrivals still missing, 40..62 bytes missing + 2^22, 63
//   parity
#include <string.h>

#include "engine.h"

namespace cuda_emulation {
namespace {

void land(const copy& c) {
  memcpy(c.to, c.from, c.valid);
  memset(c.to + c.valid, 0, c.bytes - c.valid);
}

void check_global(const char* what, const void* from, size_t alignment) {
  if (reinterpret_cast<uintptr_t>(from) % alignment != 0)
    fault("%s: the source is not aligned to %zu bytes", what, alignment);
}

constexpr uint64_t twenty = 0xfffff;
constexpr int64_t bytes_zero = 1 << 22;

struct phase {
  uint64_t arrivals, missing;
  int64_t bytes;
  uint64_t parity;
};

phase read(const uint64_t* at) {
  const uint64_t word = *at;
  return {word & twenty, word >> 20 & twenty,
          static_cast<int64_t>(word >> 40 & 0x7fffff) - bytes_zero, word >> 63};
}

// Ends the phase where everything has come.
void write(uint64_t* at, phase p) {
  if (p.missing == 0 && p.bytes == 0) {
    p.missing = p.arrivals;
    p.parity ^= 1;
  }
  *at = p.arrivals | p.missing << 20 | static_cast<uint64_t>(p.bytes + bytes_zero) << 40 |
        p.parity << 63;
}

}  // namespace

void copy_async(void* to, const void* from, uint32_t bytes, int valid) {
  check_shared("cp.async", to, bytes, bytes);
  check_global("cp.async", from, bytes);
  if (valid < 0 || valid > static_cast<int>(bytes)) fault("cp.async: %d of %u bytes", valid, bytes);
  memset(to, 0xff, bytes);
  running->open.push_back({static_cast<unsigned char*>(to), static_cast<const unsigned char*>(from),
                           bytes, static_cast<uint32_t>(valid), nullptr});
}

void copy_commit() {
  running->committed.push_back(std::move(running->open));
  running->open.clear();
}

void copy_wait(int pending) {
  auto& groups = running->committed;
  while (groups.size() > static_cast<size_t>(pending)) {
    for (const copy& c : groups.front()) land(c);
    groups.pop_front();
  }
}

void barrier_make(uint64_t* at, uint32_t arrivals) {
  check_shared("mbarrier.init", at, 8, 8);
  if (arrivals == 0 || arrivals > twenty) fault("mbarrier.init: %u arrivals", arrivals);
  *at = arrivals | static_cast<uint64_t>(arrivals) << 20 | static_cast<uint64_t>(bytes_zero) << 40;
}

void barrier_arrive(uint64_t* at, uint32_t bytes) {
  check_shared("mbarrier.arrive", at, 8, 8);
  phase p = read(at);
  if (p.arrivals == 0 || p.arrivals == twenty) fault("mbarrier.arrive: no barrier was made there");
  if (p.missing == 0)
    fault("mbarrier.arrive: more arrivals than the %llu of a phase",
          static_cast<unsigned long long>(p.arrivals));
  p.bytes += bytes;
  p.missing--;
  write(at, p);
}

bool barrier_passed(uint64_t* at, uint32_t parity) {
  check_shared("mbarrier.try_wait", at, 8, 8);
  if (parity > 1) fault("mbarrier.try_wait: parity %u", parity);
  if (random_below(4) == 0) return false;  // it may
  auto& bulk = running->home->bulk;
  for (size_t i = 0; i < bulk.size();) {
    if (bulk[i].barrier != at) {
      i++;
      continue;
    }
    const copy c = bulk[i];
    bulk.erase(bulk.begin() + static_cast<ptrdiff_t>(i));
    land(c);
    phase p = read(at);
    p.bytes -= c.bytes;
    write(at, p);
  }
  return read(at).parity != parity;
}

void copy_bulk(void* to, const void* from, uint32_t bytes, uint64_t* at) {
  if (bytes % 16 != 0) fault("cp.async.bulk: %u bytes, expected a multiple of 16", bytes);
  check_shared("cp.async.bulk", to, bytes, 16);
  check_global("cp.async.bulk", from, 16);
  check_shared("cp.async.bulk", at, 8, 8);
  memset(to, 0xff, bytes);
  running->home->bulk.push_back(
      {static_cast<unsigned char*>(to), static_cast<const unsigned char*>(from), bytes, bytes, at});
}

namespace {

group_products& group_of(const fiber* f) {
  return f->home->groups[static_cast<size_t>(f->number / group_threads)];
}

}  // namespace

// The three below are instructions of the whole warpgroup here, which is stricter than the warp of
// the PTX ISA; all of our kernels are.
void products_fence() {
  group_together([](void* const*) { group_of(running).fenced = true; }, nullptr);
}

void products_commit() {
  group_together(
      [](void* const*) {
        group_products& g = group_of(running);
        g.committed.push_back(std::move(g.open));
        g.open.clear();
      },
      nullptr);
}

void products_queue(fiber* of, product finish) {
  group_of(of).open.push_back(std::move(finish));
}

void products_wait(int pending) {
  group_together(
      [](void* const* operands) {
        group_products& g = group_of(running);
        const size_t left = static_cast<size_t>(*static_cast<const int*>(operands[0]));
        while (g.committed.size() > left) {
          for (const product& finish : g.committed.front()) finish();
          g.committed.pop_front();
        }
        if (g.committed.empty()) g.fenced = false;
      },
      &pending);
}

}  // namespace cuda_emulation
