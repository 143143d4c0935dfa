// SPDX-License-Identifier: Apache-2.0
//
// Sparse weights made, checked and undone: masks and values out of a dense matrix and back.
#include <atomic>

#include "internal.h"
#include "layout/sparse.h"
#include "operations.h"
#include "sparse.h"

namespace esp {
namespace {

constexpr int64_t tile_rows = 16;
constexpr int64_t collected = 4096;  // columns collected at a time: 16 KiB of fp32

// Runs f(row) for every row on the pool.
template <class F>
esp_status each_row(esp_context* ctx, int64_t rows, F f) {
  return parallel_tiles(ctx, ceil_div(rows, tile_rows), [&](int64_t tile, int32_t) {
    for (int64_t r = tile * tile_rows; r < min_of(rows, (tile + 1) * tile_rows); r++) f(r);
    return static_cast<esp_status>(ESP_OK);
  });
}

int64_t kept_of_bitmask(const uint8_t* bitmask, int64_t bytes) {
  int64_t kept = 0;
  for (int64_t b = 0; b < bytes; b++) kept += __builtin_popcount(bitmask[b]);
  return kept;
}

// A bitmask of one row, in place, to 2:4 places; false when a four keeps more than two.
bool places_of_bitmask(int64_t cols, uint8_t* row) {
  for (int64_t b = 0; b < sparse_place_bytes(cols); b++) {
    const uint32_t low = row[b] & 15u, high = row[b] >> 4;
    if (__builtin_popcount(low) > 2 || __builtin_popcount(high) > 2) return false;
    const uint32_t places =
        sparse_places_of_four(low) | (8 * b + 4 < cols ? sparse_places_of_four(high) << 4 : 0u);
    row[b] = static_cast<uint8_t>(places);
  }
  return true;
}

// The mask of columns [8 first, 8 (first + bytes)) of a row into bitmask.
void bitmask_of(const sparse_operands& w, int64_t r, int64_t first, int64_t bytes,
                uint8_t* bitmask) {
  const uint8_t* const places = w.places + r * sparse_place_bytes(w.cols) + first;
  for (int64_t b = 0; b < bytes; b++) {
    const int32_t halves = 8 * (first + b) + 4 < w.cols ? 2 : 1;
    bitmask[b] = w.pattern == ESP_SPARSE_24 ? sparse_mask_of_places(places[b], halves) : places[b];
  }
}

struct collectors {
  sparse_collect_f32_kernel* f32;
  sparse_collect_i8_kernel* i8;
  narrow_bf16_kernel* bf16;
  narrow_f16_kernel* f16;
};

// Values of one row, to `to`.
void pack_row(const sparse_operands& w, const collectors& k, int64_t r, const void* dense,
              uint8_t* to) {
  uint8_t bitmask[collected / 8];
  alignas(64) float numbers[collected];
  int8_t* const codes = reinterpret_cast<int8_t*>(numbers);
  int64_t packed = 0;  // values written; even in front of every piece of nibbles but by `odd`
  int8_t odd = 0;
  for (int64_t c = 0; c < w.cols; c += collected) {
    const int64_t cols = min_of(collected, w.cols - c);
    const int64_t bytes = sparse_place_bytes(cols);
    bitmask_of(w, r, c / 8, bytes, bitmask);
    const int64_t kept = kept_of_bitmask(bitmask, bytes);
    const float* const f = static_cast<const float*>(dense) + r * w.cols + c;
    const int8_t* const q = static_cast<const int8_t*>(dense) + r * w.cols + c;
    if (w.dtype == ESP_F32) {
      k.f32(cols, bitmask, f, reinterpret_cast<float*>(to) + packed);
    } else if (w.dtype == ESP_BF16 || w.dtype == ESP_F16) {
      k.f32(cols, bitmask, f, numbers);
      (w.dtype == ESP_BF16 ? k.bf16 : k.f16)(kept, numbers,
                                             reinterpret_cast<uint16_t*>(to) + packed);
    } else if (w.dtype == ESP_I8) {
      k.i8(cols, bitmask, q, reinterpret_cast<int8_t*>(to) + packed);
    } else {
      k.i8(cols, bitmask, q, codes);
      for (int64_t j = 0; j < kept; j++) {
        const uint32_t nibble = static_cast<uint32_t>(codes[j] + 8) & 15u;
        const int64_t at = packed + j;
        if ((at & 1) == 0) {
          odd = static_cast<int8_t>(nibble);
          to[at >> 1] = static_cast<uint8_t>(nibble);
        } else {
          to[at >> 1] = static_cast<uint8_t>(static_cast<uint32_t>(odd) | nibble << 4);
        }
      }
    }
    packed += kept;
  }
}

esp_status make_places(esp_context* ctx, const sparse_operands& w, const void* dense,
                       const uint8_t* mask, uint8_t* places, int64_t* row_offsets, int64_t* kept) {
  sparse_bits_f32_kernel* const bits_f32 = ESP_KERNEL(ctx, sparse_bits_f32);
  sparse_bits_u8_kernel* const bits_u8 = ESP_KERNEL(ctx, sparse_bits_u8);
  const int64_t bytes = sparse_place_bytes(w.cols);
  std::atomic<int64_t> worst{w.rows};  // the first row that keeps more than two of four
  const esp_status status = each_row(ctx, w.rows, [&](int64_t r) {
    uint8_t* const row = places + r * bytes;
    int64_t count = 0;
    if (mask != nullptr || w.dtype == ESP_I8) {
      const uint8_t* const from = mask != nullptr ? mask : static_cast<const uint8_t*>(dense);
      count = bits_u8(w.cols, from + r * w.cols, row);
    } else {
      count = bits_f32(w.cols, static_cast<const float*>(dense) + r * w.cols, row);
    }
    if (w.pattern == ESP_SPARSE_BITMASK) {
      row_offsets[r] = count;
    } else if (!places_of_bitmask(w.cols, row)) {
      int64_t seen = worst.load(std::memory_order_relaxed);
      while (r < seen && !worst.compare_exchange_weak(seen, r, std::memory_order_relaxed)) {
      }
    }
  });
  if (status != ESP_OK) return status;
  if (w.pattern == ESP_SPARSE_24) {
    *kept = worst.load();
    ESP_REQUIRE(w.op, *kept == w.rows, "at most two of four kept in every row", *kept);
    *kept = w.rows * (w.cols / 2);
    return ESP_OK;
  }
  int64_t before = 0;
  for (int64_t r = 0; r < w.rows; r++) {
    const int64_t count = row_offsets[r];
    row_offsets[r] = before;
    before += count;
  }
  *kept = before;
  return ESP_OK;
}

// Kept weights of row r, -1 when its places are not of the form.
int64_t checked_row(const sparse_operands& w, int64_t r) {
  const int64_t bytes = sparse_place_bytes(w.cols);
  const uint8_t* const row = w.places + r * bytes;
  if (w.pattern == ESP_SPARSE_BITMASK) {
    if (w.cols % 8 != 0 && row[bytes - 1] >> (w.cols % 8) != 0) return -1;
    return kept_of_bitmask(row, bytes);
  }
  for (int64_t b = 0; b < bytes; b++) {
    if (!sparse_places_ascend(row[b], 8 * b + 4 < w.cols ? 2 : 1)) return -1;
  }
  return w.cols / 2;
}

// The rows of W as kernels take them, tile by tile: f(all of W, first row, rows).
template <class F>
esp_status each_tile(esp_context* ctx, const sparse_operands& w, F f) {
  int64_t* const starts =
      static_cast<int64_t*>(scratch(ctx, 0, w.rows * static_cast<int64_t>(sizeof(int64_t))));
  if (starts == nullptr) return fail(ESP_OUT_OF_MEMORY, "%s: no memory for row starts", w.op);
  sparse_row_starts(w, 0, w.rows, starts);
  const sparse_weights all = sparse_rows_of(w, 0, w.rows, starts, sparse_values_length(w));
  return parallel_tiles(ctx, ceil_div(w.rows, tile_rows), [&](int64_t tile, int32_t) {
    const int64_t row = tile * tile_rows;
    f(all, row, min_of(w.rows, row + tile_rows));
    return static_cast<esp_status>(ESP_OK);
  });
}

}  // namespace
}  // namespace esp

extern "C" {

esp_status esp_sparse_places(esp_context* ctx, int64_t rows, int64_t cols, esp_sparsity pattern,
                             esp_dtype dtype, const void* w, const uint8_t* mask, uint8_t* places,
                             int64_t* row_offsets, int64_t* kept) noexcept {
  using namespace esp;
  const char* const op = "sparse_places";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, kept != nullptr, "an address", kept != nullptr);
  const sparse_operands s{op, rows, cols, pattern, dtype, places, row_offsets, nullptr, nullptr, 0};
  esp_status status = check_sparse_sizes(s);
  if (status != ESP_OK) return status;
  ESP_REQUIRE(op, dtype == ESP_F32 || dtype == ESP_I8, "F32 or I8", dtype);
  *kept = 0;
  if (rows == 0) return ESP_OK;
  if (cols > 0) {
    status = check_sparse_addresses(s, false);
    if (status != ESP_OK) return status;
    ESP_REQUIRE(op, w != nullptr || mask != nullptr, "w or mask", w != nullptr);
  }
  return make_places(ctx, s, w, mask, places, row_offsets, kept);
}

esp_status esp_sparse_pack(esp_context* ctx, int64_t rows, int64_t cols, esp_sparsity pattern,
                           esp_dtype dtype, const void* w, const uint8_t* places,
                           const int64_t* row_offsets, void* values) noexcept {
  using namespace esp;
  const char* const op = "sparse_pack";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  const sparse_operands s{op, rows, cols, pattern, dtype, places, row_offsets, values, nullptr, 0};
  esp_status status = check_sparse_sizes(s);
  if (status != ESP_OK || rows == 0 || cols == 0) return status;
  status = check_sparse_addresses(s, false);
  if (status != ESP_OK) return status;
  ESP_REQUIRE(op, w != nullptr, "an address", w != nullptr);
  ESP_REQUIRE(op, values != nullptr || sparse_values_length(s) == 0, "an address",
              values != nullptr);
  const collectors kernels{ESP_KERNEL(ctx, sparse_collect_f32), ESP_KERNEL(ctx, sparse_collect_i8),
                           ESP_KERNEL(ctx, narrow_bf16), ESP_KERNEL(ctx, narrow_f16)};
  return each_tile(ctx, s, [&](const sparse_weights& all, int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++)
      pack_row(s, kernels, r, w, static_cast<uint8_t*>(values) + all.starts[r]);
  });
}

esp_status esp_sparse_check(esp_context* ctx, int64_t rows, int64_t cols, esp_sparsity pattern,
                            esp_dtype dtype, const uint8_t* places, const int64_t* row_offsets,
                            int64_t* row, int64_t* kept, int64_t* value_bytes) noexcept {
  using namespace esp;
  const char* const op = "sparse_check";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, row != nullptr && kept != nullptr && value_bytes != nullptr, "addresses",
              row != nullptr);
  const sparse_operands s{op, rows, cols, pattern, dtype, places, row_offsets, nullptr, nullptr, 0};
  esp_status status = check_sparse_sizes(s);
  if (status != ESP_OK) return status;
  *row = -1;
  *kept = *value_bytes = 0;
  if (rows == 0 || cols == 0) return ESP_OK;
  status = check_sparse_addresses(s, false);
  if (status != ESP_OK) return status;
  for (int64_t r = 0; r < rows; r++) {
    const int64_t count = checked_row(s, r);
    if (count < 0 || (pattern == ESP_SPARSE_BITMASK && row_offsets[r] != *kept)) {
      *row = r;
      return ESP_OK;
    }
    *kept += count;
    *value_bytes += sparse_value_bytes(count, sparse_value_bits(dtype));
  }
  return ESP_OK;
}

esp_status esp_sparse_expand(esp_context* ctx, int64_t rows, int64_t cols, esp_sparsity pattern,
                             esp_dtype dtype, const uint8_t* places, const int64_t* row_offsets,
                             const void* values, const float* scales, int64_t group, float* y,
                             int64_t ldy) noexcept {
  using namespace esp;
  const char* const op = "sparse_expand";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  const sparse_operands s{op,     rows,        cols,   pattern, dtype,
                          places, row_offsets, values, scales,  group};
  esp_status status = check_sparse_sizes(s);
  if (status != ESP_OK || rows == 0 || cols == 0) return status;
  status = check_sparse_addresses(s, true);
  if (status != ESP_OK) return status;
  ESP_REQUIRE(op, y != nullptr, "an address", y != nullptr);
  ESP_REQUIRE(op, ldy >= cols, "ldy >= cols", ldy);
  sparse_expand_kernel* const kernel = ESP_KERNEL(ctx, sparse_expand);
  return each_tile(ctx, s, [&](const sparse_weights& all, int64_t begin, int64_t end) {
    kernel(all, begin, end, y + begin * ldy, ldy);
  });
}

esp_status esp_sparse_codes(esp_context* ctx, int64_t rows, int64_t cols, esp_sparsity pattern,
                            esp_dtype dtype, const uint8_t* places, const int64_t* row_offsets,
                            const void* values, int8_t* codes) noexcept {
  using namespace esp;
  const char* const op = "sparse_codes";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  const sparse_operands s{op, rows, cols, pattern, dtype, places, row_offsets, values, nullptr, 0};
  esp_status status = check_sparse_sizes(s);
  if (status != ESP_OK || rows == 0 || cols == 0) return status;
  ESP_REQUIRE(op, sparse_dtype_is_codes(dtype), "I8 or U8", dtype);
  status = check_sparse_addresses(s, false);
  if (status != ESP_OK) return status;
  ESP_REQUIRE(op, values != nullptr || sparse_values_length(s) == 0, "an address",
              values != nullptr);
  ESP_REQUIRE(op, codes != nullptr, "an address", codes != nullptr);
  sparse_codes_kernel* const kernel = ESP_KERNEL(ctx, sparse_codes);
  return each_tile(ctx, s, [&](const sparse_weights& all, int64_t begin, int64_t end) {
    kernel(all, begin, end, codes + begin * cols);
  });
}

}  // extern "C"
