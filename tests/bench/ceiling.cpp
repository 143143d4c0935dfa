// SPDX-License-Identifier: Apache-2.0
//
// Ceilings of the machine in its widest instruction set. A probe takes some milliseconds, so
// that it can take its turn among the rows it is a ceiling for.
#include <string.h>

#include <atomic>
#include <thread>

namespace bench {
namespace {
typedef float vf __attribute__((vector_size(16)));
typedef double vd __attribute__((vector_size(16)));
typedef long long vi __attribute__((vector_size(16), may_alias));
// The baseline has no fused multiply-add: a product and a sum are what it can do.
inline vf fused(vf a, vf b, vf c) {
  return a * b + c;
}
inline vd fused(vd a, vd b, vd c) {
  return a * b + c;
}
}  // namespace
}  // namespace bench

#include "ceiling_lanes.h"

namespace bench {

const probe_kernels probe_scalar = {read_all,           copy_all,   update_all,
                                    fp32_steps,         fp64_steps, flop_per_step_of(4),
                                    flop_per_step_of(2)};

namespace {

constexpr int64_t probe_bytes = int64_t{32} << 20;  // per probe, all threads together
constexpr int64_t probe_steps = 1000000;  // per thread: 192 FLOP each at 100 GFLOP/s, 2 ms

const probe_kernels& kernels() {
  static const probe_kernels& chosen =
      strstr(esp_cpu_features(), "avx512") != nullptr ? probe_avx512
      : strstr(esp_cpu_features(), "avx2") != nullptr ? probe_avx2
                                                      : probe_scalar;
  return chosen;
}

const int8_probe& int8() {
  static const int8_probe& chosen = strstr(esp_cpu_features(), "avx512vnni") != nullptr
                                        ? int8_avx512vnni
                                    : strstr(esp_cpu_features(), "avx2") != nullptr ? int8_avx2
                                                                                    : int8_scalar;
  return chosen;
}

std::atomic<double> kept{0};  // keeps the probes from being optimised away

void run_part(ceiling c, const char* from, char* to, int64_t bytes) {
  switch (c) {
    case ceiling::read:
      kept = static_cast<double>(kernels().read(from, bytes));
      break;
    case ceiling::copy:
      kernels().copy(from, to, bytes);
      break;
    case ceiling::update:
      kernels().update(to, bytes);
      break;
    case ceiling::fp32:
      kept = static_cast<double>(kernels().fp32(probe_steps));
      break;
    case ceiling::fp64:
      kept = kernels().fp64(probe_steps);
      break;
    case ceiling::int8:
      kept = static_cast<double>(int8().run(probe_steps));
      break;
    case ceiling::none:
      break;
  }
}

}  // namespace

const char* name_of(ceiling c) {
  constexpr const char* names[] = {"read bandwidth",
                                   "copy bandwidth",
                                   "update bandwidth",
                                   "fp32 multiply-add",
                                   "fp64 multiply-add",
                                   "int8 multiply-add",
                                   "none"};
  return names[static_cast<int32_t>(c)];
}

const char* unit_of(ceiling c) {
  return c == ceiling::read || c == ceiling::copy || c == ceiling::update ? "GB/s"
         : c == ceiling::none                                             ? ""
         : c == ceiling::int8                                             ? "GOP/s"
                                                                          : "GFLOP/s";
}

double probe(ceiling c, int32_t threads, const pools& data, int64_t turn) {
  const char* from = reinterpret_cast<const char*>(data.bits(probe_bytes / 4, turn));
  char* to = data.sink<char>(probe_bytes, turn);
  const int64_t share = probe_bytes / threads / 4096 * 4096;
  std::vector<std::thread> team;
  for (int32_t i = 1; i < threads; i++)
    team.emplace_back(run_part, c, from + i * share, to + i * share, share);
  run_part(c, from, to, share);
  for (std::thread& member : team) member.join();
  switch (c) {
    case ceiling::read:
      return static_cast<double>(share) * threads;
    case ceiling::copy:
    case ceiling::update:
      return 2.0 * static_cast<double>(share) * threads;  // read and written
    case ceiling::fp32:
      return static_cast<double>(probe_steps) * threads * kernels().fp32_flop_per_step;
    case ceiling::fp64:
      return static_cast<double>(probe_steps) * threads * kernels().fp64_flop_per_step;
    case ceiling::int8:
      return static_cast<double>(probe_steps) * threads * int8().op_per_step;
    case ceiling::none:
      break;
  }
  return 0;
}

}  // namespace bench
