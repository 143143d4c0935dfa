// SPDX-License-Identifier: Apache-2.0
//
// Columns of a matrix in another order: act-order's way in and out of the solver.
#include "internal.h"

namespace esp {
namespace {

template <class T>
void permute_row(int64_t cols, const T* from, const int32_t* order, bool back, T* to) {
  if (back) {
    for (int64_t i = 0; i < cols; i++) to[order[i]] = from[i];
  } else {
    for (int64_t i = 0; i < cols; i++) to[i] = from[order[i]];
  }
}

}  // namespace
}  // namespace esp

extern "C" esp_status esp_permute_columns(esp_context* ctx, int64_t rows, int64_t cols,
                                          int32_t element_bytes, const void* from,
                                          const int32_t* order, int32_t back, void* to) noexcept {
  using namespace esp;
  const char* const op = "permute_columns";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, rows >= 0, "rows >= 0", rows);
  ESP_REQUIRE(op, cols >= 0, "cols >= 0", cols);
  ESP_REQUIRE(op, element_bytes == 1 || element_bytes == 4, "1 or 4", element_bytes);
  if (rows == 0 || cols == 0) return ESP_OK;
  ESP_REQUIRE(op, from != nullptr, "an address", from != nullptr);
  ESP_REQUIRE(op, order != nullptr, "an address", order != nullptr);
  ESP_REQUIRE(op, to != nullptr, "an address", to != nullptr);
  for (int64_t i = 0; i < cols; i++)
    ESP_REQUIRE(op, order[i] >= 0 && order[i] < cols, "0 <= order < cols", order[i]);
  constexpr int64_t step = 16;  // rows a task
  return parallel_tiles(ctx, ceil_div(rows, step), [&](int64_t t, int32_t) -> esp_status {
    for (int64_t r = t * step; r < min_of(rows, (t + 1) * step); r++) {
      if (element_bytes == 4) {
        permute_row(cols, static_cast<const float*>(from) + r * cols, order, back != 0,
                    static_cast<float*>(to) + r * cols);
      } else {
        permute_row(cols, static_cast<const int8_t*>(from) + r * cols, order, back != 0,
                    static_cast<int8_t*>(to) + r * cols);
      }
    }
    return ESP_OK;
  });
}
