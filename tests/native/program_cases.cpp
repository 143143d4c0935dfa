// SPDX-License-Identifier: Apache-2.0
//
// Programs, and the pool under jobs of every size.
#include <time.h>

#include "harness.h"

using namespace cases;

namespace {

int64_t word(const void* p) {
  return static_cast<int64_t>(reinterpret_cast<intptr_t>(p));
}

int64_t word(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

struct recorded {
  explicit recorded(esp_context* ctx) {
    expect_status(ESP_OK, esp_program_create(ctx, &p), "program_create");
  }
  ~recorded() { esp_program_destroy(p); }
  esp_status add(const char* op, std::vector<int64_t> base, std::vector<int64_t> slope = {}) {
    slope.resize(base.size());
    return esp_program_append(p, op, static_cast<int32_t>(base.size()), base.data(), slope.data());
  }
  esp_program* p = nullptr;
};

}  // namespace

// y[position] = rms(x) * weight, then + x: an address that moves with the position, a float.
CASE(a_program_does_what_its_calls_do) {
  constexpr int64_t cols = 37, positions = 5;
  buffer<float> x(cols), weight(cols), moved(positions * cols), y(cols), want(cols);
  fill(x, inputs::uniform, 71);
  fill(weight, inputs::uniform, 72);
  for (int32_t threads : {1, 3}) {
    esp_context* const ctx = context(threads);
    recorded program(ctx);
    expect_status(
        ESP_OK,
        program.add("rms_norm",
                    {1, cols, word(x), cols, word(weight), word(1e-3f), word(moved), cols},
                    {0, 0, 0, 0, 0, 0, cols * 4, 0}),
        "program_append");
    expect_status(ESP_OK,
                  program.add("add", {cols, word(x), word(moved), word(y)}, {0, 0, cols * 4, 0}),
                  "program_append");
    for (int64_t position : {3, 0, 4}) {
      for (float& value : moved) value = 7.0f;
      expect_status(ESP_OK, esp_program_run(program.p, position), "program_run");
      esp_rms_norm(ctx, 1, cols, x, cols, weight, 1e-3f, want, cols);
      expect(memcmp(moved + position * cols, want, cols * 4) == 0, "row %d differs",
             static_cast<int>(position));
      for (int64_t i = 0; i < moved.size(); i++)
        expect(i / cols == position || moved[i] == 7.0f, "element %d was written",
               static_cast<int>(i));
      esp_add(ctx, cols, x, want, want);
      expect(memcmp(y, want, cols * 4) == 0, "the second call differs");
    }
  }
}

CASE(a_program_stops_at_the_call_that_fails) {
  float x[4] = {1, 2, 3, 4}, y[4] = {};
  recorded program(context());
  program.add("add", {4, word(x), word(x), word(y)});
  program.add("add", {-1, word(x), word(x), word(y)}, {1, 0, 0, 0});  // n = position - 1
  program.add("multiply", {4, word(x), word(x), word(y)});
  expect_status(ESP_INVALID_ARGUMENT, esp_program_run(program.p, 0), "add");
  expect(y[3] == 8, "the call before was not run");
  expect_status(ESP_OK, esp_program_run(program.p, 1), "add");
  expect(y[3] == 16, "the call behind was not run");
}

CASE(programs_refuse_what_they_cannot_hold) {
  recorded program(context());
  expect_status(ESP_UNSUPPORTED, program.add("gram", {1, 1, 0, 1, 0}), "program_append");
  expect_status(ESP_INVALID_ARGUMENT, program.add("add", {1, 0, 0}), "program_append");
  expect_status(ESP_INVALID_ARGUMENT, esp_program_create(nullptr, nullptr), "program_create");
  expect_status(ESP_INVALID_ARGUMENT, esp_program_run(program.p, -1), "program_run");
  expect_status(ESP_OK, esp_program_run(program.p, 0), "program_run");
}

// Jobs of one to many tiles, one after the other and after pauses that let the workers sleep: each
// tile once, and the failure of the lowest tile.
CASE(the_pool_runs_every_tile_once) {
  constexpr int64_t width = 1 << 14;  // elements a tile of `add`
  buffer<float> x(40 * width), y(40 * width);
  for (float& value : x) value = 1.0f;
  for (int32_t round = 0; round < 400; round++) {
    const int64_t n = (round * 7 % 40 + 1) * width - round % 3;
    for (int64_t i = 0; i < y.size(); i += width) y[i] = 0.0f;
    expect_status(ESP_OK, esp_add(context(round % 3 + 1), n, x, x, y), "add");
    for (int64_t i = 0; i < y.size(); i += width)
      expect(y[i] == (i < n ? 2.0f : 0.0f), "tile %d of round %d", static_cast<int>(i / width),
             round);
    if (round % 100 == 0) {
      timespec pause = {0, 1000000};  // twenty times what an idle worker spins
      nanosleep(&pause, nullptr);
    }
  }
}
