// SPDX-License-Identifier: Apache-2.0
//
// What makes weights follow the dense model: C (U U^T)^-1 for the reversed Cholesky factor U, and
// W + W M for what comes of it.
//
// The quotient is two triangular systems, row by row of C, each by blocks of columns whose finished
// part is one dense product. Tiles of rows have fixed borders and every product runs on one thread:
// the bits do not depend on the number of threads. The product with M goes through cells of 16 x 16
// whose sums know nothing of each other: a row has the same bits in whatever panel it comes.
#include <string.h>

#include "internal.h"
#include "operations.h"

namespace esp {
namespace {

constexpr int64_t tile_rows = 64;
constexpr int64_t block = 64;

// Some rows of the right-hand side, columns in processing order, and the factor.
struct system {
  int64_t n, rows;
  const double* u;  // [n, n]
  double* x;        // [rows, n]

  // Columns of x from start on -= x[:, from : from + depth] . u', where u' is given as a block of
  // U.
  void subtract(int64_t start, int64_t width, int64_t from, int64_t depth, bool transposed) const {
    const double* const b = transposed ? u + start * n + from : u + from * n + start;
    gemm_f64(false, transposed, rows, width, depth, -1.0, x + from, n, b, n, 1.0, x + start, n);
  }

  // X <- X U^-T, from the last column to the first.
  void by_transposed() const {
    for (int64_t start = (n - 1) / block * block; start >= 0; start -= block) {
      const int64_t end = min_of(n, start + block);
      if (end < n) subtract(start, end - start, end, n - end, true);
      for (int64_t r = 0; r < rows; r++) {
        double* const row = x + r * n;
        for (int64_t j = end - 1; j >= start; j--) {
          double sum = row[j];
          for (int64_t i = j + 1; i < end; i++) sum -= row[i] * u[j * n + i];
          row[j] = sum / u[j * n + j];
        }
      }
    }
  }

  // X <- X U^-1, from the first column to the last.
  void by_factor() const {
    for (int64_t start = 0; start < n; start += block) {
      const int64_t end = min_of(n, start + block);
      if (start > 0) subtract(start, end - start, 0, start, false);
      for (int64_t r = 0; r < rows; r++) {
        double* const row = x + r * n;
        for (int64_t j = start; j < end; j++) {
          row[j] /= u[j * n + j];
          for (int64_t i = j + 1; i < end; i++) row[i] -= row[j] * u[j * n + i];
        }
      }
    }
  }
};

// 16 rows of w as [k, 16]; rows past the last are 0.
void rows_to_strip(const float* w, int64_t rows, int64_t k, float* strip) {
  for (int64_t r = 0; r < outer_width; r++) {
    for (int64_t c = 0; c < k; c++) strip[c * outer_width + r] = r < rows ? w[r * k + c] : 0.0f;
  }
}

// 16 columns of m [k, k] as [k, 16]; columns past the last are 0.
void columns_to_strip(const float* m, int64_t columns, int64_t k, float* strip) {
  for (int64_t r = 0; r < k; r++) {
    float* const to = strip + r * outer_width;
    for (int64_t c = 0; c < outer_width; c++) to[c] = c < columns ? m[r * k + c] : 0.0f;
  }
}

}  // namespace
}  // namespace esp

extern "C" esp_status esp_add_product(esp_context* ctx, int64_t rows, int64_t k, const float* w,
                                      const float* m, float* y) noexcept {
  using namespace esp;
  const char* const op = "add_product";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, rows >= 0, "rows >= 0", rows);
  ESP_REQUIRE(op, k >= 0, "k >= 0", k);
  if (rows == 0 || k == 0) return ESP_OK;
  ESP_REQUIRE(op, w != nullptr, "an address", w != nullptr);
  ESP_REQUIRE(op, m != nullptr, "an address", m != nullptr);
  ESP_REQUIRE(op, y != nullptr, "an address", y != nullptr);
  constexpr int64_t most = tile_rows / outer_width;  // strips of rows a tile
  const int64_t strip = k * outer_width;
  outer_f32_kernel* const product = ESP_KERNEL(ctx, outer_f32);
  return parallel_tiles(
      ctx, ceil_div(rows, tile_rows), [&](int64_t t, int32_t worker) -> esp_status {
        float* const left = static_cast<float*>(
            scratch(ctx, worker, (most + 1) * strip * static_cast<int64_t>(sizeof(float))));
        if (left == nullptr) return fail(ESP_OUT_OF_MEMORY, "add_product: no memory for the rows");
        float* const right = left + most * strip;
        const int64_t first = t * tile_rows;
        const int64_t strips = ceil_div(min_of(tile_rows, rows - first), outer_width);
        for (int64_t s = 0; s < strips; s++) {
          const int64_t row = first + s * outer_width;
          rows_to_strip(w + row * k, min_of(outer_width, rows - row), k, left + s * strip);
        }
        for (int64_t column = 0; column < k; column += outer_width) {
          if (cancelled(ctx)) return fail(ESP_CANCELLED, "%s: cancelled", op);
          const int64_t columns = min_of(outer_width, k - column);
          columns_to_strip(m + column, columns, k, right);
          for (int64_t s = 0; s < strips; s++) {
            double cell[outer_width * outer_width] = {};
            product(k, left + s * strip, right, cell, outer_width);
            for (int64_t r = 0; r < min_of(outer_width, rows - first - s * outer_width); r++) {
              const int64_t at = (first + s * outer_width + r) * k + column;
              for (int64_t c = 0; c < columns; c++)
                y[at + c] = static_cast<float>(w[at + c] + cell[r * outer_width + c]);
            }
          }
        }
        return ESP_OK;
      });
}

extern "C" esp_status esp_divide(esp_context* ctx, int64_t n, const double* u, const int32_t* order,
                                 double scale, const double* c, float* x) noexcept {
  using namespace esp;
  const char* const op = "divide";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, n >= 0, "n >= 0", n);
  if (n == 0) return ESP_OK;
  ESP_REQUIRE(op, u != nullptr, "an address", u != nullptr);
  ESP_REQUIRE(op, c != nullptr, "an address", c != nullptr);
  ESP_REQUIRE(op, x != nullptr, "an address", x != nullptr);
  for (int64_t i = 0; order != nullptr && i < n; i++)
    ESP_REQUIRE(op, order[i] >= 0 && order[i] < n, "0 <= order < n", order[i]);
  return parallel_tiles(ctx, ceil_div(n, tile_rows), [&](int64_t t, int32_t worker) -> esp_status {
    const int64_t first = t * tile_rows;
    system s{n, min_of(tile_rows, n - first), u, nullptr};
    s.x = static_cast<double*>(
        scratch(ctx, worker, s.rows * n * static_cast<int64_t>(sizeof(double))));
    if (s.x == nullptr)
      return fail(ESP_OUT_OF_MEMORY, "divide: no memory for %lld rows",
                  static_cast<long long>(s.rows));
    if (cancelled(ctx)) return fail(ESP_CANCELLED, "%s: cancelled", op);
    for (int64_t r = 0; r < s.rows; r++) {
      const double* const from = c + (first + r) * n;
      double* const to = s.x + r * n;
      for (int64_t j = 0; j < n; j++) to[j] = scale * from[order == nullptr ? j : order[j]];
    }
    s.by_transposed();
    s.by_factor();
    for (int64_t r = 0; r < s.rows; r++) {
      const double* const from = s.x + r * n;
      float* const to = x + (first + r) * n;
      for (int64_t j = 0; j < n; j++)
        to[order == nullptr ? j : order[j]] = static_cast<float>(from[j]);
    }
    return ESP_OK;
  });
}
