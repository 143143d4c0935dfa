// SPDX-License-Identifier: Apache-2.0
//
// That the emulation tells what a device would do silently wrong, and that streams order their
// work.
#include <math.h>

#include "cuda/ptx.h"
#include "on_device.h"

namespace cases {
namespace {

using esp::shared_memory;

// What came of a block of `threads` threads that run `kernel`; "" when all was well.
std::string outcome(unsigned int threads, const std::function<void()>& kernel) {
  const char* const wrong = cuda_emulation::run_blocks(dim3(1), dim3(threads), 1024, kernel);
  return wrong == nullptr ? "" : wrong;
}

void expect_fault(const char* words, unsigned int threads, const std::function<void()>& kernel) {
  const std::string got = outcome(threads, kernel);
  expect(got.find(words) != std::string::npos, "\"%s\", expected \"%s\"", got.c_str(), words);
}

}  // namespace

CASE(cuda_emulation_faults) {
  expect_fault("stands still", 64, [] {
    if (threadIdx.x != 5) __syncthreads();
  });
  expect_fault(" ended", 32, [] {
    if (threadIdx.x != 31) esp::ptx::shuffle(1, 0);
  });
  expect_fault("another instruction", 32, [] {
    if (threadIdx.x % 2 == 0) {
      esp::ptx::ballot(true);
    } else {
      __syncwarp();
    }
  });
  expect_fault("16", 32, [] {
    static const uint32_t source[8] = {};
    esp::ptx::copy_async<16>(shared_memory() + 4, source);
  });
  expect_fault("of shared memory", 32, [] { esp::shared_load(shared_memory() + 1024); });
  expect_fault("without a wgmma.fence", 128, [] {
    float d[4] = {};
    const uint32_t a[4] = {};
    esp::ptx::wgmma_bf16<8>::run(d, a, 0, false);
  });
  expect_fault("not two ascending places", 32, [] {
    float d[4] = {};
    const uint32_t a[4] = {}, b[4] = {};
    esp::ptx::mma_sparse_bf16<0>(d, a, b, 0x44444441u);
  });
  expect_fault("spin", 32, [] {
    uint64_t* const barrier = reinterpret_cast<uint64_t*>(shared_memory());
    if (threadIdx.x == 0) esp::ptx::barrier_make(barrier, 1);
    __syncthreads();
    esp::ptx::barrier_wait(barrier, 0);  // nobody arrives
  });
}

CASE(cuda_emulation_copies_land_at_the_wait) {
  static const float source[4] = {1.0f, 2.0f, 3.0f, 4.0f};
  float early = 0.0f, waited = 0.0f, newer = 0.0f, fresh = 0.0f;
  expect(outcome(1,
                 [&] {
                   float* const to = reinterpret_cast<float*>(shared_memory());
                   fresh = to[200];
                   esp::ptx::copy_async<4>(to, source);
                   esp::ptx::copy_commit();
                   esp::ptx::copy_async<4>(to + 1, source + 1);
                   esp::ptx::copy_commit();
                   early = to[0];
                   esp::ptx::copy_wait<1>();
                   waited = to[0];
                   newer = to[1];
                 }) == "",
         "copies");
  expect(isnan(fresh) && isnan(early) && waited == 1.0f && isnan(newer), "%g %g %g %g",
         static_cast<double>(fresh), static_cast<double>(early), static_cast<double>(waited),
         static_cast<double>(newer));
}

// Two warps that write one place without a barrier: some order shows either.
CASE(cuda_emulation_orders_differ) {
  bool seen[2] = {};
  for (uint64_t seed = 1; seed <= 32; seed++) {
    cuda_emulation::seed(seed);
    unsigned int last = 0;
    expect(outcome(64, [&] { last = threadIdx.x / 32; }) == "", "no fault");
    seen[last] = true;
  }
  expect(seen[0] && seen[1], "both warps come last some time");
}

CASE(cuda_streams) {
  esp_cuda_stream *a = nullptr, *b = nullptr;
  esp_cuda_event* event = nullptr;
  expect(cuda().open(0, &a) == ESP_OK && cuda().open(0, &b) == ESP_OK, "%s", cuda().last_error());
  expect(cuda().event_create(a, &event) == ESP_OK, "%s", cuda().last_error());
  void* memory = nullptr;
  expect(cuda().allocate(a, 4, &memory) == ESP_OK, "%s", cuda().last_error());
  const int32_t from = 42;
  int32_t to = 0;
  cuda().zero(a, memory, 4);
  cuda().upload(a, memory, &from, 4);
  cuda().event_record(event, a);
  cuda().event_wait(b, event);
  cuda().download(b, &to, memory, 4);
  expect(!emulated() || to == 0, "nothing is done before the host waits");
  expect(cuda().synchronize(b) == ESP_OK && to == 42, "b has waited for a: %d", to);
  cuda().release(a, memory);
  cuda().event_destroy(event);
  expect(cuda().close(a) == ESP_OK && cuda().close(b) == ESP_OK, "%s", cuda().last_error());
}

}  // namespace cases
