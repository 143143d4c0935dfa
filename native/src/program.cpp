// SPDX-License-Identifier: Apache-2.0
//
// Programs: calls of the C ABI recorded once and run many times. An argument travels as a 64-bit
// word: an integer or an address as it is, a float as its bits. In a run at position p argument i
// is base[i] + slope[i] * p, which covers all that changes from token to token: the position, the
// number of keys, the row of the cache that is written.
#include <stdlib.h>
#include <string.h>

#include <new>
#include <type_traits>
#include <utility>

#include "internal.h"

namespace {

constexpr int32_t most_arguments = 24;

template <class T>
T from_word(int64_t word) {
  if constexpr (std::is_pointer_v<T>) {
    return reinterpret_cast<T>(word);
  } else if constexpr (std::is_same_v<T, float>) {
    const uint32_t bits = static_cast<uint32_t>(word);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
  } else {
    static_assert(std::is_integral_v<T> || std::is_enum_v<T>, "an argument that fits no word");
    return static_cast<T>(word);
  }
}

using word_call = esp_status (*)(esp_context* ctx, const int64_t* words);

// The call of f with arguments from words, and their number.
template <auto f>
struct caller;
template <class... A, esp_status (*f)(esp_context*, A...) noexcept>
struct caller<f> {
  static constexpr int32_t arguments = sizeof...(A);
  static_assert(arguments <= most_arguments, "most_arguments is too small");

  template <size_t... i>
  static esp_status unpack(esp_context* ctx, const int64_t* words, std::index_sequence<i...>) {
    return f(ctx, from_word<A>(words[i])...);
  }
  static esp_status call(esp_context* ctx, const int64_t* words) {
    return unpack(ctx, words, std::index_sequence_for<A...>{});
  }
};

struct recordable {
  const char* operation;
  word_call call;
  int32_t arguments;
};

constexpr recordable recordables[] = {
#define ESP_RECORDABLE(operation) \
  {#operation, caller<esp_##operation>::call, caller<esp_##operation>::arguments},
#include "recordable.inc"
#undef ESP_RECORDABLE
};

const recordable* find(const char* operation) {
  for (const recordable& r : recordables) {
    if (strcmp(r.operation, operation) == 0) return &r;
  }
  return nullptr;
}

struct step {
  const recordable* what;
  bool moves;  // some slope is not 0
  int64_t base[most_arguments];
  int64_t slope[most_arguments];
};

}  // namespace

struct esp_program {
  esp_context* ctx = nullptr;
  step* steps = nullptr;
  int64_t count = 0;
  int64_t room = 0;
};

extern "C" {

esp_status esp_program_create(esp_context* ctx, esp_program** out) noexcept {
  const char* const op = "program_create";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, out != nullptr, "an address", out != nullptr);
  *out = new (std::nothrow) esp_program;
  if (*out == nullptr) return esp::fail(ESP_OUT_OF_MEMORY, "%s: no memory for a program", op);
  (*out)->ctx = ctx;
  return ESP_OK;
}

esp_status esp_program_destroy(esp_program* program) noexcept {
  if (program != nullptr) free(program->steps);
  delete program;
  return ESP_OK;
}

esp_status esp_program_append(esp_program* program, const char* operation, int32_t arguments,
                              const int64_t* base, const int64_t* slope) noexcept {
  const char* const op = "program_append";
  ESP_REQUIRE(op, program != nullptr, "a program", program != nullptr);
  ESP_REQUIRE(op, operation != nullptr, "a name", operation != nullptr);
  ESP_REQUIRE(op, base != nullptr && slope != nullptr, "words not NULL",
              base != nullptr && slope != nullptr);
  const recordable* const what = find(operation);
  if (what == nullptr)
    return esp::fail(ESP_UNSUPPORTED, "%s: operation=%s, expected one of recordable.inc", op,
                     operation);
  if (arguments != what->arguments)
    return esp::fail(ESP_INVALID_ARGUMENT, "%s: %s with arguments=%d, expected %d", op, operation,
                     arguments, what->arguments);
  if (program->count == program->room) {
    const int64_t room = esp::max_of(64, 2 * program->room);
    void* const grown = realloc(program->steps, static_cast<size_t>(room) * sizeof(step));
    if (grown == nullptr)
      return esp::fail(ESP_OUT_OF_MEMORY, "%s: no memory for %lld steps", op,
                       static_cast<long long>(room));
    program->steps = static_cast<step*>(grown);
    program->room = room;
  }
  step& added = program->steps[program->count++];
  added.what = what;
  added.moves = false;
  for (int32_t i = 0; i < arguments; i++) {
    added.base[i] = base[i];
    added.slope[i] = slope[i];
    added.moves = added.moves || slope[i] != 0;
  }
  return ESP_OK;
}

esp_status esp_program_run(esp_program* program, int64_t position) noexcept {
  const char* const op = "program_run";
  ESP_REQUIRE(op, program != nullptr, "a program", program != nullptr);
  ESP_REQUIRE(op, position >= 0, "position >= 0", position);
  for (int64_t s = 0; s < program->count; s++) {
    const step& present = program->steps[s];
    int64_t moved[most_arguments];
    const int64_t* words = present.base;
    if (present.moves) {
      for (int32_t i = 0; i < present.what->arguments; i++)
        moved[i] = present.base[i] + present.slope[i] * position;
      words = moved;
    }
    const esp_status status = present.what->call(program->ctx, words);
    if (status != ESP_OK) return status;
  }
  return ESP_OK;
}

}  // extern "C"
