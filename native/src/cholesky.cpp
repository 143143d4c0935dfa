// SPDX-License-Identifier: Apache-2.0
//
// The reversed Cholesky factor, H = U U^T with U upper, and the Hessian it is taken of.
//
// Columns go from the last to the first in blocks of 128. A block's rows are kept in strips of 16,
// transposed, [column of the block, 16 rows]: strip i holds U[16 i .., block]. Then every step is
// the product of two strips (kernels/reference/outer.cpp):
//   inside the block   U_ic = (H_ic - sum over c' > c of U_ic' U_cc'^T) U_cc^-T,  16 columns c
//   each,
//                      and for i = c the factor of what is left
//   rows above         the same, every strip for itself
//   leading part       H_ij -= U_i U_j^T over the whole block
// Only 16 x 16 triangles are factored and inverted column by column. Borders are fixed: the bits do
// not depend on the number of threads.
#include <math.h>
#include <string.h>

#include "internal.h"
#include "operations.h"

namespace esp {
namespace {

constexpr int64_t width = outer_width;
constexpr int64_t cells = width * width;
constexpr int64_t block = 128;            // columns
constexpr int64_t parts = block / width;  // strips a block
constexpr int64_t strip = block * width;  // doubles: 16 KiB
constexpr int64_t tile = 8;               // strips a tile of the leading part

// t[c, r] = U[r, c], r <= c, of a 16 x 16 matrix given the same way; zeros for r > c. Returns the
// first bad pivot, -1 when all are positive.
int64_t factor_cell(double* t) {
  for (int64_t j = width - 1; j >= 0; j--) {
    const double pivot = t[j * width + j];
    if (!(pivot > 0.0) || pivot > 1.7976931348623157e308) return j;
    const double root = sqrt(pivot);
    t[j * width + j] = root;
    for (int64_t r = 0; r < j; r++) t[j * width + r] /= root;
    for (int64_t r = j + 1; r < width; r++) t[j * width + r] = 0.0;
    for (int64_t c = 0; c < j; c++) {
      const double factor = t[j * width + c];
      for (int64_t r = 0; r <= c; r++) t[c * width + r] -= factor * t[j * width + r];
    }
  }
  return -1;
}

// minus[k, c] = -(U^-1)[c, k] of a factored cell, the rest 0.
void invert_cell(const double* t, double* minus) {
  for (int64_t k = 0; k < width; k++) {
    double* const x = minus + k * width;  // column k of the inverse
    for (int64_t c = 0; c < width; c++) x[c] = 0.0;
    x[k] = -1.0 / t[k * width + k];
    for (int64_t i = k - 1; i >= 0; i--) {
      double sum = 0.0;
      for (int64_t p = i + 1; p <= k; p++) sum += t[p * width + i] * x[p];
      x[i] = -sum / t[i * width + i];
    }
  }
}

// One block of columns, [start, start + count), `wide` strips across.
struct columns {
  int64_t n;
  double* h;         // [n, n]
  double* strips;    // [strips of n, block, width]
  double* inverses;  // [parts, width, width]
  int64_t start, count, wide;
  outer_f64_kernel* take;

  double* at(int64_t i) const { return strips + i * strip; }
  double* diagonal(int64_t part) const { return at(start / width + part); }

  // Rows past n and columns past the block become 0.
  void load(int64_t i) const {
    double* const t = at(i);
    const int64_t rows = min_of(width, n - i * width);
    if (rows < width || count < wide * width) memset(t, 0, strip * sizeof(double));
    for (int64_t r = 0; r < rows; r++) {
      const double* const from = h + (i * width + r) * n + start;
      for (int64_t c = 0; c < count; c++) t[c * width + r] = from[c];
    }
  }

  // Entries below the diagonal of h are left alone.
  void store(int64_t i) const {
    const double* const t = at(i);
    for (int64_t r = 0; r < min_of(width, n - i * width); r++) {
      const int64_t row = i * width + r;
      for (int64_t c = max_of(0, row - start); c < count; c++)
        h[row * n + start + c] = t[c * width + r];
    }
  }

  // Strip i, 16 columns of part c: those of the parts after it are finished.
  void solve(int64_t i, int64_t c) const {
    double* const cell = at(i) + c * cells;
    take((wide - 1 - c) * width, diagonal(c) + (c + 1) * cells, cell + cells, cell, width);
    double product[cells] = {};
    take(width, inverses + c * cells, cell, product, width);
    memcpy(cell, product, sizeof product);
  }

  // Returns the column whose pivot is bad, -1 when all are good.
  int64_t factor_diagonal() const {
    for (int64_t part = wide - 1; part >= 0; part--) {
      const int64_t i = start / width + part;
      load(i);
      for (int64_t c = wide - 1; c > part; c--) solve(i, c);
      double* const cell = at(i) + part * cells;
      take((wide - 1 - part) * width, cell + cells, cell + cells, cell, width);
      for (int64_t r = n - i * width; r < width; r++) cell[r * width + r] = 1.0;
      const int64_t bad = factor_cell(cell);
      if (bad >= 0) return i * width + bad;
      invert_cell(cell, inverses + part * cells);
      store(i);
    }
    return -1;
  }
};

}  // namespace
}  // namespace esp

extern "C" {

esp_status esp_cholesky_reversed(esp_context* ctx, int64_t n, double* h, int64_t* pivot) noexcept {
  using namespace esp;
  const char* const op = "cholesky_reversed";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, n >= 0, "n >= 0", n);
  ESP_REQUIRE(op, pivot != nullptr, "an address", pivot != nullptr);
  *pivot = -1;
  if (n == 0) return ESP_OK;
  ESP_REQUIRE(op, h != nullptr, "an address", h != nullptr);
  const int64_t doubles = ceil_div(n, width) * strip;
  double* const strips = static_cast<double*>(
      scratch(ctx, 0, (doubles + parts * cells) * static_cast<int64_t>(sizeof(double))));
  if (strips == nullptr) return fail(ESP_OUT_OF_MEMORY, "cholesky_reversed: no memory for a block");
  for (int64_t b = ceil_div(n, block) - 1; b >= 0; b--) {
    if (cancelled(ctx)) return fail(ESP_CANCELLED, "%s: cancelled", op);
    const int64_t count = min_of(block, n - b * block);
    const columns part{n,
                       h,
                       strips,
                       strips + doubles,
                       b * block,
                       count,
                       ceil_div(count, width),
                       ESP_KERNEL(ctx, outer_f64)};
    const int64_t bad = part.factor_diagonal();
    if (bad >= 0) {
      *pivot = bad;
      return fail(ESP_NUMERICAL,
                  "cholesky_reversed: pivot=%lld, expected a positive definite matrix",
                  static_cast<long long>(*pivot));
    }
    const int64_t side = b;  // tiles of 8 strips: as wide as a block
    esp_status status = parallel_tiles(ctx, side, [&](int64_t t, int32_t) -> esp_status {
      for (int64_t i = t * tile; i < (t + 1) * tile; i++) {
        part.load(i);
        for (int64_t c = part.wide - 1; c >= 0; c--) part.solve(i, c);
        part.store(i);
      }
      return ESP_OK;
    });
    if (status != ESP_OK) return status;
    status = parallel_tiles(ctx, side * side, [&](int64_t t, int32_t) -> esp_status {
      const int64_t top = t / side, left = t % side;
      for (int64_t i = top * tile; left >= top && i < (top + 1) * tile; i++) {
        for (int64_t j = max_of(i, left * tile); j < (left + 1) * tile; j++)
          part.take(part.wide * width, part.at(i), part.at(j), h + i * width * n + j * width, n);
      }
      return ESP_OK;
    });
    if (status != ESP_OK) return status;
  }
  // Below the cells of the diagonal nothing was written: h may be memory whose pages there do not
  // exist yet.
  for (int64_t r = 0; r < n; r++)
    memset(h + r * n + r / width * width, 0, static_cast<size_t>(r % width) * sizeof(double));
  return ESP_OK;
}

esp_status esp_hessian(esp_context* ctx, int64_t n, int64_t first, int64_t rows, const double* gram,
                       int64_t ld, double scale, const int32_t* order, const double* diagonal,
                       double* h) noexcept {
  using namespace esp;
  const char* const op = "hessian";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, n >= 0, "n >= 0", n);
  ESP_REQUIRE(op, first >= 0 && rows >= 0 && first <= n - rows, "rows of n", first);
  if (rows == 0) return ESP_OK;
  ESP_REQUIRE(op, ld >= n - first, "ld >= n - first", ld);
  ESP_REQUIRE(op, gram != nullptr, "an address", gram != nullptr);
  ESP_REQUIRE(op, diagonal != nullptr, "an address", diagonal != nullptr);
  ESP_REQUIRE(op, h != nullptr, "an address", h != nullptr);
  int32_t* place = nullptr;  // of every channel in the order
  if (order != nullptr) {
    place = static_cast<int32_t*>(scratch(ctx, 0, n * static_cast<int64_t>(sizeof(int32_t))));
    if (place == nullptr) return fail(ESP_OUT_OF_MEMORY, "hessian: no memory for the order");
    for (int64_t i = 0; i < n; i++) place[i] = -1;
    for (int64_t i = 0; i < n; i++) {
      ESP_REQUIRE(op, order[i] >= 0 && order[i] < n, "0 <= order < n", order[i]);
      ESP_REQUIRE(op, place[order[i]] < 0, "every channel once", order[i]);
      place[order[i]] = static_cast<int32_t>(i);
    }
  }
  return parallel_tiles(ctx, ceil_div(rows, width), [&](int64_t t, int32_t) -> esp_status {
    for (int64_t r = first + t * width; r < first + min_of(rows, (t + 1) * width); r++) {
      const double* const from = gram + (r - first) * ld - first;
      if (place == nullptr) {
        for (int64_t c = r + 1; c < n; c++) h[r * n + c] = scale * from[c];
        h[r * n + r] = diagonal[r];
        continue;
      }
      const int64_t i = place[r];
      for (int64_t c = r + 1; c < n; c++) {
        const int64_t j = place[c];
        h[min_of(i, j) * n + max_of(i, j)] = scale * from[c];
      }
      h[i * n + i] = diagonal[r];
    }
    return ESP_OK;
  });
}

}  // extern "C"
