// SPDX-License-Identifier: Apache-2.0
//
// Sparse weights: places and values made and undone, products against sums in fp64.
#include <math.h>

#include <algorithm>

#include "harness.h"
#include "layout/sparse.h"

using namespace cases;

namespace {

constexpr double eps = 0x1p-24;

const char* name_of_dtype(esp_dtype dtype) {
  switch (dtype) {
    case ESP_F32:
      return "f32";
    case ESP_F16:
      return "f16";
    case ESP_BF16:
      return "bf16";
    case ESP_I8:
      return "int8";
    default:
      return "int4";
  }
}
constexpr esp_dtype every_dtype[] = {ESP_F32, ESP_F16, ESP_BF16, ESP_I8, ESP_U8};

bool is_codes(esp_dtype dtype) {
  return dtype == ESP_I8 || dtype == ESP_U8;
}
int32_t bits_of(esp_dtype dtype) {
  return dtype == ESP_F32 ? 32 : dtype == ESP_U8 ? 4 : dtype == ESP_I8 ? 8 : 16;
}

// How much is kept: thousandths of all columns at random, or two of every four.
constexpr int32_t two_of_four = -1;

// A sparse matrix written here, not by the library, flush against guard pages: places, row offsets,
// values and scales have no element more than they need.
struct sparse {
  int64_t rows, cols, group;
  esp_sparsity pattern;
  esp_dtype dtype;
  std::vector<uint8_t> mask;   // [rows, cols]
  std::vector<float> numbers;  // [rows, cols]: the stored value or code, 0 where nothing is kept
  int64_t kept, value_bytes;
  buffer<uint8_t> places;
  buffer<int64_t> offsets;
  buffer<uint8_t> values;
  buffer<float> scales;

  sparse(int64_t rows, int64_t cols, int64_t group, int32_t density, esp_dtype dtype, inputs kind,
         uint64_t seed)
      : sparse(rows, cols, group, density == two_of_four ? ESP_SPARSE_24 : ESP_SPARSE_BITMASK,
               dtype, random_mask(rows, cols, density, seed), kind, seed) {}

  sparse(int64_t rows, int64_t cols, int64_t group, esp_sparsity pattern, esp_dtype dtype,
         const std::vector<uint8_t>& which, inputs kind, uint64_t seed)
      : rows(rows),
        cols(cols),
        group(is_codes(dtype) ? group : 0),
        pattern(pattern),
        dtype(dtype),
        mask(which),
        numbers(which.size(), 0.0f),
        kept(std::count_if(which.begin(), which.end(), [](uint8_t m) { return m != 0; })),
        value_bytes(bytes_of(rows, cols, dtype, which)),
        places(rows * ((cols + 7) / 8)),
        offsets(pattern == ESP_SPARSE_24 ? 0 : rows),
        values(value_bytes),
        scales(is_codes(dtype) ? rows * (cols / group) : 0) {
    fill(scales, inputs::uniform, seed + 1, 0.05);
    std::vector<float> kept_values(static_cast<size_t>(std::max<int64_t>(kept, 1)));
    if (is_codes(dtype)) {
      std::vector<int8_t> codes(kept_values.size());
      const int64_t half = 1 << (bits_of(dtype) - 1);
      fill_integers(codes.data(), kept, -half, half - 1, kind, seed + 2);
      std::copy(codes.begin(), codes.end(), kept_values.begin());
    } else {
      fill(kept_values.data(), kept, kind, seed + 2, 0.5);
      std::vector<uint16_t> narrow(kept_values.size());
      if (dtype != ESP_F32) {
        esp_convert_from_f32(context(), kept, dtype, kept_values.data(), narrow.data());
        esp_convert_to_f32(context(), kept, dtype, narrow.data(), kept_values.data());
      }
    }
    write(kept_values);
  }

  static std::vector<uint8_t> random_mask(int64_t rows, int64_t cols, int32_t density,
                                          uint64_t seed) {
    generator g(seed);
    std::vector<uint8_t> m(static_cast<size_t>(rows * cols));
    for (int64_t i = 0; density != two_of_four && i < rows * cols; i++)
      m[static_cast<size_t>(i)] = g.below(1000) < density;
    for (int64_t i = 0; density == two_of_four && i < rows * cols; i += 4) {
      const int64_t first = g.below(4), second = (first + 1 + g.below(3)) % 4;
      m[static_cast<size_t>(i + first)] = m[static_cast<size_t>(i + second)] = 1;
    }
    return m;
  }
  static int64_t bytes_of(int64_t rows, int64_t cols, esp_dtype dtype,
                          const std::vector<uint8_t>& mask) {
    int64_t bytes = 0;
    for (int64_t r = 0; r < rows; r++) {
      int64_t n = 0;
      for (int64_t c = 0; c < cols; c++) n += mask[static_cast<size_t>(r * cols + c)] != 0;
      bytes += (n * bits_of(dtype) + 7) / 8;
    }
    return bytes;
  }

  void write(const std::vector<float>& kept_values) {
    int64_t at = 0, byte = 0;
    for (int64_t r = 0; r < rows; r++) {
      if (pattern == ESP_SPARSE_BITMASK) offsets[r] = at;
      int64_t j = 0;
      for (int64_t c = 0; c < cols; c++) {
        if (mask[static_cast<size_t>(r * cols + c)] == 0) continue;
        uint8_t* const row = places + r * ((cols + 7) / 8);
        if (pattern == ESP_SPARSE_BITMASK) {
          row[c / 8] = static_cast<uint8_t>(row[c / 8] | 1 << (c % 8));
        } else {
          row[j / 4] = static_cast<uint8_t>(row[j / 4] | (c % 4) << (2 * (j % 4)));
        }
        const float value = kept_values[static_cast<size_t>(at++)];
        numbers[static_cast<size_t>(r * cols + c)] = value;
        store(value, byte, j++);
      }
      byte += (j * bits_of(dtype) + 7) / 8;
    }
  }
  void store(float value, int64_t byte, int64_t j) {
    uint8_t* const row = values + byte;
    if (dtype == ESP_F32) {
      memcpy(row + 4 * j, &value, 4);
    } else if (dtype == ESP_I8) {
      row[j] = static_cast<uint8_t>(static_cast<int>(value));
    } else if (dtype == ESP_U8) {
      row[j / 2] =
          static_cast<uint8_t>(row[j / 2] | (static_cast<int>(value) + 8) << (4 * (j % 2)));
    } else {
      uint16_t narrow = 0;
      esp_convert_from_f32(context(), 1, dtype, &value, &narrow);
      memcpy(row + 2 * j, &narrow, 2);
    }
  }

  const int64_t* offsets_or_null() const {
    return pattern == ESP_SPARSE_24 ? nullptr : offsets.data();
  }
  const float* scales_or_null() const { return is_codes(dtype) ? scales.data() : nullptr; }
  double scale(int64_t r, int64_t c) const {
    return is_codes(dtype) ? static_cast<double>(scales[r * (cols / group) + c / group]) : 1.0;
  }
  std::string label() const {
    return format("rows=%lld cols=%lld group=%lld kept=%lld %s %s", static_cast<long long>(rows),
                  static_cast<long long>(cols), static_cast<long long>(group),
                  static_cast<long long>(kept), pattern == ESP_SPARSE_24 ? "2:4" : "bitmask",
                  name_of_dtype(dtype));
  }
};

void check_product(const sparse& w, int64_t m, inputs kind) {
  const int64_t ldx = w.cols + m % 3, ldy = w.rows + m % 2;
  buffer<float> x(m == 0 ? 0 : (m - 1) * ldx + w.cols), bias(w.rows);
  fill(x, kind, 7, 2.0);
  fill(bias, inputs::uniform, 8);
  const float* const b = m % 2 == 1 ? bias.data() : nullptr;
  std::vector<double> y(static_cast<size_t>((m - 1) * ldy + w.rows), 77.0), limit(y.size(), 0.0);
  for (int64_t i = 0; i < m; i++) {
    for (int64_t r = 0; r < w.rows; r++) {
      double sum = b == nullptr ? 0.0 : static_cast<double>(b[r]);
      double size = fabs(sum);
      for (int64_t c = 0; c < w.cols; c++) {
        const double product = w.scale(r, c) *
                               static_cast<double>(w.numbers[static_cast<size_t>(r * w.cols + c)]) *
                               static_cast<double>(x[i * ldx + c]);
        sum += product;
        size += fabs(product);
      }
      const size_t at = static_cast<size_t>(i * ldy + r);
      y[at] = sum;
      // Sums of products in any order; a scale may be multiplied in before or after.
      limit[at] = static_cast<double>(w.cols + 8) * eps * size;
    }
  }
  against_definition<float>(
      "matmul_sparse",
      format("m=%lld %s %s", static_cast<long long>(m), w.label().c_str(), name_of(kind)), y,
      [&](int64_t i) { return limit[static_cast<size_t>(i)]; },
      [&](esp_context* ctx, float* out) {
        for (size_t i = 0; i < y.size(); i++) out[i] = 77.0f;
        return esp_matmul_sparse(ctx, m, w.rows, w.cols, x, ldx, w.pattern, w.dtype, w.places,
                                 w.offsets_or_null(), w.values, w.scales_or_null(), w.group, b, out,
                                 ldy);
      });
}

// The dense matrix, and its codes, from the sparse one.
void check_expand(const sparse& w) {
  const int64_t ldy = w.cols + 3;
  std::vector<double> dense(static_cast<size_t>(w.rows == 0 ? 0 : (w.rows - 1) * ldy + w.cols),
                            77.0);
  std::vector<double> codes;
  for (int64_t r = 0; r < w.rows; r++) {
    for (int64_t c = 0; c < w.cols; c++) {
      const float number = w.numbers[static_cast<size_t>(r * w.cols + c)];
      const float value =
          is_codes(w.dtype) ? w.scales[r * (w.cols / w.group) + c / w.group] * number : number;
      dense[static_cast<size_t>(r * ldy + c)] = static_cast<double>(value);
      codes.push_back(static_cast<double>(number));
    }
  }
  against_definition<float>("sparse_expand", w.label(), dense, within(0.0),
                            [&](esp_context* ctx, float* y) {
                              for (size_t i = 0; i < dense.size(); i++) y[i] = 77.0f;
                              return esp_sparse_expand(ctx, w.rows, w.cols, w.pattern, w.dtype,
                                                       w.places, w.offsets_or_null(), w.values,
                                                       w.scales_or_null(), w.group, y, ldy);
                            });
  if (!is_codes(w.dtype)) return;
  against_definition<int8_t>("sparse_codes", w.label(), codes, within(0.0),
                             [&](esp_context* ctx, int8_t* y) {
                               return esp_sparse_codes(ctx, w.rows, w.cols, w.pattern, w.dtype,
                                                       w.places, w.offsets_or_null(), w.values, y);
                             });
}

template <class T>
std::vector<double> expected_bytes(const buffer<T>& b) {
  const uint8_t* const bytes = reinterpret_cast<const uint8_t*>(b.data());
  std::vector<double> out;
  for (int64_t i = 0; i < b.bytes(); i++) out.push_back(bytes[i]);
  return out;
}

// Places, offsets and values made by the library are those written here.
void check_pack(const sparse& w) {
  const int64_t n = w.rows * w.cols;
  buffer<float> numbers(is_codes(w.dtype) ? 0 : n);
  buffer<int8_t> codes(is_codes(w.dtype) ? n : 0);
  buffer<uint8_t> mask(n);
  for (int64_t i = 0; i < n; i++) {
    const float number = w.numbers[static_cast<size_t>(i)];
    if (is_codes(w.dtype)) codes[i] = static_cast<int8_t>(number);
    if (!is_codes(w.dtype)) numbers[i] = number;
    mask[i] = static_cast<uint8_t>(w.mask[static_cast<size_t>(i)] != 0 ? 1 + i % 255 : 0);
  }
  const void* const dense =
      is_codes(w.dtype) ? static_cast<const void*>(codes.data()) : numbers.data();
  const esp_dtype from = is_codes(w.dtype) ? ESP_I8 : ESP_F32;
  against_definition<uint8_t>(
      "sparse_bits_u8", "places " + w.label(), expected_bytes(w.places), within(0.0),
      [&](esp_context* ctx, uint8_t* places) {
        buffer<int64_t> offsets(w.pattern == ESP_SPARSE_24 ? 0 : w.rows);
        int64_t kept = -1;
        const esp_status status =
            esp_sparse_places(ctx, w.rows, w.cols, w.pattern, from, dense, mask, places,
                              w.pattern == ESP_SPARSE_24 ? nullptr : offsets.data(), &kept);
        expect(kept == w.kept, "%lld kept of %lld", static_cast<long long>(kept),
               static_cast<long long>(w.kept));
        expect(memcmp(offsets, w.offsets, static_cast<size_t>(offsets.bytes())) == 0, "offsets");
        return status;
      });
  against_definition<uint8_t>(
      is_codes(w.dtype) ? "sparse_collect_i8" : "sparse_collect_f32", "values " + w.label(),
      expected_bytes(w.values), within(0.0), [&](esp_context* ctx, uint8_t* values) {
        return esp_sparse_pack(ctx, w.rows, w.cols, w.pattern, w.dtype, dense, w.places,
                               w.offsets_or_null(), values);
      });
  int64_t row = 0, kept = 0, bytes = 0;
  expect_status(ESP_OK,
                esp_sparse_check(context(), w.rows, w.cols, w.pattern, w.dtype, w.places,
                                 w.offsets_or_null(), &row, &kept, &bytes),
                "sparse_check");
  expect(row == -1 && kept == w.kept && bytes == w.value_bytes, "check: row %lld kept %lld",
         static_cast<long long>(row), static_cast<long long>(kept));
}

struct shape {
  int64_t rows, cols, group;
};
// Whole bytes, words and vectors of places, one column short, one more; groups that begin inside a
// byte of places (4, 13, 43) and those that begin with one; more than one task.
constexpr shape shapes[] = {{1, 1, 1},     {3, 7, 7},      {4, 8, 8},     {5, 9, 3},
                            {7, 16, 4},    {6, 17, 17},    {3, 31, 31},   {2, 32, 8},
                            {3, 39, 13},   {4, 63, 21},    {5, 64, 32},   {3, 65, 65},
                            {2, 127, 127}, {2, 129, 43},   {33, 352, 32}, {3, 245, 245},
                            {9, 256, 64},  {70, 384, 128}, {2, 1024, 256}};
// The 2:4 pattern needs whole fours; half a byte of places, half a word, a tail of every length.
constexpr shape fours[] = {{1, 4, 4},    {3, 8, 8},     {5, 12, 4},    {4, 16, 16},    {3, 20, 20},
                           {2, 28, 14},  {3, 32, 8},    {4, 36, 12},   {3, 60, 60},    {5, 64, 32},
                           {2, 68, 17},  {3, 124, 124}, {33, 352, 32}, {70, 384, 128}, {2, 1028, 4},
                           {9, 256, 64}, {2, 1024, 256}};

template <class F>
void every_matrix(F f) {
  for (esp_dtype dtype : every_dtype) {
    for (const shape& s : shapes) {
      for (int32_t density : {0, 300, 500, 1000})
        f(sparse(s.rows, s.cols, s.group, density, dtype, inputs::uniform,
                 static_cast<uint64_t>(s.cols + density)));
    }
    for (const shape& s : fours)
      f(sparse(s.rows, s.cols, s.group, two_of_four, dtype, inputs::uniform,
               static_cast<uint64_t>(s.cols)));
  }
}

}  // namespace

CASE(matmul_sparse) {
  every_matrix([](const sparse& w) {
    check_product(w, 1, inputs::uniform);
    check_product(w, 3, inputs::heavy_tailed);
    check_product(w, 8, inputs::uniform);
  });
}

CASE(matmul_sparse_of_many_rows) {
  for (esp_dtype dtype : every_dtype) {
    for (int32_t density : {two_of_four, 100, 500}) {
      const sparse w(150, 132, 33, density, dtype, inputs::uniform, 3);
      for (int64_t m : {2, 4, 5, 6, 7, 9, 33, 97, 530}) check_product(w, m, inputs::uniform);
    }
  }
}

CASE(matmul_sparse_of_every_input) {
  for (esp_dtype dtype : every_dtype) {
    for (inputs kind : every_input) {
      for (int32_t density : {two_of_four, 500})
        check_product(sparse(6, 200, 40, density, dtype, kind, 5), 2, kind);
    }
  }
}

CASE(sparse_expand) {
  every_matrix([](const sparse& w) { check_expand(w); });
}

CASE(sparse_pack) {
  every_matrix([](const sparse& w) { check_pack(w); });
}

// All 256 bytes of a bitmask and all 36 of 2:4 places, in the first, an inner and the last byte of
// a row, whose values end in front of a guard page.
CASE(sparse_knows_every_byte_of_places) {
  for (esp_dtype dtype : every_dtype) {
    for (int64_t bytes : {1, 9}) {
      const int64_t cols = 8 * bytes;
      std::vector<uint8_t> any, halves;
      for (int32_t b = 0; b < 256; b++) {
        bool two = __builtin_popcount(b & 15) == 2 && __builtin_popcount(b >> 4) == 2;
        for (int64_t c = 0; c < cols; c++) {
          const uint8_t bit = static_cast<uint8_t>(b >> (c % 8) & 1);
          any.push_back(bit);
          if (two) halves.push_back(bit);
        }
      }
      const sparse bitmask(256, cols, 8, ESP_SPARSE_BITMASK, dtype, any, inputs::uniform, 21);
      const sparse of_four(36, cols, 8, ESP_SPARSE_24, dtype, halves, inputs::uniform, 22);
      for (const sparse* w : {&bitmask, &of_four}) {
        check_expand(*w);
        check_pack(*w);
        check_product(*w, 1, inputs::uniform);
        check_product(*w, 4, inputs::uniform);
      }
    }
  }
}

CASE(sparse_places_of_nonzero_elements) {
  for (int64_t cols = 1; cols <= 70; cols++) {
    const int64_t rows = 3, n = rows * cols, bytes = (cols + 7) / 8;
    buffer<float> w(n);
    buffer<int8_t> codes(n);
    fill_integers(codes.data(), n, -1, 1, inputs::uniform, static_cast<uint64_t>(cols));
    for (int64_t i = 0; i < n; i++) w[i] = static_cast<float>(codes[i]) * 1e-45f;
    w[0] = -0.0f;
    codes[0] = 0;
    w[n - 1] = NAN;
    codes[n - 1] = -128;
    std::vector<double> expected(static_cast<size_t>(rows * bytes), 0.0);
    for (int64_t r = 0; r < rows; r++) {
      for (int64_t c = 0; c < cols; c++) {
        if (codes[r * cols + c] != 0)
          expected[static_cast<size_t>(r * bytes + c / 8)] += 1 << c % 8;
      }
    }
    for (int from_codes = 0; from_codes < 2; from_codes++) {
      against_definition<uint8_t>(
          from_codes != 0 ? "sparse_bits_u8" : "sparse_bits_f32",
          format("cols=%lld", static_cast<long long>(cols)), expected, within(0.0),
          [&](esp_context* ctx, uint8_t* places) {
            buffer<int64_t> offsets(rows);
            int64_t kept = 0;
            return esp_sparse_places(
                ctx, rows, cols, ESP_SPARSE_BITMASK, from_codes != 0 ? ESP_I8 : ESP_F32,
                from_codes != 0 ? static_cast<const void*>(codes.data()) : w.data(), nullptr,
                places, offsets, &kept);
          });
    }
  }
}

CASE(sparse_places_fill_up_fours) {
  // kept columns of four -> the two places stored
  const struct {
    uint8_t mask, places;
  } fills[] = {{0b0000, 0 | 1 << 2}, {0b0001, 0 | 1 << 2}, {0b0010, 0 | 1 << 2},
               {0b0100, 0 | 2 << 2}, {0b1000, 0 | 3 << 2}, {0b1010, 1 | 3 << 2}};
  for (const auto& f : fills) {
    buffer<uint8_t> mask(12), places(2);
    for (int64_t c = 0; c < 12; c++) mask[c] = static_cast<uint8_t>(f.mask >> (c % 4) & 1);
    int64_t kept = 0;
    expect_status(ESP_OK,
                  esp_sparse_places(context(), 1, 12, ESP_SPARSE_24, ESP_F32, nullptr, mask, places,
                                    nullptr, &kept),
                  "sparse_places");
    expect(places[0] == (f.places | f.places << 4) && places[1] == f.places && kept == 6,
           "mask %d: places %d %d", f.mask, places[0], places[1]);
  }
}

CASE(spmm_f32) {
  const struct {
    int64_t rows, cols, n;
  } sizes[] = {{1, 1, 1},    {3, 63, 7},   {5, 64, 96},    {2, 65, 97},
               {9, 130, 64}, {4, 200, 95}, {300, 70, 193}, {1, 0, 3}};
  for (const auto& s : sizes) {
    for (int32_t density : {0, 100, 500, 1000}) {
      const sparse a(s.rows, s.cols, 1, density, ESP_F32, inputs::heavy_tailed, 9);
      const int64_t ldb = s.n + 3, ldy = s.n + 2;
      buffer<float> b(s.cols == 0 ? 0 : (s.cols - 1) * ldb + s.n);
      fill(b, inputs::uniform, 4);
      std::vector<double> y(static_cast<size_t>((s.rows - 1) * ldy + s.n), 77.0);
      for (int64_t r = 0; r < s.rows; r++) {
        for (int64_t j = 0; j < s.n; j++) {
          float sum = 0.0f;
          for (int64_t c = 0; c < s.cols; c++) {
            if (a.mask[static_cast<size_t>(r * s.cols + c)] != 0)
              sum = fmaf(a.numbers[static_cast<size_t>(r * s.cols + c)], b[c * ldb + j], sum);
          }
          y[static_cast<size_t>(r * ldy + j)] = static_cast<double>(sum);
        }
      }
      against_definition<float>(
          "spmm_f32", format("n=%lld %s", static_cast<long long>(s.n), a.label().c_str()), y,
          within(0.0), [&](esp_context* ctx, float* out) {
            for (size_t i = 0; i < y.size(); i++) out[i] = 77.0f;
            return esp_spmm_f32(ctx, s.rows, s.cols, s.n, a.places, a.offsets,
                                reinterpret_cast<const float*>(a.values.data()), b, ldb, out, ldy);
          });
    }
  }
}

CASE(sparse_check_names_the_first_bad_row) {
  const auto bad_row = [](const sparse& w) {
    int64_t row = -7, kept = 0, bytes = 0;
    expect_status(ESP_OK,
                  esp_sparse_check(context(), w.rows, w.cols, w.pattern, w.dtype, w.places,
                                   w.offsets_or_null(), &row, &kept, &bytes),
                  "sparse_check");
    return row;
  };
  sparse w(5, 12, 4, 500, ESP_U8, inputs::uniform, 31);
  expect(bad_row(w) == -1, "good");
  w.offsets[3]++;
  expect(bad_row(w) == 3, "an offset");
  w.places[2 * 2] ^= 1;
  expect(bad_row(w) == 3, "a flipped bit shows in the next offset");
  w.places[1 * 2 + 1] = static_cast<uint8_t>(w.places[1 * 2 + 1] | 0x10);
  expect(bad_row(w) == 1, "a pad bit");
  sparse f(5, 12, 4, two_of_four, ESP_I8, inputs::uniform, 32);
  expect(bad_row(f) == -1, "good 2:4");
  f.places[2 * 4] = 0x44 | 0x11;
  expect(bad_row(f) == 4, "twice the same place");
  f.places[2 * 3 + 1] = 0xE4;
  expect(bad_row(f) == 3, "places in the pad");
}

CASE(sparse_refuses_bad_arguments) {
  esp_context* const ctx = context();
  buffer<uint8_t> places(2), mask(8);
  buffer<int64_t> offsets(1);
  buffer<float> x(8), y(8), scales(2);
  buffer<int8_t> values(8);
  const auto multiply = [&](int64_t cols, int64_t ldx, esp_sparsity pattern, esp_dtype dtype,
                            const int64_t* o, const float* s, int64_t group) {
    return esp_matmul_sparse(ctx, 1, 1, cols, x, ldx, pattern, dtype, places, o, values, s, group,
                             nullptr, y, 1);
  };
  const char* const op = "matmul_sparse";
  expect_status(ESP_OK, multiply(8, 8, 0, ESP_I8, offsets, scales, 4), op);
  expect_status(ESP_INVALID_ARGUMENT, multiply(8, 7, 0, ESP_I8, offsets, scales, 4), op);
  expect_status(ESP_INVALID_ARGUMENT, multiply(8, 8, 2, ESP_I8, offsets, scales, 4), op);
  expect_status(ESP_INVALID_ARGUMENT, multiply(6, 8, 1, ESP_I8, nullptr, scales, 3), op);
  expect_status(ESP_INVALID_ARGUMENT, multiply(8, 8, 0, ESP_I8, nullptr, scales, 4), op);
  expect_status(ESP_INVALID_ARGUMENT, multiply(8, 8, 0, ESP_I8, offsets, nullptr, 4), op);
  expect_status(ESP_INVALID_ARGUMENT, multiply(8, 8, 0, ESP_I8, offsets, scales, 3), op);
  expect_status(ESP_INVALID_ARGUMENT, multiply(8, 8, 0, ESP_BF16, offsets, scales, 4), op);
  expect_status(ESP_UNSUPPORTED, multiply(8, 8, 0, ESP_F64, offsets, nullptr, 0), op);
  mask[0] = mask[1] = mask[3] = 1;
  int64_t kept = 0;
  expect_status(
      ESP_INVALID_ARGUMENT,
      esp_sparse_places(ctx, 1, 8, ESP_SPARSE_24, ESP_F32, nullptr, mask, places, nullptr, &kept),
      "sparse_places");
  // Without columns the bias alone; without rows nothing.
  scales[0] = 3.0f;
  expect_status(ESP_OK,
                esp_matmul_sparse(ctx, 1, 1, 0, nullptr, 0, 0, ESP_F32, nullptr, nullptr, nullptr,
                                  nullptr, 0, scales, y, 1),
                op);
  expect(y[0] == 3.0f, "y=%g without columns", static_cast<double>(y[0]));
}
