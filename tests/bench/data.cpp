// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench.h"

namespace bench {
namespace {

void* map(int64_t bytes) {
  void* p = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) {
    fprintf(stderr, "no memory for a pool of %lld bytes\n", static_cast<long long>(bytes));
    exit(1);
  }
  madvise(p, static_cast<size_t>(bytes), MADV_HUGEPAGE);
  return p;
}

// Of the floats that are bf16 values: activations of a product, no more than this.
constexpr int64_t exact_bytes = int64_t{64} << 20;

uint64_t mixed(uint64_t z) {  // splitmix64
  z *= 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

}  // namespace

pools::pools(int64_t bytes)
    : bytes_(bytes),
      floats_(map(bytes)),
      bf16_(map(bytes)),
      f16_(map(bytes)),
      bits_(map(bytes)),
      sink_(map(bytes)),
      exact_(map(exact_bytes)) {
  uint64_t* words = static_cast<uint64_t*>(bits_);
  float* floats = static_cast<float*>(floats_);
  for (int64_t i = 0; i < bytes / 8; i++) {
    words[i] = mixed(static_cast<uint64_t>(i) + 1);
    for (int half = 0; half < 2; half++)
      floats[2 * i + half] =
          static_cast<float>(static_cast<int32_t>(mixed(words[i] + static_cast<uint64_t>(half)))) *
          0x1p-31f;
  }
  esp_context* ctx = nullptr;
  bool ok = esp_context_create(0, &ctx) == ESP_OK;
  for (int64_t half = 0; half < 2 && ok; half++) {  // 2 bytes an element: the floats twice
    ok = esp_convert_from_f32(ctx, bytes / 4, ESP_BF16, floats,
                              static_cast<uint16_t*>(bf16_) + half * (bytes / 4)) == ESP_OK &&
         esp_convert_from_f32(ctx, bytes / 4, ESP_F16, floats,
                              static_cast<uint16_t*>(f16_) + half * (bytes / 4)) == ESP_OK;
  }
  ok = ok && esp_convert_to_f32(ctx, exact_bytes / 4, ESP_BF16, bf16_,
                                static_cast<float*>(exact_)) == ESP_OK;
  esp_context_destroy(ctx);
  if (!ok) {
    fprintf(stderr, "%s\n", esp_last_error());
    exit(1);
  }
  refill_sink();
}

void pools::refill_sink() const {
  memcpy(sink_, floats_, static_cast<size_t>(bytes_));
}

void* pools::slice(void* pool, int64_t bytes, int64_t turn) const {
  // Whole pages and some cache lines: a store and a load of one call do not share their low bits.
  const int64_t shift = pool == sink_ ? 31 * 64 : 0;
  const int64_t stride = (bytes + 4095) / 4096 * 4096 + 13 * 64;
  const int64_t places = (bytes_ - shift) / stride;
  if (places < 1) {
    fprintf(stderr, "an operand of %lld bytes is larger than a pool\n",
            static_cast<long long>(bytes));
    exit(1);
  }
  return static_cast<char*>(pool) + shift + turn % places * stride;
}

const float* pools::floats(int64_t count, int64_t turn) const {
  return static_cast<const float*>(slice(floats_, count * 4, turn));
}
const uint16_t* pools::bf16(int64_t count, int64_t turn) const {
  return static_cast<const uint16_t*>(slice(bf16_, count * 2, turn));
}
const float* pools::bf16_values(int64_t count) const {
  if (count * 4 > exact_bytes) {
    fprintf(stderr, "activations of %lld elements are more than there are\n",
            static_cast<long long>(count));
    exit(1);
  }
  return static_cast<const float*>(exact_);
}
const uint16_t* pools::f16(int64_t count, int64_t turn) const {
  return static_cast<const uint16_t*>(slice(f16_, count * 2, turn));
}
const uint32_t* pools::bits(int64_t count, int64_t turn) const {
  return static_cast<const uint32_t*>(slice(bits_, count * 4, turn));
}

}  // namespace bench
