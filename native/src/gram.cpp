// SPDX-License-Identifier: Apache-2.0
//
// Gram matrix, its like for two matrices, and quadratic form: all are sums over pairs of columns,
// taken strip by strip. A step of rows is first copied into strips of 16 columns, once, and then
// every pair of strips is multiplied, those on or above the diagonal where that is all: each
// operand read where it lies together. Tiles of fixed borders: the bits do not depend on the number
// of threads.
#include <string.h>

#include "internal.h"
#include "operations.h"

namespace esp {
namespace {

constexpr int64_t step = 2 * outer_chunk;      // rows of x in strips at a time
constexpr int64_t tile = 8;                    // strips a tile: 128 columns
constexpr int64_t strip = step * outer_width;  // floats of a strip: 32 KiB
constexpr int64_t cells = outer_width * outer_width;

// Tile number t of the upper triangle, column by column.
void upper_tile(int64_t t, int64_t* i, int64_t* j) {
  int64_t column = 0;
  while ((column + 1) * (column + 2) / 2 <= t) column++;
  *j = column;
  *i = t - column * (column + 1) / 2;
}

// Rows of x, or of x - minus.
struct operand {
  const void* x;  // [rows, k] ld
  int64_t ld;
  esp_dtype dtype;
  const float* minus;  // as x, or null; x is F32 then

  float at(int64_t i) const {
    if (dtype == ESP_F32) {
      const float value = static_cast<const float*>(x)[i];
      return minus == nullptr ? value : value - minus[i];
    }
    const uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(x)[i]) << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
  }
};

// The rows first .. first + depth - 1 of the columns of some strips, the strips together, so that
// every row is read in one piece. Columns past k are 0.
void fill_strips(const operand& from, int64_t first_strip, int64_t last_strip, int64_t k,
                 int64_t first, int64_t depth, float* strips) {
  for (int64_t t = 0; t < depth; t++) {
    for (int64_t s = first_strip; s < last_strip; s++) {
      float* const to = strips + s * strip + t * outer_width;
      const int64_t at = (first + t) * from.ld + s * outer_width;
      const int64_t width = min_of(outer_width, k - s * outer_width);
      if (width == outer_width && from.dtype == ESP_F32) {
        memcpy(to, static_cast<const float*>(from.x) + at, outer_width * sizeof(float));
        for (int64_t c = 0; from.minus != nullptr && c < outer_width; c++)
          to[c] -= from.minus[at + c];
        continue;
      }
      for (int64_t c = 0; c < width; c++) to[c] = from.at(at + c);
      for (int64_t c = width; c < outer_width; c++) to[c] = 0.0f;
    }
  }
}

// Runs act(t, a, b, depth, i, j) for every pair of strips i <= j of every tile t of the triangle
// and every step of rows, strips a and b.
template <class F>
esp_status each_pair(const char* op, esp_context* ctx, int64_t rows, int64_t k, const operand& from,
                     float* strips, const F& act) {
  const int64_t count = ceil_div(k, outer_width);
  const int64_t side = ceil_div(count, tile);
  for (int64_t first = 0; first < rows; first += step) {
    if (cancelled(ctx)) return fail(ESP_CANCELLED, "%s: cancelled", op);
    const int64_t depth = min_of(step, rows - first);
    esp_status status = parallel_tiles(ctx, side, [&](int64_t t, int32_t) -> esp_status {
      fill_strips(from, t * tile, min_of(count, (t + 1) * tile), k, first, depth, strips);
      return ESP_OK;
    });
    if (status != ESP_OK) return status;
    status = parallel_tiles(ctx, side * (side + 1) / 2, [&](int64_t t, int32_t) -> esp_status {
      int64_t top, left;
      upper_tile(t, &top, &left);
      for (int64_t i = top * tile; i < min_of(count, (top + 1) * tile); i++) {
        for (int64_t j = max_of(i, left * tile); j < min_of(count, (left + 1) * tile); j++)
          act(t, strips + i * strip, strips + j * strip, depth, i, j);
      }
      return ESP_OK;
    });
    if (status != ESP_OK) return status;
  }
  return ESP_OK;
}

// h += a^T b for the cell of strips i and j of h [k, k].
void add_cell(outer_f32_kernel* product, int64_t depth, const float* a, const float* b, int64_t k,
              int64_t i, int64_t j, double* h) {
  double* const to = h + i * outer_width * k + j * outer_width;
  const int64_t height = min_of(outer_width, k - i * outer_width);
  const int64_t width = min_of(outer_width, k - j * outer_width);
  if (height == outer_width && width == outer_width) {
    product(depth, a, b, to, k);
    return;
  }
  double edge[cells] = {};
  for (int64_t r = 0; r < height; r++)
    memcpy(edge + r * outer_width, to + r * k, static_cast<size_t>(width) * sizeof(double));
  product(depth, a, b, edge, outer_width);
  for (int64_t r = 0; r < height; r++)
    memcpy(to + r * k, edge + r * outer_width, static_cast<size_t>(width) * sizeof(double));
}

// At most 256 partial sums over rows, added in order.
esp_status sum_of_squares(esp_context* ctx, int64_t rows, int64_t k, const operand& from,
                          double* value) {
  constexpr int64_t tasks = 256;
  double partial[tasks] = {};
  const int64_t share = ceil_div(rows, tasks);
  const esp_status status =
      parallel_tiles(ctx, ceil_div(rows, share), [&](int64_t task, int32_t) -> esp_status {
        double sum = 0.0;
        for (int64_t r = task * share; r < min_of(rows, (task + 1) * share); r++) {
          for (int64_t c = 0; c < k; c++) {
            const double x = static_cast<double>(from.at(r * from.ld + c));
            sum += x * x;
          }
        }
        partial[task] = sum;
        return ESP_OK;
      });
  for (int64_t task = 0; task < tasks; task++) *value += partial[task];
  return status;
}

}  // namespace
}  // namespace esp

extern "C" {

esp_status esp_gram(esp_context* ctx, int64_t rows, int64_t k, esp_dtype dtype, const void* x,
                    int64_t ldx, double* h) noexcept {
  using namespace esp;
  ESP_REQUIRE("gram", ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE("gram", rows >= 0, "tokens >= 0", rows);
  ESP_REQUIRE("gram", k >= 0, "k >= 0", k);
  ESP_REQUIRE("gram", dtype == ESP_F32 || dtype == ESP_BF16, "F32 or BF16", dtype);
  if (rows == 0 || k == 0) return ESP_OK;
  ESP_REQUIRE("gram", ldx >= k, "ldx >= k", ldx);
  ESP_REQUIRE("gram", x != nullptr, "an address", x != nullptr);
  ESP_REQUIRE("gram", h != nullptr, "an address", h != nullptr);
  const int64_t bytes = ceil_div(k, outer_width) * strip * static_cast<int64_t>(sizeof(float));
  float* const strips = static_cast<float*>(scratch(ctx, 0, bytes));
  if (strips == nullptr) return fail(ESP_OUT_OF_MEMORY, "gram: no memory for the rows");
  outer_f32_kernel* const product = ESP_KERNEL(ctx, outer_f32);
  return each_pair("gram", ctx, rows, k, operand{x, ldx, dtype, nullptr}, strips,
                   [&](int64_t, const float* a, const float* b, int64_t depth, int64_t i,
                       int64_t j) { add_cell(product, depth, a, b, k, i, j, h); });
}

esp_status esp_cross_gram(esp_context* ctx, int64_t rows, int64_t k, const float* x,
                          const float* reference, int64_t ld, double* c) noexcept {
  using namespace esp;
  const char* const op = "cross_gram";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, rows >= 0, "tokens >= 0", rows);
  ESP_REQUIRE(op, k >= 0, "k >= 0", k);
  if (rows == 0 || k == 0) return ESP_OK;
  ESP_REQUIRE(op, ld >= k, "ld >= k", ld);
  ESP_REQUIRE(op, x != nullptr, "an address", x != nullptr);
  ESP_REQUIRE(op, reference != nullptr, "an address", reference != nullptr);
  ESP_REQUIRE(op, c != nullptr, "an address", c != nullptr);
  const int64_t count = ceil_div(k, outer_width);
  const int64_t side = ceil_div(count, tile);
  float* const gaps =
      static_cast<float*>(scratch(ctx, 0, 2 * count * strip * static_cast<int64_t>(sizeof(float))));
  if (gaps == nullptr) return fail(ESP_OUT_OF_MEMORY, "cross_gram: no memory for the rows");
  float* const strips = gaps + count * strip;
  outer_f32_kernel* const product = ESP_KERNEL(ctx, outer_f32);
  for (int64_t first = 0; first < rows; first += step) {
    if (cancelled(ctx)) return fail(ESP_CANCELLED, "%s: cancelled", op);
    const int64_t depth = min_of(step, rows - first);
    esp_status status = parallel_tiles(ctx, side, [&](int64_t t, int32_t) -> esp_status {
      const int64_t end = min_of(count, (t + 1) * tile);
      fill_strips(operand{reference, ld, ESP_F32, x}, t * tile, end, k, first, depth, gaps);
      fill_strips(operand{x, ld, ESP_F32, nullptr}, t * tile, end, k, first, depth, strips);
      return ESP_OK;
    });
    if (status != ESP_OK) return status;
    status = parallel_tiles(ctx, side * side, [&](int64_t t, int32_t) -> esp_status {
      const int64_t top = t / side * tile, left = t % side * tile;
      for (int64_t i = top; i < min_of(count, top + tile); i++) {
        for (int64_t j = left; j < min_of(count, left + tile); j++)
          add_cell(product, depth, gaps + i * strip, strips + j * strip, k, i, j, c);
      }
      return ESP_OK;
    });
    if (status != ESP_OK) return status;
  }
  return ESP_OK;
}

// tr(D H D^T) = sum over i, j of H_ij (D^T D)_ij: the Gram matrix of D, of which no cell is kept.
esp_status esp_quadratic_form(esp_context* ctx, int64_t rows, int64_t k, const float* a,
                              const float* b, int64_t ld, const double* h, double* value) noexcept {
  using namespace esp;
  const char* const op = "quadratic_form";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, rows >= 0, "rows >= 0", rows);
  ESP_REQUIRE(op, k >= 0, "k >= 0", k);
  ESP_REQUIRE(op, value != nullptr, "an address", value != nullptr);
  *value = 0.0;
  if (rows == 0 || k == 0) return ESP_OK;
  ESP_REQUIRE(op, ld >= k, "ld >= k", ld);
  ESP_REQUIRE(op, a != nullptr, "an address", a != nullptr);
  if (h == nullptr) return sum_of_squares(ctx, rows, k, operand{a, ld, ESP_F32, b}, value);
  const int64_t floats = ceil_div(k, outer_width) * strip;
  const int64_t side = ceil_div(k, outer_width * tile);
  const int64_t tiles = side * (side + 1) / 2;
  float* const strips = static_cast<float*>(scratch(
      ctx, 0,
      floats * static_cast<int64_t>(sizeof(float)) + tiles * static_cast<int64_t>(sizeof(double))));
  if (strips == nullptr) return fail(ESP_OUT_OF_MEMORY, "quadratic_form: no memory for the rows");
  // One partial sum a tile, added in order at the end.
  double* const partial = reinterpret_cast<double*>(strips + floats);
  for (int64_t t = 0; t < tiles; t++) partial[t] = 0.0;
  outer_f32_kernel* const product = ESP_KERNEL(ctx, outer_f32);
  const esp_status status = each_pair(
      op, ctx, rows, k, operand{a, ld, ESP_F32, b}, strips,
      [&](int64_t t, const float* left, const float* right, int64_t depth, int64_t i, int64_t j) {
        double gram[cells] = {};
        product(depth, left, right, gram, outer_width);
        const int64_t height = min_of(outer_width, k - i * outer_width);
        const int64_t width = min_of(outer_width, k - j * outer_width);
        double sum = 0.0;
        for (int64_t r = 0; r < height; r++) {
          const double* const row = h + (i * outer_width + r) * k + j * outer_width;
          // The upper triangle twice, the diagonal once.
          for (int64_t c = i == j ? r + 1 : 0; c < width; c++)
            sum += 2.0 * row[c] * gram[r * outer_width + c];
          if (i == j) sum += row[r] * gram[r * outer_width + r];
        }
        partial[t] += sum;
      });
  if (status != ESP_OK) return status;
  for (int64_t t = 0; t < tiles; t++) *value += partial[t];
  return ESP_OK;
}

}  // extern "C"
