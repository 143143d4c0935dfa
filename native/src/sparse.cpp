// SPDX-License-Identifier: Apache-2.0
//
// The operands of sparse weights: checks, counts and offsets.
#include "sparse.h"

#include "layout/sparse.h"

namespace esp {

esp_status check_sparse_sizes(const sparse_operands& w) {
  ESP_REQUIRE(w.op, w.rows >= 0, "rows >= 0", w.rows);
  ESP_REQUIRE(w.op, w.cols >= 0 && w.cols <= INT32_MAX, "0 <= cols < 2^31", w.cols);
  ESP_REQUIRE(w.op, w.pattern == ESP_SPARSE_BITMASK || w.pattern == ESP_SPARSE_24, "a pattern",
              w.pattern);
  ESP_REQUIRE(w.op, w.pattern == ESP_SPARSE_BITMASK || w.cols % 4 == 0,
              "a multiple of 4 for the pattern 2:4", w.cols);
  if (w.dtype != ESP_F32 && w.dtype != ESP_F16 && w.dtype != ESP_BF16 && w.dtype != ESP_I8 &&
      w.dtype != ESP_U8) {
    return fail(ESP_UNSUPPORTED, "%s: dtype=%d, expected F32, F16, BF16, I8 or U8", w.op, w.dtype);
  }
  return ESP_OK;
}

esp_status check_sparse_addresses(const sparse_operands& w, bool with_values) {
  ESP_REQUIRE(w.op, w.places != nullptr, "an address", w.places != nullptr);
  ESP_REQUIRE(w.op, w.pattern == ESP_SPARSE_24 || w.row_offsets != nullptr, "an address",
              w.row_offsets != nullptr);
  if (!with_values) return ESP_OK;
  if (sparse_dtype_is_codes(w.dtype)) {
    ESP_REQUIRE(w.op, w.group > 0 && w.cols % w.group == 0, "a divisor of cols", w.group);
    ESP_REQUIRE(w.op, w.scales != nullptr, "an address", w.scales != nullptr);
  } else {
    ESP_REQUIRE(w.op, w.group == 0, "0 without codes", w.group);
    ESP_REQUIRE(w.op, w.scales == nullptr, "NULL without codes", w.scales != nullptr);
  }
  ESP_REQUIRE(w.op, w.values != nullptr || sparse_values_length(w) == 0, "an address",
              w.values != nullptr);
  return ESP_OK;
}

int64_t kept_in_row(const sparse_operands& w, int64_t r) {
  if (w.pattern == ESP_SPARSE_24) return w.cols / 2;
  if (r + 1 < w.rows) return w.row_offsets[r + 1] - w.row_offsets[r];
  const int64_t bytes = sparse_place_bytes(w.cols);
  int64_t kept = 0;
  for (int64_t b = 0; b < bytes; b++) kept += __builtin_popcount(w.places[r * bytes + b]);
  return kept;
}

void sparse_row_starts(const sparse_operands& w, int64_t begin, int64_t end, int64_t* starts) {
  const int32_t bits = sparse_value_bits(w.dtype);
  if (w.pattern == ESP_SPARSE_24) {
    const int64_t bytes = sparse_value_bytes(w.cols / 2, bits);
    for (int64_t r = begin; r < end; r++) starts[r - begin] = r * bytes;
  } else if (bits >= 8) {
    for (int64_t r = begin; r < end; r++) starts[r - begin] = w.row_offsets[r] * (bits / 8);
  } else {  // every row begins a byte
    int64_t bytes = 0;
    for (int64_t r = 0; r < end; r++) {
      if (r >= begin) starts[r - begin] = bytes;
      if (r + 1 < end) bytes += sparse_value_bytes(w.row_offsets[r + 1] - w.row_offsets[r], bits);
    }
  }
}

int64_t sparse_values_length(const sparse_operands& w) {
  int64_t start = 0;
  sparse_row_starts(w, w.rows - 1, w.rows, &start);
  return start + sparse_value_bytes(kept_in_row(w, w.rows - 1), sparse_value_bits(w.dtype));
}

int64_t sparse_kept(const sparse_operands& w) {
  if (w.pattern == ESP_SPARSE_24) return w.rows * (w.cols / 2);
  return w.row_offsets[w.rows - 1] + kept_in_row(w, w.rows - 1);
}

sparse_weights sparse_rows_of(const sparse_operands& w, int64_t begin, int64_t end,
                              const int64_t* starts, int64_t values_length) {
  const uint8_t* const values = static_cast<const uint8_t*>(w.values);
  const int64_t groups = w.group == 0 ? 0 : w.cols / w.group;
  return {w.pattern,
          w.dtype,
          end - begin,
          w.cols,
          w.places + begin * sparse_place_bytes(w.cols),
          starts,
          values,
          values == nullptr ? nullptr : values + values_length,
          w.scales == nullptr ? nullptr : w.scales + begin * groups,
          w.group};
}

}  // namespace esp
