// SPDX-License-Identifier: Apache-2.0
//
// Conversion between element types, the search for NaN and infinity, and the gather of embeddings.
#include <atomic>

#include "internal.h"
#include "operations.h"

using namespace esp;

namespace {

// A multiple of 8, so that a tile of packed F4 or F6 elements begins at a byte.
constexpr int64_t tile_elements = 1 << 16;
constexpr uint16_t exponent_f16 = 0x7C00;
constexpr uint16_t exponent_bf16 = 0x7F80;

bool is_integer(esp_dtype dtype) {
  return dtype == ESP_BOOL || dtype == ESP_U8 || dtype == ESP_I8 || dtype == ESP_I16 ||
         dtype == ESP_U16 || dtype == ESP_I32 || dtype == ESP_U32 || dtype == ESP_I64 ||
         dtype == ESP_U64;
}

}  // namespace

extern "C" {

esp_status esp_convert_to_f32(esp_context* ctx, int64_t n, esp_dtype dtype, const void* x,
                              float* y) noexcept {
  const char* const op = "convert_to_f32";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, n >= 0, "n >= 0", n);
  ESP_REQUIRE(op, dtype >= ESP_BOOL && dtype <= ESP_U64, "a dtype of espalier.h", dtype);
  if (dtype == ESP_C64)
    return esp::fail(ESP_UNSUPPORTED, "%s: dtype=C64, expected a real type", op);
  if (n == 0) return ESP_OK;
  ESP_REQUIRE(op, x != nullptr, "not NULL", x != nullptr);
  ESP_REQUIRE(op, y != nullptr, "not NULL", y != nullptr);
  const auto bf16 = ESP_KERNEL(ctx, widen_bf16);
  const auto f16 = ESP_KERNEL(ctx, widen_f16);
  const auto any = ESP_KERNEL(ctx, widen_any);
  return esp::parallel_tiles(ctx, esp::ceil_div(n, tile_elements),
                             [=](int64_t tile, int32_t) -> esp_status {
                               const int64_t begin = tile * tile_elements;
                               const int64_t count = esp::min_of(tile_elements, n - begin);
                               if (dtype == ESP_BF16) {
                                 bf16(count, static_cast<const uint16_t*>(x) + begin, y + begin);
                               } else if (dtype == ESP_F16) {
                                 f16(count, static_cast<const uint16_t*>(x) + begin, y + begin);
                               } else {
                                 any(dtype, begin, count, x, y + begin);
                               }
                               return ESP_OK;
                             });
}

esp_status esp_convert_from_f32(esp_context* ctx, int64_t n, esp_dtype dtype, const float* x,
                                void* y) noexcept {
  const char* const op = "convert_from_f32";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, n >= 0, "n >= 0", n);
  ESP_REQUIRE(op, dtype >= ESP_BOOL && dtype <= ESP_U64, "a dtype of espalier.h", dtype);
  if (dtype != ESP_F16 && dtype != ESP_BF16 && dtype != ESP_F32 && dtype != ESP_F64 &&
      dtype != ESP_F8_E4M3 && dtype != ESP_F8_E5M2) {
    return esp::fail(ESP_UNSUPPORTED,
                     "%s: dtype=%d, expected F16, BF16, F32, F64, F8_E4M3 or F8_E5M2", op, dtype);
  }
  if (n == 0) return ESP_OK;
  ESP_REQUIRE(op, x != nullptr, "not NULL", x != nullptr);
  ESP_REQUIRE(op, y != nullptr, "not NULL", y != nullptr);
  const auto bf16 = ESP_KERNEL(ctx, narrow_bf16);
  const auto f16 = ESP_KERNEL(ctx, narrow_f16);
  const auto any = ESP_KERNEL(ctx, narrow_any);
  return esp::parallel_tiles(ctx, esp::ceil_div(n, tile_elements),
                             [=](int64_t tile, int32_t) -> esp_status {
                               const int64_t begin = tile * tile_elements;
                               const int64_t count = esp::min_of(tile_elements, n - begin);
                               if (dtype == ESP_BF16) {
                                 bf16(count, x + begin, static_cast<uint16_t*>(y) + begin);
                               } else if (dtype == ESP_F16) {
                                 f16(count, x + begin, static_cast<uint16_t*>(y) + begin);
                               } else {
                                 any(dtype, begin, count, x + begin, y);
                               }
                               return ESP_OK;
                             });
}

esp_status esp_first_nonfinite(esp_context* ctx, int64_t n, esp_dtype dtype, const void* x,
                               int64_t* first) noexcept {
  const char* const op = "first_nonfinite";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, first != nullptr, "not NULL", first != nullptr);
  *first = -1;
  ESP_REQUIRE(op, n >= 0, "n >= 0", n);
  ESP_REQUIRE(op, dtype >= ESP_BOOL && dtype <= ESP_U64, "a dtype of espalier.h", dtype);
  if (n == 0 || is_integer(dtype)) return ESP_OK;
  ESP_REQUIRE(op, x != nullptr, "not NULL", x != nullptr);
  const auto f32 = ESP_KERNEL(ctx, nonfinite_f32);
  const auto sixteen = ESP_KERNEL(ctx, nonfinite_16);
  const auto any = ESP_KERNEL(ctx, nonfinite_any);
  // A complex number is two fp32.
  const int64_t parts = dtype == ESP_C64 ? 2 : 1;
  const int64_t elements = n * parts;
  std::atomic<int64_t> lowest{elements};
  const esp_status status = esp::parallel_tiles(
      ctx, esp::ceil_div(elements, tile_elements), [&](int64_t tile, int32_t) -> esp_status {
        const int64_t begin = tile * tile_elements;
        const int64_t count = esp::min_of(tile_elements, elements - begin);
        if (begin > lowest.load(std::memory_order_relaxed)) return ESP_OK;
        int64_t found;
        if (dtype == ESP_F32 || dtype == ESP_C64) {
          found = f32(count, static_cast<const float*>(x) + begin);
        } else if (dtype == ESP_F16 || dtype == ESP_BF16) {
          found = sixteen(count, static_cast<const uint16_t*>(x) + begin,
                          dtype == ESP_F16 ? exponent_f16 : exponent_bf16);
        } else {
          found = any(dtype, begin, count, x);
        }
        if (found < 0) return ESP_OK;
        int64_t seen = lowest.load(std::memory_order_relaxed);
        while (begin + found < seen &&
               !lowest.compare_exchange_weak(seen, begin + found, std::memory_order_relaxed)) {
        }
        return ESP_OK;
      });
  if (lowest.load() < elements) *first = lowest.load() / parts;
  return status;
}

esp_status esp_embedding(esp_context* ctx, int64_t tokens, int64_t vocabulary, int64_t width,
                         const int32_t* ids, esp_dtype dtype, const void* table,
                         float* y) noexcept {
  const char* const op = "embedding";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, tokens >= 0, "tokens >= 0", tokens);
  ESP_REQUIRE(op, vocabulary >= 0, "vocabulary >= 0", vocabulary);
  ESP_REQUIRE(op, width >= 0, "width >= 0", width);
  if (dtype != ESP_F32 && dtype != ESP_F16 && dtype != ESP_BF16)
    return esp::fail(ESP_UNSUPPORTED, "%s: dtype=%d, expected F32, F16 or BF16", op, dtype);
  if (tokens == 0) return ESP_OK;
  ESP_REQUIRE(op, ids != nullptr, "not NULL", ids != nullptr);
  for (int64_t t = 0; t < tokens; t++) {
    if (ids[t] < 0 || ids[t] >= vocabulary) {
      return esp::fail(ESP_INVALID_ARGUMENT, "%s: ids[%lld]=%d, expected 0 <= id < %lld", op,
                       static_cast<long long>(t), ids[t], static_cast<long long>(vocabulary));
    }
  }
  if (width == 0) return ESP_OK;
  ESP_REQUIRE(op, table != nullptr, "not NULL", table != nullptr);
  ESP_REQUIRE(op, y != nullptr, "not NULL", y != nullptr);
  const auto bf16 = ESP_KERNEL(ctx, widen_bf16);
  const auto f16 = ESP_KERNEL(ctx, widen_f16);
  const auto any = ESP_KERNEL(ctx, widen_any);
  constexpr int64_t tile_tokens = 64;
  return esp::parallel_tiles(
      ctx, esp::ceil_div(tokens, tile_tokens), [=](int64_t tile, int32_t) -> esp_status {
        const int64_t end = esp::min_of(tokens, (tile + 1) * tile_tokens);
        for (int64_t t = tile * tile_tokens; t < end; t++) {
          const int64_t row = ids[t] * width;
          if (dtype == ESP_BF16) {
            bf16(width, static_cast<const uint16_t*>(table) + row, y + t * width);
          } else if (dtype == ESP_F16) {
            f16(width, static_cast<const uint16_t*>(table) + row, y + t * width);
          } else {
            any(dtype, row, width, table, y + t * width);
          }
        }
        return ESP_OK;
      });
}

}  // extern "C"
