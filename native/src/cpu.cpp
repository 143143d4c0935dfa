// SPDX-License-Identifier: Apache-2.0
//
// Which instruction sets may run: what the CPU has, clamped by ESPALIER_ISA (scalar, avx2, avx512,
// avx512vnni, avx512bf16).
#include <stdlib.h>
#include <string.h>

#include "internal.h"

namespace esp {
namespace {

constexpr const char* names[] = {"scalar", "avx2", "avx512", "avx512vnni", "avx512bf16"};
constexpr int32_t isa_count = 5;

bool cpu_has(isa which) {
  // __builtin_cpu_supports checks the operating system's register state as well as CPUID.
  __builtin_cpu_init();
  switch (which) {
    case isa::scalar:
      return true;
    case isa::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             __builtin_cpu_supports("f16c");
    case isa::avx512:
      return cpu_has(isa::avx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
    case isa::avx512vnni:
      return cpu_has(isa::avx512) && __builtin_cpu_supports("avx512vnni");
    case isa::avx512bf16:
      return cpu_has(isa::avx512) && __builtin_cpu_supports("avx512bf16");
  }
  return false;
}

// The highest instruction set that ESPALIER_ISA allows; an unknown word allows everything.
int32_t clamp_of_environment() {
  const char* wanted = getenv("ESPALIER_ISA");
  for (int32_t i = 0; wanted != nullptr && i < isa_count; i++) {
    if (strcmp(wanted, names[i]) == 0) return i;
  }
  return isa_count - 1;
}

uint32_t detect() {
  uint32_t bits = 0;
  const int32_t highest = clamp_of_environment();
  for (int32_t i = 0; i <= highest; i++) {
    if (cpu_has(static_cast<isa>(i))) bits |= 1u << i;
  }
  return bits;
}

uint32_t available() {
  static const uint32_t bits = detect();
  return bits;
}

}  // namespace

bool isa_runs(isa which) {
  return (available() >> static_cast<int32_t>(which)) & 1u;
}

const char* isa_name(isa which) {
  return names[static_cast<int32_t>(which)];
}

}  // namespace esp

extern "C" const char* esp_cpu_features(void) noexcept {
  static const struct listing {
    char text[64];
    listing() : text{} {
      for (int32_t i = esp::isa_count - 1; i >= 0; i--) {
        if (!esp::isa_runs(static_cast<esp::isa>(i))) continue;
        if (text[0] != 0) strncat(text, " ", sizeof text - strlen(text) - 1);
        strncat(text, esp::names[i], sizeof text - strlen(text) - 1);
      }
    }
  } features;
  return features.text;
}
