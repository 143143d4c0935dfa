// SPDX-License-Identifier: Apache-2.0
//
// Gram matrix, quadratic form and reversed Cholesky factor against long double sums; the same bytes
// for 1, 2 and 3 threads, and for every row of the product under them.
#include <math.h>

#include <algorithm>

#include "harness.h"

using namespace cases;

namespace {

// `call` fills a buffer of doubles; its bytes must not depend on the number of threads.
template <class F>
void same_bytes(const char* what, int64_t count, const F& call, double* result) {
  for (int32_t threads = 1; threads <= 3; threads++) {
    buffer<double> out(count);
    call(context(threads), out.data());
    if (threads == 1) memcpy(result, out.data(), static_cast<size_t>(out.bytes()));
    expect(memcmp(result, out.data(), static_cast<size_t>(out.bytes())) == 0,
           "%s: %d threads give other bytes", what, threads);
  }
}

// h = a a^T / n + damping of a random a: positive definite.
void positive_definite(int64_t n, double* h, uint64_t seed) {
  generator g(seed);
  std::vector<double> a(static_cast<size_t>(n * n));
  for (double& x : a) x = g.uniform(-1, 1);
  for (int64_t i = 0; i < n; i++) {
    for (int64_t j = i; j < n; j++) {
      double sum = i == j ? 0.05 : 0;
      for (int64_t p = 0; p < n; p++)
        sum += a[static_cast<size_t>(i * n + p)] * a[static_cast<size_t>(j * n + p)] /
               static_cast<double>(n);
      h[i * n + j] = h[j * n + i] = sum;
    }
  }
}

}  // namespace

CASE(gram_adds_the_products_of_columns) {
  for (int64_t k : {1, 5, 127, 128, 129, 172, 300}) {
    for (int64_t tokens : {1, 3, 255, 256, 257, 600}) {
      if (k == 300 && tokens == 600) continue;
      const int64_t ld = k + tokens % 3;
      buffer<float> x((tokens - 1) * ld + k);
      fill(x, inputs::heavy_tailed, static_cast<uint64_t>(k));
      buffer<double> h(k * k);
      same_bytes(
          "gram", k * k,
          [&](esp_context* ctx, double* out) {
            for (int64_t i = 0; i < k; i++) out[i * k + i] = 2.5;
            expect_status(ESP_OK, esp_gram(ctx, tokens, k, ESP_F32, x, ld, out), "gram");
          },
          h);
      int64_t wrong = 0;
      for (int64_t i = 0; i < k; i++) {
        for (int64_t j = i; j < k; j++) {
          long double sum = i == j ? 2.5L : 0.0L, size = sum;
          for (int64_t t = 0; t < tokens; t++) {
            const long double product =
                static_cast<long double>(x[t * ld + i]) * static_cast<long double>(x[t * ld + j]);
            sum += product;
            size += fabsl(product);
          }
          // 256 products in fp32, then fp64.
          wrong +=
              !(fabsl(h[i * k + j] - sum) <=
                static_cast<long double>(std::min<int64_t>(tokens, 256) + 1) * 0x1p-24L * size);
        }
      }
      expect(wrong == 0, "k=%lld tokens=%lld: %lld wrong", static_cast<long long>(k),
             static_cast<long long>(tokens), static_cast<long long>(wrong));
    }
  }
}

CASE(gram_of_two_batches_is_gram_of_both) {
  const int64_t k = 130, tokens = 512;
  buffer<float> x(tokens * k);
  fill(x, inputs::uniform, 4);
  buffer<double> once(k * k), twice(k * k);
  expect_status(ESP_OK, esp_gram(context(), tokens, k, ESP_F32, x, k, once), "gram");
  expect_status(ESP_OK, esp_gram(context(), 256, k, ESP_F32, x, k, twice), "gram");
  expect_status(ESP_OK, esp_gram(context(), 256, k, ESP_F32, x + 256 * k, k, twice), "gram");
  expect(memcmp(once.data(), twice.data(), static_cast<size_t>(once.bytes())) == 0,
         "batches of whole panels change the bytes");
}

// Products of bf16 values are exact in fp32, so widening first changes nothing.
CASE(gram_of_bf16_is_gram_of_its_values) {
  for (int64_t k : {1, 17, 144}) {
    const int64_t tokens = 300, ld = k + 3;
    buffer<uint16_t> x((tokens - 1) * ld + k);
    buffer<float> wide(x.size());
    fill(wide, inputs::heavy_tailed, 11);
    for (int64_t i = 0; i < x.size(); i++) {
      uint32_t bits;
      memcpy(&bits, wide.data() + i, sizeof bits);
      x[i] = static_cast<uint16_t>(bits >> 16);
      bits &= 0xffff0000u;
      memcpy(wide.data() + i, &bits, sizeof bits);
    }
    buffer<double> expected(k * k), found(k * k);
    expect_status(ESP_OK, esp_gram(context(), tokens, k, ESP_F32, wide, ld, expected), "gram");
    expect_status(ESP_OK, esp_gram(context(), tokens, k, ESP_BF16, x, ld, found), "gram");
    expect(memcmp(expected.data(), found.data(), static_cast<size_t>(found.bytes())) == 0,
           "k=%lld: bf16 gives other bytes", static_cast<long long>(k));
  }
}

CASE(cross_gram_adds_the_products_with_the_gap) {
  for (int64_t k : {1, 5, 16, 129, 172}) {
    for (int64_t tokens : {1, 255, 513}) {
      const int64_t ld = k + tokens % 3;
      buffer<float> x((tokens - 1) * ld + k), reference((tokens - 1) * ld + k);
      fill(x, inputs::heavy_tailed, static_cast<uint64_t>(k));
      fill(reference, inputs::heavy_tailed, static_cast<uint64_t>(k) + 1);
      buffer<double> c(k * k);
      same_bytes(
          "cross_gram", k * k,
          [&](esp_context* ctx, double* out) {
            for (int64_t i = 0; i < k; i++) out[i * k + (i + 1) % k] = 2.5;
            expect_status(ESP_OK, esp_cross_gram(ctx, tokens, k, x, reference, ld, out),
                          "cross_gram");
          },
          c);
      int64_t wrong = 0;
      for (int64_t i = 0; i < k; i++) {
        for (int64_t j = 0; j < k; j++) {
          long double sum = j == (i + 1) % k ? 2.5L : 0.0L, size = sum;
          for (int64_t t = 0; t < tokens; t++) {
            const float gap = reference[t * ld + i] - x[t * ld + i];
            const long double product =
                static_cast<long double>(gap) * static_cast<long double>(x[t * ld + j]);
            sum += product;
            size += fabsl(product);
          }
          wrong +=
              !(fabsl(c[i * k + j] - sum) <=
                static_cast<long double>(std::min<int64_t>(tokens, 256) + 1) * 0x1p-24L * size);
        }
      }
      expect(wrong == 0, "k=%lld tokens=%lld: %lld wrong", static_cast<long long>(k),
             static_cast<long long>(tokens), static_cast<long long>(wrong));
    }
  }
}

// The quotient times the matrix is the dividend again, in whatever order columns are processed.
CASE(divide_undoes_a_product) {
  for (int64_t n : {1, 5, 63, 64, 65, 130}) {
    for (bool ordered : {false, true}) {
      buffer<double> h(n * n), u(n * n), c(n * n);
      buffer<int32_t> order(n);
      generator g(static_cast<uint64_t>(n));
      positive_definite(n, h, 21);
      for (int64_t i = 0; i < n; i++) order[i] = static_cast<int32_t>((i * 3 + 2) % n);
      if (n % 3 == 0) {
        for (int64_t i = 0; i < n; i++) order[i] = static_cast<int32_t>(n - 1 - i);
      }
      for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < n; j++) {
          u[i * n + j] = ordered ? h[order[i] * n + order[j]] : h[i * n + j];
          c[i * n + j] = g.uniform(-1, 1);
        }
      }
      int64_t pivot = 0;
      expect_status(ESP_OK, esp_cholesky_reversed(context(), n, u, &pivot), "cholesky");
      buffer<float> x(n * n);
      for (int32_t threads = 1; threads <= 3; threads++) {
        buffer<float> again(n * n);
        expect_status(
            ESP_OK,
            esp_divide(context(threads), n, u, ordered ? order.data() : nullptr, 0.5, c, again),
            "divide");
        if (threads == 1) memcpy(x.data(), again.data(), static_cast<size_t>(x.bytes()));
        expect(memcmp(x.data(), again.data(), static_cast<size_t>(x.bytes())) == 0,
               "n=%lld: %d threads give other bytes", static_cast<long long>(n), threads);
      }
      double worst = 0;
      for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < n; j++) {
          double sum = 0, size = 1e-30;
          for (int64_t p = 0; p < n; p++) {
            sum += static_cast<double>(x[i * n + p]) * h[p * n + j];
            size += fabs(static_cast<double>(x[i * n + p]) * h[p * n + j]);
          }
          worst = std::max(worst, fabs(sum - 0.5 * c[i * n + j]) / size);
        }
      }
      // Every entry of x is rounded to fp32 once.
      expect(worst <= 0x1p-23, "n=%lld ordered=%d: off by %g of the sum of sizes",
             static_cast<long long>(n), ordered, worst);
    }
  }
}

CASE(add_product_gives_a_row_its_own_bits) {
  for (int64_t k : {1, 15, 16, 130, 300}) {
    for (int64_t rows : {1, 16, 65, 130}) {
      buffer<float> w(rows * k), m(k * k), y(rows * k);
      fill(w, inputs::heavy_tailed, static_cast<uint64_t>(k));
      fill(m, inputs::uniform, static_cast<uint64_t>(rows));
      for (int32_t threads = 1; threads <= 3; threads++) {
        buffer<float> again(rows * k);
        expect_status(ESP_OK, esp_add_product(context(threads), rows, k, w, m, again), "product");
        if (threads == 1) memcpy(y.data(), again.data(), static_cast<size_t>(y.bytes()));
        expect(memcmp(y.data(), again.data(), static_cast<size_t>(y.bytes())) == 0,
               "%d threads give other bytes", threads);
      }
      const int64_t some = std::min<int64_t>(rows, 5);
      buffer<float> panel(some * k);
      expect_status(ESP_OK, esp_add_product(context(), some, k, w + (rows - some) * k, m, panel),
                    "product");
      expect(memcmp(y.data() + (rows - some) * k, panel.data(),
                    static_cast<size_t>(panel.bytes())) == 0,
             "k=%lld: a panel of %lld rows has other bytes", static_cast<long long>(k),
             static_cast<long long>(some));
      int64_t wrong = 0;
      for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < k; c++) {
          double sum = w[r * k + c], size = fabs(sum);
          for (int64_t p = 0; p < k; p++) {
            const double product =
                static_cast<double>(w[r * k + p]) * static_cast<double>(m[p * k + c]);
            sum += product;
            size += fabs(product);
          }
          const auto depth = static_cast<double>(std::min<int64_t>(k, 256) + 2);
          wrong += !(fabs(y[r * k + c] - sum) <= depth * 0x1p-24 * size);
        }
      }
      expect(wrong == 0, "k=%lld rows=%lld: %lld wrong", static_cast<long long>(k),
             static_cast<long long>(rows), static_cast<long long>(wrong));
    }
  }
}

CASE(outer_products_give_the_bits_of_the_reference) {
  for (int64_t k : {1, 16, 40, 130}) {
    for (int64_t tokens : {1, 255, 257, 520}) {
      buffer<float> x(tokens * k);
      fill(x, inputs::heavy_tailed, 12);
      against_reference<double>(
          "outer_f32",
          format("k=%lld tokens=%lld", static_cast<long long>(k), static_cast<long long>(tokens)),
          k * k, {}, [&](esp_context* ctx, double* h) {
            for (int64_t i = 0; i < k * k; i++) h[i] = 0.25;
            return esp_gram(ctx, tokens, k, ESP_F32, x, k, h);
          });
    }
  }
  for (int64_t n : {1, 16, 129, 290}) {
    buffer<double> h(n * n);
    positive_definite(n, h, 13);
    against_reference<double>("outer_f64", format("n=%lld", static_cast<long long>(n)), n * n, {},
                              [&](esp_context* ctx, double* u) {
                                int64_t pivot = 0;
                                memcpy(u, h.data(), static_cast<size_t>(h.bytes()));
                                return esp_cholesky_reversed(ctx, n, u, &pivot);
                              });
  }
}

CASE(hessian_reorders_the_upper_triangle) {
  for (int64_t n : {1, 3, 16, 37}) {
    buffer<double> gram(n * n), diagonal(n);
    buffer<int32_t> order(n);
    generator g(14);
    for (int64_t i = 0; i < n; i++) {
      order[i] = static_cast<int32_t>(i);
      diagonal[i] = g.uniform(1, 2);
      for (int64_t j = 0; j < n; j++)
        gram[i * n + j] = j >= i ? g.uniform(-1, 1) : static_cast<double>(NAN);
    }
    for (int64_t i = n - 1; i > 0; i--) std::swap(order[i], order[g.below(i + 1)]);
    for (const int32_t* by :
         {static_cast<const int32_t*>(nullptr), const_cast<const int32_t*>(order.data())}) {
      std::vector<double> h(static_cast<size_t>(n * n));
      same_bytes(
          "hessian", n * n,
          [&](esp_context* ctx, double* out) {
            expect_status(ESP_OK, esp_hessian(ctx, n, 0, n, gram, n, 0.5, by, diagonal, out),
                          "hessian");
          },
          h.data());
      // The same from bands, each of which holds nothing to the left of its first row.
      std::vector<double> banded(static_cast<size_t>(n * n));
      constexpr int64_t height = 7;
      for (int64_t first = 0; first < n; first += height) {
        const int64_t rows = std::min(height, n - first), ld = n - first;
        buffer<double> band(rows * ld);
        for (int64_t i = 0; i < rows; i++)
          memcpy(band + i * ld, gram + (first + i) * n + first,
                 static_cast<size_t>(ld) * sizeof(double));
        expect_status(
            ESP_OK,
            esp_hessian(context(), n, first, rows, band, ld, 0.5, by, diagonal, banded.data()),
            "hessian");
      }
      int64_t wrong = 0;
      for (int64_t r = 0; r < n; r++) {
        for (int64_t c = r; c < n; c++) {
          const int64_t a = by == nullptr ? r : by[r], b = by == nullptr ? c : by[c];
          const double want =
              r == c ? diagonal[a] : 0.5 * gram[std::min(a, b) * n + std::max(a, b)];
          wrong += h[static_cast<size_t>(r * n + c)] != want;
          wrong += banded[static_cast<size_t>(r * n + c)] != want;
        }
      }
      expect(wrong == 0, "n=%lld: %lld wrong", static_cast<long long>(n),
             static_cast<long long>(wrong));
    }
  }
}

CASE(quadratic_form_is_a_trace) {
  for (int64_t rows : {1, 2, 63, 64, 65, 130}) {
    for (int64_t k : {1, 7, 128, 129, 260}) {
      const int64_t ld = k + rows % 2;
      buffer<float> d((rows - 1) * ld + k);
      buffer<double> h(k * k);
      fill(d, inputs::heavy_tailed, 5);
      positive_definite(k, h, 6);
      double value = 0;
      same_bytes(
          "quadratic_form", 1,
          [&](esp_context* ctx, double* out) {
            expect_status(ESP_OK, esp_quadratic_form(ctx, rows, k, d, nullptr, ld, h, out),
                          "quadratic_form");
          },
          &value);
      long double sum = 0, size = 0;
      for (int64_t r = 0; r < rows; r++) {
        for (int64_t i = 0; i < k; i++) {
          for (int64_t j = 0; j < k; j++) {
            const long double term = static_cast<long double>(d[r * ld + i]) *
                                     static_cast<long double>(h[i * k + j]) *
                                     static_cast<long double>(d[r * ld + j]);
            sum += term;
            size += fabsl(term);
          }
        }
      }
      expect(fabsl(value - sum) <= static_cast<long double>(rows + 1) * 0x1p-24L * size,
             "rows=%lld k=%lld: %.17g", static_cast<long long>(rows), static_cast<long long>(k),
             value);
    }
  }
}

CASE(quadratic_form_takes_a_difference_and_the_identity) {
  for (int64_t rows : {1, 3, 257, 600}) {
    for (int64_t k : {1, 16, 33}) {
      buffer<float> a(rows * k), b(a.size()), d(a.size());
      buffer<double> h(k * k);
      fill(a, inputs::uniform, 15);
      fill(b, inputs::uniform, 16);
      positive_definite(k, h, 17);
      double squares = 0, direct = 0, difference = 0, plain = 0;
      for (int64_t i = 0; i < d.size(); i++) {
        d[i] = a[i] - b[i];
        squares += static_cast<double>(d[i]) * static_cast<double>(d[i]);
      }
      expect_status(ESP_OK, esp_quadratic_form(context(), rows, k, d, nullptr, k, h, &direct),
                    "quadratic_form");
      expect_status(ESP_OK, esp_quadratic_form(context(), rows, k, a, b, k, h, &difference),
                    "quadratic_form");
      same_bytes(
          "quadratic_form", 1,
          [&](esp_context* ctx, double* out) {
            expect_status(ESP_OK, esp_quadratic_form(ctx, rows, k, a, b, k, nullptr, out),
                          "quadratic_form");
          },
          &plain);
      expect(direct == difference, "rows=%lld k=%lld: %.17g, %.17g", static_cast<long long>(rows),
             static_cast<long long>(k), direct, difference);
      expect(fabs(plain - squares) <= 1e-12 * squares, "rows=%lld k=%lld: %.17g, %.17g",
             static_cast<long long>(rows), static_cast<long long>(k), plain, squares);
    }
  }
}

CASE(permuted_columns_come_back) {
  for (int64_t cols : {1, 7, 64}) {
    const int64_t rows = 35;
    buffer<float> x(rows * cols), y(x.size()), z(x.size());
    buffer<int8_t> codes(x.size()), there(x.size()), back(x.size());
    buffer<int32_t> order(cols);
    fill(x, inputs::uniform, 18);
    fill_integers(codes.data(), codes.size(), -128, 127, inputs::uniform, 19);
    for (int64_t i = 0; i < cols; i++) order[i] = static_cast<int32_t>((5 * i + 3) % cols);
    expect_status(ESP_OK, esp_permute_columns(context(3), rows, cols, 4, x, order, 0, y),
                  "permute_columns");
    expect_status(ESP_OK, esp_permute_columns(context(3), rows, cols, 4, y, order, 1, z),
                  "permute_columns");
    expect_status(ESP_OK, esp_permute_columns(context(), rows, cols, 1, codes, order, 0, there),
                  "permute_columns");
    expect_status(ESP_OK, esp_permute_columns(context(), rows, cols, 1, there, order, 1, back),
                  "permute_columns");
    int64_t wrong = 0;
    for (int64_t i = 0; i < x.size(); i++) {
      const int64_t from = i / cols * cols + order[i % cols];
      wrong += y[i] != x[from] || z[i] != x[i] || there[i] != codes[from] || back[i] != codes[i];
    }
    expect(wrong == 0, "cols=%lld: %lld wrong", static_cast<long long>(cols),
           static_cast<long long>(wrong));
    order[0] = static_cast<int32_t>(cols);
    expect_status(ESP_INVALID_ARGUMENT,
                  esp_permute_columns(context(), rows, cols, 4, x, order, 0, y), "permute_columns");
  }
}

CASE(a_cancelled_context_ends_the_long_operations) {
  for (int32_t threads : {1, 3}) {
    esp_context* ctx = nullptr;
    expect_status(ESP_OK, esp_context_create(threads, &ctx), "context_create");
    const int64_t n = 32;
    buffer<float> x(n * n), scales(n);
    buffer<double> h(n * n);
    buffer<int8_t> zeros(n), codes(n * n);
    positive_definite(n, h, 20);
    double value = 0;
    int64_t pivot = 0;
    const auto each = [&](esp_status wanted) {
      expect_status(wanted, esp_quadratic_form(ctx, n, n, x, nullptr, n, h, &value),
                    "quadratic_form");
      expect_status(
          wanted, esp_gptq_solve(ctx, n, n, x, h, 4, 1, n, nullptr, ESP_F32, scales, zeros, codes),
          "gptq_solve");
      expect_status(wanted, esp_cholesky_reversed(ctx, n, h, &pivot), "cholesky_reversed");
      expect_status(wanted, esp_gram(ctx, n, n, ESP_F32, x, n, h), "gram");
    };
    each(ESP_OK);
    esp_context_cancel(ctx);
    positive_definite(n, h, 20);
    each(ESP_CANCELLED);
    esp_context_destroy(ctx);
  }
}

CASE(cholesky_reversed_gives_an_upper_factor) {
  for (int64_t n : {1, 2, 64, 127, 128, 129, 172, 256, 300, 400}) {
    buffer<double> h(n * n), u(n * n);
    positive_definite(n, h, static_cast<uint64_t>(n));
    same_bytes(
        "cholesky_reversed", n * n,
        [&](esp_context* ctx, double* out) {
          int64_t pivot = 0;
          memcpy(out, h.data(), static_cast<size_t>(h.bytes()));
          expect_status(ESP_OK, esp_cholesky_reversed(ctx, n, out, &pivot), "cholesky_reversed");
          expect(pivot == -1, "pivot %lld", static_cast<long long>(pivot));
        },
        u);
    // Backward error of a Cholesky factorization: (n + 1) eps |U| |U|^T, some slack for the inverse
    // of the diagonal blocks.
    int64_t wrong = 0;
    for (int64_t i = 0; i < n; i++) {
      wrong += !(u[i * n + i] > 0);
      for (int64_t j = 0; j < n; j++) {
        long double sum = 0, size = 0;
        for (int64_t p = std::max(i, j); p < n; p++) {
          const long double term =
              static_cast<long double>(u[i * n + p]) * static_cast<long double>(u[j * n + p]);
          sum += term;
          size += fabsl(term);
        }
        wrong += !(fabsl(sum - h[i * n + j]) <=
                   8 * static_cast<long double>(n + 1) * 0x1p-53L * (size + h[i * n + i]));
        const double below = j >= i / 16 * 16 ? 0.0 : h[i * n + j];
        if (j < i) wrong += memcmp(u.data() + i * n + j, &below, sizeof below) != 0;
      }
    }
    expect(wrong == 0, "n=%lld: %lld wrong", static_cast<long long>(n),
           static_cast<long long>(wrong));
  }
}

CASE(cholesky_reversed_names_a_bad_pivot) {
  for (int64_t n : {1, 130, 300}) {
    for (int64_t bad : {int64_t{0}, n / 2, n - 1}) {
      for (double value : {0.0, -1.0, static_cast<double>(NAN), static_cast<double>(INFINITY)}) {
        buffer<double> h(n * n);
        for (int64_t i = 0; i < n; i++) h[i * n + i] = i == bad ? value : 2.0;
        int64_t pivot = -1;
        expect_status(ESP_NUMERICAL, esp_cholesky_reversed(context(), n, h, &pivot),
                      "cholesky_reversed");
        expect(pivot == bad, "n=%lld pivot %lld, expected %lld", static_cast<long long>(n),
               static_cast<long long>(pivot), static_cast<long long>(bad));
      }
    }
  }
}

CASE(linear_algebra_refuses_bad_arguments) {
  buffer<float> x(16);
  buffer<double> h(16);
  double value = 1;
  int64_t pivot = 0;
  expect_status(ESP_INVALID_ARGUMENT, esp_gram(context(), -1, 4, ESP_F32, x, 4, h), "gram");
  expect_status(ESP_INVALID_ARGUMENT, esp_gram(context(), 4, 4, ESP_F32, x, 3, h), "gram");
  expect_status(ESP_INVALID_ARGUMENT, esp_gram(context(), 4, 4, ESP_F32, nullptr, 4, h), "gram");
  expect_status(ESP_INVALID_ARGUMENT, esp_gram(context(), 4, 4, ESP_F16, x, 4, h), "gram");
  const int32_t order[] = {0, 1, 2, 4};
  expect_status(ESP_INVALID_ARGUMENT, esp_hessian(context(), 4, 0, 4, h, 4, 1, order, h, h),
                "hessian");
  expect_status(ESP_INVALID_ARGUMENT, esp_hessian(context(), 4, 2, 3, h, 4, 1, nullptr, h, h),
                "hessian");
  expect_status(ESP_INVALID_ARGUMENT, esp_hessian(context(), 4, 1, 3, h, 2, 1, nullptr, h, h),
                "hessian");
  expect_status(ESP_INVALID_ARGUMENT, esp_hessian(context(), 4, 0, 4, h, 4, 1, nullptr, nullptr, h),
                "hessian");
  expect_status(ESP_INVALID_ARGUMENT, esp_quadratic_form(context(), 4, 4, x, nullptr, 3, h, &value),
                "quadratic_form");
  expect_status(ESP_OK, esp_quadratic_form(context(), 0, 4, x, nullptr, 4, h, &value),
                "quadratic_form");
  expect(value == 0, "no rows: %g", value);
  expect_status(ESP_INVALID_ARGUMENT, esp_cholesky_reversed(context(), -1, h, &pivot),
                "cholesky_reversed");
  expect_status(ESP_INVALID_ARGUMENT, esp_cholesky_reversed(context(), 4, nullptr, &pivot),
                "cholesky_reversed");
  expect_status(ESP_OK, esp_cholesky_reversed(context(), 0, nullptr, &pivot), "cholesky_reversed");
}
