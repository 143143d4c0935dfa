// SPDX-License-Identifier: Apache-2.0
//
// The fp64 matrices of the solvers: Gram matrix, quadratic form, reversed Cholesky factor. Tiles of
// fixed borders over single-threaded products, so that the bits do not depend on the number of
// threads.
#include <math.h>
#include <string.h>

#include "internal.h"

namespace esp {
namespace {

constexpr int64_t tile = 128;    // columns of a tile: 128 * 128 * 8 = 128 KiB
constexpr int64_t tokens = 256;  // rows of x widened at a time: two panels of 256 KiB

// Tile number t of the upper triangle, row by row from the last row: (last, last), (last - 1,
// last - 1), (last - 1, last), ... so that t does not depend on how many rows there are.
void upper_tile(int64_t t, int64_t count, int64_t* i, int64_t* j) {
  int64_t row = static_cast<int64_t>((sqrt(8.0 * static_cast<double>(t) + 1.0) - 1.0) / 2.0);
  while (row * (row + 1) / 2 > t) row--;
  while ((row + 1) * (row + 2) / 2 <= t) row++;
  *i = count - 1 - row;
  *j = *i + (t - row * (row + 1) / 2);
}

// Pairs, spelt out: left to itself GCC takes four at a time through the stack, at half the speed.
void widen(int64_t rows, int64_t cols, const float* x, int64_t ldx, double* y) {
  typedef float pair __attribute__((vector_size(8)));
  typedef double wide __attribute__((vector_size(16)));
  for (int64_t r = 0; r < rows; r++) {
    int64_t c = 0;
    for (; c + 2 <= cols; c += 2) {
      pair from;
      memcpy(&from, x + r * ldx + c, sizeof from);
      const wide to = __builtin_convertvector(from, wide);
      memcpy(y + r * cols + c, &to, sizeof to);
    }
    if (c < cols) y[r * cols + c] = static_cast<double>(x[r * ldx + c]);
  }
}

// The tile below the diagonal from the one above, eight rows at a time: a whole cache line a store.
void mirror_tile(int64_t i, int64_t j, int64_t k, double* h) {
  const int64_t end = min_of(k, (i + 1) * tile);
  for (int64_t first = i * tile; first < end; first += 8) {
    for (int64_t c = max_of(first + 1, j * tile); c < min_of(k, (j + 1) * tile); c++) {
      for (int64_t r = first; r < min_of(min_of(end, first + 8), c); r++)
        h[c * k + r] = h[r * k + c];
    }
  }
}

// Column by column from the last: U[j, j] = sqrt(h_jj), U[i, j] = h_ij / U_jj, and the leading part
// loses the outer product. Only the upper triangle is read and written. Returns the index of the
// first bad pivot, -1 when all are positive.
int64_t factor_block(int64_t n, double* h, int64_t ld) {
  for (int64_t j = n - 1; j >= 0; j--) {
    const double pivot = h[j * ld + j];
    if (!(pivot > 0.0) || pivot > 1.7976931348623157e308) return j;
    const double root = sqrt(pivot);
    h[j * ld + j] = root;
    for (int64_t i = 0; i < j; i++) h[i * ld + j] /= root;
    for (int64_t r = 0; r < j; r++) {
      const double factor = h[r * ld + j];
      for (int64_t c = r; c < j; c++) h[r * ld + c] -= factor * h[c * ld + j];
    }
  }
  return -1;
}

// transposed[l, i] (ld) = (U^-1)[i, l] of the upper triangular u, the rest 0: X U = I row by row.
void invert_transposed(int64_t n, const double* u, int64_t ldu, double* transposed, int64_t ld) {
  for (int64_t l = 0; l < n; l++) {
    for (int64_t i = 0; i < n; i++) transposed[l * ld + i] = 0.0;
    transposed[l * ld + l] = 1.0 / u[l * ldu + l];
    for (int64_t i = l - 1; i >= 0; i--) {
      double sum = 0.0;
      for (int64_t p = i + 1; p <= l; p++) sum += u[i * ldu + p] * transposed[l * ld + p];
      transposed[l * ld + i] = -sum / u[i * ldu + i];
    }
  }
}

}  // namespace
}  // namespace esp

extern "C" {

esp_status esp_gram(esp_context* ctx, int64_t rows, int64_t k, const float* x, int64_t ldx,
                    double* h) noexcept {
  using namespace esp;
  ESP_REQUIRE("gram", ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE("gram", rows >= 0, "tokens >= 0", rows);
  ESP_REQUIRE("gram", k >= 0, "k >= 0", k);
  if (rows == 0 || k == 0) return ESP_OK;
  ESP_REQUIRE("gram", ldx >= k, "ldx >= k", ldx);
  ESP_REQUIRE("gram", x != nullptr, "an address", x != nullptr);
  ESP_REQUIRE("gram", h != nullptr, "an address", h != nullptr);
  const int64_t count = ceil_div(k, tile);
  const int64_t pairs = count * (count + 1) / 2;
  return parallel_tiles(ctx, pairs, [&](int64_t t, int32_t worker) -> esp_status {
    int64_t i, j;
    upper_tile(t, count, &i, &j);
    const int64_t height = min_of(tile, k - i * tile), width = min_of(tile, k - j * tile);
    double* left = static_cast<double*>(
        scratch(ctx, worker,
                2 * tokens * tile * static_cast<int64_t>(sizeof(double))));  // [tokens, height]
    if (left == nullptr) return fail(ESP_OUT_OF_MEMORY, "gram: no memory for a panel");
    double* right = i == j ? left : left + tokens * tile;  // [tokens, width]
    for (int64_t first = 0; first < rows; first += tokens) {
      const int64_t depth = min_of(tokens, rows - first);
      widen(depth, height, x + first * ldx + i * tile, ldx, left);
      if (i != j) widen(depth, width, x + first * ldx + j * tile, ldx, right);
      gemm_f64(true, false, height, width, depth, 1.0, left, height, right, width, 1.0,
               h + i * tile * k + j * tile, k);
    }
    mirror_tile(i, j, k, h);
    return ESP_OK;
  });
}

esp_status esp_quadratic_form(esp_context* ctx, int64_t rows, int64_t k, const float* d,
                              int64_t ldd, const double* h, double* value) noexcept {
  using namespace esp;
  const char* const op = "quadratic_form";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, rows >= 0, "rows >= 0", rows);
  ESP_REQUIRE(op, k >= 0, "k >= 0", k);
  ESP_REQUIRE(op, value != nullptr, "an address", value != nullptr);
  *value = 0.0;
  if (rows == 0 || k == 0) return ESP_OK;
  ESP_REQUIRE(op, ldd >= k, "ldd >= k", ldd);
  ESP_REQUIRE(op, d != nullptr, "an address", d != nullptr);
  ESP_REQUIRE(op, h != nullptr, "an address", h != nullptr);
  // At most 256 partial sums, added in order at the end; a task takes its rows in steps of 64.
  constexpr int64_t tasks = 256, step = 64;
  double partial[tasks] = {};
  const int64_t share = ceil_div(ceil_div(rows, tasks), step) * step;
  const esp_status status =
      parallel_tiles(ctx, ceil_div(rows, share), [&](int64_t task, int32_t worker) -> esp_status {
        const int64_t bytes = step * (k + tile) * static_cast<int64_t>(sizeof(double));
        double* wide = static_cast<double*>(scratch(ctx, worker, bytes));  // [step, k]
        if (wide == nullptr) return fail(ESP_OUT_OF_MEMORY, "quadratic_form: no memory for rows");
        double* product = wide + step * k;  // [step, tile]
        double sum = 0.0;
        const int64_t end = min_of(rows, (task + 1) * share);
        for (int64_t first = task * share; first < end; first += step) {
          const int64_t height = min_of(step, end - first);
          widen(height, k, d + first * ldd, ldd, wide);
          for (int64_t c = 0; c < k; c += tile) {
            const int64_t width = min_of(tile, k - c);
            gemm_f64(false, false, height, width, k, 1.0, wide, k, h + c, k, 0.0, product, width);
            for (int64_t r = 0; r < height; r++) {
              for (int64_t i = 0; i < width; i++)
                sum += wide[r * k + c + i] * product[r * width + i];
            }
          }
        }
        partial[task] = sum;
        return ESP_OK;
      });
  if (status != ESP_OK) return status;
  for (int64_t task = 0; task < tasks; task++) *value += partial[task];
  return ESP_OK;
}

// From the last block of columns to the first: factor the diagonal block, divide the panel above
// it, take its outer product from what is left above and to the left. The strict lower triangle is
// free meanwhile: the inverse of a diagonal block waits there for the panel.
esp_status esp_cholesky_reversed(esp_context* ctx, int64_t n, double* h, int64_t* pivot) noexcept {
  using namespace esp;
  const char* const op = "cholesky_reversed";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, n >= 0, "n >= 0", n);
  ESP_REQUIRE(op, pivot != nullptr, "an address", pivot != nullptr);
  *pivot = -1;
  if (n == 0) return ESP_OK;
  ESP_REQUIRE(op, h != nullptr, "an address", h != nullptr);
  for (int64_t block = ceil_div(n, tile) - 1; block >= 0; block--) {
    const int64_t start = block * tile;
    const int64_t width = min_of(tile, n - start);
    double* diagonal = h + start * n + start;  // [width, width] n
    const int64_t bad = factor_block(width, diagonal, n);
    if (bad >= 0) {
      *pivot = start + bad;
      return fail(ESP_NUMERICAL,
                  "cholesky_reversed: pivot=%lld, expected a positive definite matrix",
                  static_cast<long long>(*pivot));
    }
    if (block == 0) break;
    double* inverse = h + start * n;  // [width, width] n, transposed
    invert_transposed(width, diagonal, n, inverse, n);
    esp_status status = parallel_tiles(ctx, block, [&](int64_t i, int32_t worker) -> esp_status {
      const int64_t bytes = tile * width * static_cast<int64_t>(sizeof(double));
      double* copy = static_cast<double*>(scratch(ctx, worker, bytes));  // [tile, width]
      if (copy == nullptr)
        return fail(ESP_OUT_OF_MEMORY, "cholesky_reversed: no memory for a tile");
      double* panel = h + i * tile * n + start;  // [tile, width] n
      for (int64_t r = 0; r < tile; r++) {
        for (int64_t c = 0; c < width; c++) copy[r * width + c] = panel[r * n + c];
      }
      gemm_f64(false, false, tile, width, width, 1.0, copy, width, inverse, n, 0.0, panel, n);
      return ESP_OK;
    });
    if (status != ESP_OK) return status;
    status = parallel_tiles(ctx, block * (block + 1) / 2, [&](int64_t t, int32_t) -> esp_status {
      int64_t i, j;
      upper_tile(t, block, &i, &j);
      gemm_f64(false, true, tile, tile, width, -1.0, h + i * tile * n + start, n,
               h + j * tile * n + start, n, 1.0, h + i * tile * n + j * tile, n);
      return ESP_OK;
    });
    if (status != ESP_OK) return status;
  }
  return parallel_tiles(ctx, ceil_div(n, tile), [&](int64_t block, int32_t) -> esp_status {
    for (int64_t r = block * tile; r < min_of(n, (block + 1) * tile); r++) {
      for (int64_t c = 0; c < r; c++) h[r * n + c] = 0.0;
    }
    return ESP_OK;
  });
}

}  // extern "C"
