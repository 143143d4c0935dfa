// SPDX-License-Identifier: Apache-2.0
//
// Which weights go: the smallest scores of a row, of a matrix, or of every m neighbours; and what a
// mask and a sum of squares are good for.
//
// A threshold is found digit by digit from histograms of the scores' bit patterns (for numbers that
// are not negative their order is that of the numbers): three passes whatever the number of scores,
// and counts that do not depend on who counted what.
#include "select.h"

#include <string.h>

#include "layout/affine.h"
#include "layout/select.h"
#include "operations.h"

namespace esp {
namespace {

constexpr int32_t digits[] = {20, 10, 0};  // shifts: 11, 10 and 10 bits of 31
constexpr int64_t counters = 2048;
// Pieces that a matrix is counted in; bounds what is kept about each on the stack.
constexpr int64_t most_pieces = 64;

uint32_t key_of(float x, const float* factor, int64_t c) {
  return bits_of(score_of(x, factor, c));
}

struct threshold {
  uint32_t key;  // of the last score that goes
  int64_t ties;  // how many equal to it go
};

// Adds to hist the digit at `shift` of every key that begins as `known` does.
void count_digits(const scored_rows& m, int64_t first, int64_t last, uint32_t known, int32_t level,
                  uint32_t* hist) {
  const int32_t shift = digits[level];
  const int32_t above = level == 0 ? 31 : digits[level - 1];
  const uint32_t low = (1u << (above - shift)) - 1u;
  for (int64_t r = first; r < last; r++) {
    const float* const row = m.x + r * m.ldx;
    for (int64_t c = 0; c < m.cols; c++) {
      const uint32_t key = key_of(row[c], m.factor, c);
      if (key >> above == known) hist[(key >> shift) & low]++;
    }
  }
}

// The threshold of the `count` smallest, count > 0. fill(known, level, hist) counts over all keys.
template <class F>
threshold find(int64_t count, uint32_t* hist, const F& fill) {
  uint32_t known = 0;
  for (int32_t level = 0; level < 3; level++) {
    memset(hist, 0, counters * sizeof *hist);
    fill(known, level, hist);
    int64_t digit = 0;
    while (digit + 1 < counters && count > hist[digit]) count -= hist[digit++];
    const int32_t width = (level == 0 ? 31 : digits[level - 1]) - digits[level];
    known = known << width | static_cast<uint32_t>(digit);
  }
  return {known, count};
}

int64_t count_ties(const scored_rows& m, int64_t first, int64_t last, uint32_t key) {
  int64_t ties = 0;
  for (int64_t r = first; r < last; r++) {
    for (int64_t c = 0; c < m.cols; c++) ties += key_of(m.x[r * m.ldx + c], m.factor, c) == key;
  }
  return ties;
}

void mark(const scored_rows& m, int64_t first, int64_t last, threshold t, uint8_t* kept,
          int64_t ldkept) {
  for (int64_t r = first; r < last; r++) {
    uint8_t* const row = kept + r * ldkept;
    for (int64_t c = 0; c < m.cols; c++) {
      const uint32_t key = key_of(m.x[r * m.ldx + c], m.factor, c);
      const int32_t tie = key == t.key;
      row[c] = static_cast<uint8_t>((key > t.key) | (tie & (t.ties <= 0)));
      t.ties -= tie;
    }
  }
}

void keep_all(const scored_rows& m, uint8_t* kept, int64_t ldkept) {
  for (int64_t r = 0; r < m.rows; r++) memset(kept + r * ldkept, 1, static_cast<size_t>(m.cols));
}

}  // namespace

esp_status select_smallest(esp_context* ctx, const scored_rows& m, int64_t count, bool all_ties,
                           uint8_t* kept, int64_t ldkept) {
  if (count <= 0) {
    keep_all(m, kept, ldkept);
    return ESP_OK;
  }
  const int64_t height = ceil_div(m.rows, most_pieces), pieces = ceil_div(m.rows, height);
  const auto each = [&](const auto& act) {
    return parallel_tiles(ctx, pieces, [&](int64_t p, int32_t) -> esp_status {
      act(p, p * height, min_of(m.rows, (p + 1) * height));
      return ESP_OK;
    });
  };
  uint32_t hist[counters];
  const threshold t = find(count, hist, [&](uint32_t known, int32_t level, uint32_t* all) {
    each([&](int64_t, int64_t first, int64_t last) {
      uint32_t mine[counters] = {};
      count_digits(m, first, last, known, level, mine);
      for (int64_t i = 0; i < counters; i++) {
        if (mine[i] != 0) __atomic_fetch_add(all + i, mine[i], __ATOMIC_RELAXED);
      }
    });
  });
  int64_t ties[most_pieces] = {};
  each(
      [&](int64_t p, int64_t first, int64_t last) { ties[p] = count_ties(m, first, last, t.key); });
  int64_t left = all_ties ? m.rows * m.cols : t.ties;
  for (int64_t p = 0; p < pieces; p++) {
    const int64_t here = ties[p];
    ties[p] = left;
    left -= here;
  }
  return each([&](int64_t p, int64_t first, int64_t last) {
    mark(m, first, last, {t.key, ties[p]}, kept, ldkept);
  });
}

}  // namespace esp

extern "C" esp_status esp_select_smallest(esp_context* ctx, int64_t rows, int64_t cols,
                                          const float* x, const float* factor, int32_t per_row,
                                          int64_t count, int32_t all_ties, uint8_t* kept) noexcept {
  using namespace esp;
  const char* const op = "select_smallest";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, rows >= 0, "rows >= 0", rows);
  ESP_REQUIRE(op, cols >= 0, "cols >= 0", cols);
  ESP_REQUIRE(op, rows * cols < (int64_t{1} << 32), "rows * cols < 2^32", rows * cols);
  ESP_REQUIRE(op, count >= 0 && count <= (per_row ? cols : rows * cols),
              "0 <= count <= what it is taken from", count);
  if (rows == 0 || cols == 0) return ESP_OK;
  ESP_REQUIRE(op, x != nullptr, "an address", x != nullptr);
  ESP_REQUIRE(op, kept != nullptr, "an address", kept != nullptr);
  const scored_rows whole{rows, cols, x, cols, factor};
  if (!per_row) return select_smallest(ctx, whole, count, all_ties != 0, kept, cols);
  return parallel_tiles(ctx, rows, [&](int64_t r, int32_t) -> esp_status {
    const scored_rows row{1, cols, x + r * cols, cols, factor};
    uint8_t* const to = kept + r * cols;
    if (count == 0) {
      keep_all(row, to, cols);
      return ESP_OK;
    }
    uint32_t hist[counters];
    threshold t = find(count, hist, [&](uint32_t known, int32_t level, uint32_t* all) {
      count_digits(row, 0, 1, known, level, all);
    });
    if (all_ties != 0) t.ties = cols;
    mark(row, 0, 1, t, to, cols);
    return ESP_OK;
  });
}

extern "C" esp_status esp_select_nm(esp_context* ctx, int64_t rows, int64_t cols, const float* x,
                                    const float* factor, int32_t n, int32_t m,
                                    uint8_t* kept) noexcept {
  using namespace esp;
  const char* const op = "select_nm";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, rows >= 0, "rows >= 0", rows);
  ESP_REQUIRE(op, cols >= 0, "cols >= 0", cols);
  ESP_REQUIRE(op, m >= 1, "m >= 1", m);
  ESP_REQUIRE(op, n >= 0 && n <= m, "0 <= n <= m", n);
  const int64_t rest = cols % m;
  ESP_REQUIRE(op, rest * n % m == 0, "a rest of the columns that loses a whole number", rest);
  if (rows == 0 || cols == 0) return ESP_OK;
  ESP_REQUIRE(op, x != nullptr, "an address", x != nullptr);
  ESP_REQUIRE(op, kept != nullptr, "an address", kept != nullptr);
  select_nm_kernel* const kernel = ESP_KERNEL(ctx, select_nm);
  const int64_t whole = cols - rest;
  return parallel_tiles(ctx, rows, [&](int64_t r, int32_t) -> esp_status {
    const float* const from = x + r * cols;
    uint8_t* const to = kept + r * cols;
    kernel(whole, from, factor, n, m, to);
    if (rest > 0) {
      select_set(from + whole, factor == nullptr ? nullptr : factor + whole,
                 static_cast<int32_t>(rest * n / m), static_cast<int32_t>(rest), to + whole);
    }
    return ESP_OK;
  });
}

extern "C" esp_status esp_apply_mask(esp_context* ctx, int64_t rows, int64_t cols,
                                     const uint8_t* kept, float* w) noexcept {
  using namespace esp;
  const char* const op = "apply_mask";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, rows >= 0, "rows >= 0", rows);
  ESP_REQUIRE(op, cols >= 0, "cols >= 0", cols);
  if (rows == 0 || cols == 0) return ESP_OK;
  ESP_REQUIRE(op, kept != nullptr, "an address", kept != nullptr);
  ESP_REQUIRE(op, w != nullptr, "an address", w != nullptr);
  return parallel_tiles(ctx, rows, [&](int64_t r, int32_t) -> esp_status {
    for (int64_t c = r * cols; c < (r + 1) * cols; c++) w[c] = kept[c] != 0 ? w[c] : 0.0f;
    return ESP_OK;
  });
}

extern "C" esp_status esp_column_squares(esp_context* ctx, int64_t tokens, int64_t cols,
                                         const float* x, double* sums) noexcept {
  using namespace esp;
  const char* const op = "column_squares";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, tokens >= 0, "tokens >= 0", tokens);
  ESP_REQUIRE(op, cols >= 0, "cols >= 0", cols);
  if (tokens == 0 || cols == 0) return ESP_OK;
  ESP_REQUIRE(op, x != nullptr, "an address", x != nullptr);
  ESP_REQUIRE(op, sums != nullptr, "an address", sums != nullptr);
  column_squares_kernel* const kernel = ESP_KERNEL(ctx, column_squares);
  constexpr int64_t width = 512;  // columns a task: 4 KiB of sums
  return parallel_tiles(ctx, ceil_div(cols, width), [&](int64_t t, int32_t) -> esp_status {
    const int64_t first = t * width;
    kernel(tokens, min_of(width, cols - first), x + first, cols, sums + first);
    return ESP_OK;
  });
}
