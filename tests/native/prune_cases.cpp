// SPDX-License-Identifier: Apache-2.0
//
// SparseGPT against the textbook: the paper's loop in fp64 over an explicit inverse of H, an error
// spread over all later columns at once, scores sorted. And what must hold whatever the numbers.
#include <math.h>

#include <algorithm>

#include "harness.h"
#include "textbook.h"

using namespace cases;
using namespace textbook_algebra;

namespace {

struct task {
  int64_t rows, cols;
  int32_t drop, of;
  double sparsity;
  int64_t width;
  int32_t preserve, bits, symmetric;
  int64_t group;
  bool fixed;
};

// Rows around a tile of 64, columns around a block of 128; patterns that lie in 16 columns and
// patterns that do not; rests; groups in a block, a group a row, groups given.
constexpr task tasks[] = {
    {1, 1, 0, 0, 0.5, 128, 0, 0, 1, 0, false},      {3, 8, 2, 4, 0, 128, 0, 0, 1, 0, false},
    {5, 17, 0, 0, 0.3, 128, 0, 0, 1, 0, false},     {7, 172, 4, 8, 0, 128, 0, 0, 1, 0, false},
    {64, 130, 2, 4, 0, 128, 0, 0, 1, 0, false},     {65, 160, 0, 0, 0.5, 128, 0, 0, 1, 0, false},
    {70, 260, 0, 0, 0.7, 128, 0, 0, 1, 0, false},   {4, 99, 1, 3, 0, 128, 0, 0, 1, 0, false},
    {6, 200, 10, 20, 0, 128, 0, 0, 1, 0, false},    {3, 258, 32, 64, 0, 128, 0, 0, 1, 0, false},
    {9, 48, 0, 16, 0, 128, 0, 0, 1, 0, false},      {9, 48, 16, 16, 0, 128, 0, 0, 1, 0, false},
    {9, 144, 0, 0, 0.95, 32, 0, 0, 1, 0, false},    {33, 144, 0, 0, 0.4, 128, 1, 0, 1, 0, false},
    {12, 96, 2, 4, 0, 128, 1, 0, 1, 0, false},      {12, 90, 1, 3, 0, 128, 1, 0, 1, 0, false},
    {12, 150, 0, 0, 0, 128, 1, 0, 1, 0, false},     {66, 140, 2, 4, 0, 128, 0, 4, 1, 140, false},
    {66, 140, 0, 0, 0.5, 128, 0, 4, 1, 140, false}, {8, 256, 2, 4, 0, 128, 0, 4, 1, 128, false},
    {8, 256, 0, 0, 0.5, 128, 0, 4, 0, 32, false},   {8, 192, 2, 4, 0, 128, 0, 3, 0, 48, false},
    {8, 160, 3, 5, 0, 128, 0, 8, 1, 20, false},     {10, 160, 0, 0, 0, 128, 1, 4, 0, 32, false},
    {10, 160, 2, 4, 0, 128, 0, 4, 0, 40, true},     {67, 192, 0, 0, 0.6, 128, 1, 5, 1, 64, true},
};

std::string label_of(const task& t) {
  return format("rows=%lld cols=%lld %d:%d sparsity=%g width=%lld preserve=%d bits=%d group=%lld%s",
                static_cast<long long>(t.rows), static_cast<long long>(t.cols), t.drop, t.of,
                t.sparsity, static_cast<long long>(t.width), t.preserve, t.bits,
                static_cast<long long>(t.group), t.fixed ? " fixed" : "");
}

struct instance {
  task t;
  matrix h;
  buffer<float> w;
  buffer<double> u;
  buffer<float> importance;
  buffer<int32_t> fixed_group;
  std::vector<float> scales;
  std::vector<int8_t> zeros;

  explicit instance(const task& t, inputs kind = inputs::uniform, uint64_t seed = 1)
      : t(t),
        h(hessian(t.cols, seed + static_cast<uint64_t>(t.cols))),
        w(t.rows * t.cols),
        u(t.cols * t.cols),
        importance(t.cols),
        fixed_group(t.fixed ? t.cols : 0),
        scales(static_cast<size_t>(t.bits > 0 ? t.rows * (t.cols / t.group) : 0)),
        zeros(scales.size()) {
    fill(w, kind, seed + 9);
    if (t.preserve) {
      generator g(seed + 3);
      for (float& x : w) x = g.below(3) == 0 ? 0.0f : x;
    }
    memcpy(u.data(), h.data(), static_cast<size_t>(u.bytes()));
    int64_t pivot = 0;
    expect_status(ESP_OK, esp_cholesky_reversed(context(), t.cols, u, &pivot), "cholesky_reversed");
    for (int64_t c = 0; c < t.cols; c++) importance[c] = static_cast<float>(u[c * t.cols + c]);
    if (!t.fixed) return;
    for (int64_t c = 0; c < t.cols; c++)
      fixed_group[c] = static_cast<int32_t>(c * 7 % t.cols / t.group);
    expect_status(ESP_OK,
                  esp_quantize_range(context(), t.rows, t.cols, w, t.cols, t.bits, t.symmetric,
                                     t.group, ESP_F32, 0, 0, 0, 0, 0, scales.data(), zeros.data()),
                  "quantize_range");
  }

  esp_status solve(esp_context* ctx, float* out, float* s, int8_t* z, int8_t* codes,
                   uint8_t* kept) const {
    memcpy(out, w.data(), static_cast<size_t>(w.bytes()));
    if (!scales.empty()) {
      memcpy(s, scales.data(), scales.size() * sizeof(float));
      memcpy(z, zeros.data(), zeros.size());
    }
    const int64_t bytes = t.sparsity > 0 ? esp_sparsegpt_work_bytes(
                                               t.rows, t.cols, t.bits == 0 ? 0 : t.group, t.fixed)
                                         : 0;
    buffer<uint8_t> work(bytes);
    return esp_sparsegpt_solve(ctx, t.rows, t.cols, out, u, importance, t.drop, t.of, t.sparsity,
                               t.width, t.preserve, t.bits, t.symmetric, t.group,
                               t.fixed ? fixed_group.data() : nullptr, ESP_F32, s, z, codes, kept,
                               work, bytes);
  }
};

struct outputs {
  buffer<float> w, s;
  buffer<int8_t> z, codes;
  buffer<uint8_t> kept;
  explicit outputs(const instance& i)
      : w(i.w.size()),
        s(static_cast<int64_t>(i.scales.size())),
        z(s.size()),
        codes(i.t.bits > 0 ? i.w.size() : 0),
        kept(i.w.size()) {}
};

struct solution {
  std::vector<double> w;
  std::vector<uint8_t> kept;
  std::vector<double> gap;  // relative distance of a score from the other side of its cut
};

// arXiv 2301.00774, algorithm 1 with an error spread at once; without rounding.
solution textbook(const instance& i) {
  const task& t = i.t;
  const int64_t n = t.cols;
  const matrix r = upper_cholesky(inverse(i.h, n), n);
  solution s;
  s.w.assign(i.w.begin(), i.w.end());
  s.kept.assign(s.w.size(), 1);
  s.gap.assign(s.w.size(), 1);
  const auto score = [&](int64_t row, int64_t c) {
    const double w = s.w[at(row, c, n)] / r[at(c, c, n)];
    return t.preserve && i.w[row * n + c] == 0.0f ? 0.0 : w * w;
  };
  const auto cut = [&](int64_t first_row, int64_t last_row, int64_t first, int64_t last,
                       int64_t count) {
    std::vector<std::pair<double, size_t>> all;
    for (int64_t row = first_row; row < last_row; row++) {
      for (int64_t c = first; c < last; c++) all.push_back({score(row, c), at(row, c, n)});
    }
    std::stable_sort(all.begin(), all.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    const size_t k = static_cast<size_t>(count);
    for (size_t a = 0; a < all.size(); a++) {
      s.kept[all[a].second] = a >= k;
      const double other =
          a >= k ? (k > 0 ? all[k - 1].first : 0) : (k < all.size() ? all[k].first : 1e300);
      s.gap[all[a].second] = fabs(all[a].first - other) / fmax(1e-300, fmax(all[a].first, other));
    }
  };
  const int64_t step = t.of > 0 ? t.of : t.sparsity > 0 ? t.width : n;
  for (int64_t first = 0; first < n; first += step) {
    const int64_t last = std::min(n, first + step);
    if (t.of > 0) {
      for (int64_t row = 0; row < t.rows; row++)
        cut(row, row + 1, first, last, (last - first) * t.drop / t.of);
    } else if (t.sparsity > 0) {
      const int64_t size = t.rows * (last - first);
      cut(0, t.rows, first, last,
          std::min(size, static_cast<int64_t>(static_cast<double>(size) * t.sparsity) + 1));
    }
    for (int64_t c = first; c < last; c++) {
      for (int64_t row = 0; row < t.rows; row++) {
        const size_t here = at(row, c, n);
        if (t.preserve && i.w[row * n + c] == 0.0f) s.kept[here] = 0;
        if (s.kept[here]) continue;
        const double error = s.w[here] / r[at(c, c, n)];
        for (int64_t k = c + 1; k < n; k++) s.w[at(row, k, n)] -= error * r[at(c, k, n)];
        s.w[here] = 0;
      }
    }
  }
  return s;
}

double error_of(const instance& i, const float* result) {
  double value = 0;
  expect_status(
      ESP_OK,
      esp_quadratic_form(context(), i.t.rows, i.t.cols, i.w, result, i.t.cols, i.h.data(), &value),
      "quadratic_form");
  return value;
}

}  // namespace

// Every row of the table, every number of threads: the same bits in every output.
CASE(sparsegpt_gives_the_bits_of_the_reference) {
  for (const task& t : tasks) {
    const instance i(t, t.rows % 2 == 0 ? inputs::heavy_tailed : inputs::uniform);
    outputs o(i);
    for (const char* op : {"prune_columns", "prune_scores"}) {
      against_reference<float>(op, label_of(t) + " w", o.w.size(), {},
                               [&](esp_context* ctx, float* out) {
                                 return i.solve(ctx, out, o.s, o.z, o.codes, o.kept);
                               });
      against_reference<uint8_t>(op, label_of(t) + " kept", o.kept.size(), {},
                                 [&](esp_context* ctx, uint8_t* out) {
                                   return i.solve(ctx, o.w, o.s, o.z, o.codes, out);
                                 });
      if (t.bits == 0) continue;
      against_reference<int8_t>(
          op, label_of(t) + " codes", o.codes.size(), {},
          [&](esp_context* ctx, int8_t* out) { return i.solve(ctx, o.w, o.s, o.z, out, o.kept); });
      against_reference<float>(op, label_of(t) + " scales", o.s.size(), {},
                               [&](esp_context* ctx, float* out) {
                                 return i.solve(ctx, o.w, out, o.z, o.codes, o.kept);
                               });
    }
  }
}

// Masks equal but for scores that the rounding of fp32 can turn; a row with the mask of the
// textbook has its weights.
CASE(sparsegpt_is_the_textbook) {
  for (const task& t : tasks) {
    if (t.bits > 0) continue;
    for (inputs kind : {inputs::uniform, inputs::heavy_tailed}) {
      const instance i(t, kind, 3);
      outputs o(i);
      expect_status(ESP_OK, i.solve(context(2), o.w, o.s, o.z, o.codes, o.kept), "sparsegpt_solve");
      const solution expected = textbook(i);
      double largest = 0;
      for (double x : expected.w) largest = fmax(largest, fabs(x));
      for (int64_t r = 0; r < t.rows; r++) {
        int64_t first = 0;
        while (first < t.cols && o.kept[r * t.cols + first] == expected.kept[at(r, first, t.cols)])
          first++;
        if (first < t.cols) {
          const double gap = expected.gap[at(r, first, t.cols)];
          expect(gap < 1e-4, "%s %s row %lld column %lld: gap %g", label_of(t).c_str(),
                 name_of(kind), static_cast<long long>(r), static_cast<long long>(first), gap);
          continue;
        }
        double worst = 0;
        for (int64_t c = 0; c < t.cols; c++)
          worst = fmax(
              worst, fabs(static_cast<double>(o.w[r * t.cols + c]) - expected.w[at(r, c, t.cols)]));
        expect(worst <= 1e-4 * largest, "%s %s row %lld: %g of %g", label_of(t).c_str(),
               name_of(kind), static_cast<long long>(r), worst, largest);
      }
    }
  }
}

// Exactly as many go as the pattern or the share says; what goes is +0, and zeros that are to stay
// do.
CASE(sparsegpt_drops_exactly_its_share) {
  for (const task& t : tasks) {
    const instance i(t, inputs::uniform, 5);
    outputs o(i);
    expect_status(ESP_OK, i.solve(context(), o.w, o.s, o.z, o.codes, o.kept), "sparsegpt_solve");
    const std::string label = label_of(t);
    int64_t wrong = 0;
    for (int64_t k = 0; k < o.w.size(); k++) {
      uint32_t bits;
      memcpy(&bits, o.w.data() + k, sizeof bits);
      wrong += o.kept[k] > 1 || (o.kept[k] == 0 && bits != 0);
      wrong += t.preserve && i.w[k] == 0.0f && o.kept[k] != 0;
    }
    expect(wrong == 0, "%s: %lld wrong", label.c_str(), static_cast<long long>(wrong));
    const int64_t step = t.of > 0 ? t.of : t.width;
    for (int64_t first = 0; first < t.cols; first += step) {
      const int64_t last = std::min(t.cols, first + step);
      int64_t block_gone = 0;
      for (int64_t r = 0; r < t.rows; r++) {
        int64_t gone = 0, zeros = 0;
        for (int64_t c = first; c < last; c++) {
          gone += o.kept[r * t.cols + c] == 0;
          zeros += t.preserve && i.w[r * t.cols + c] == 0.0f;
        }
        block_gone += gone;
        const int64_t want = (last - first) * t.drop / (t.of > 0 ? t.of : 1);
        if (t.of > 0)
          expect(gone == std::max(want, zeros), "%s row %lld column %lld: %lld gone", label.c_str(),
                 static_cast<long long>(r), static_cast<long long>(first),
                 static_cast<long long>(gone));
      }
      if (t.sparsity > 0 && !t.preserve) {
        const int64_t size = t.rows * (last - first);
        expect(block_gone ==
                   std::min(size, static_cast<int64_t>(static_cast<double>(size) * t.sparsity) + 1),
               "%s column %lld: %lld gone", label.c_str(), static_cast<long long>(first),
               static_cast<long long>(block_gone));
      }
    }
  }
}

CASE(sparsegpt_returns_what_its_codes_mean) {
  for (const task& t : tasks) {
    if (t.bits == 0) continue;
    const instance i(t);
    outputs o(i);
    expect_status(ESP_OK, i.solve(context(), o.w, o.s, o.z, o.codes, o.kept), "sparsegpt_solve");
    int64_t wrong = 0;
    for (int64_t k = 0; k < o.w.size(); k++) {
      const int64_t c = k % t.cols;
      const int64_t of =
          k / t.cols * (t.cols / t.group) + (t.fixed ? i.fixed_group[c] : c / t.group);
      wrong += o.w[k] != o.s[of] * static_cast<float>(o.codes[k] - o.z[of]);
      wrong += o.codes[k] < -(1 << (t.bits - 1)) || o.codes[k] >= 1 << (t.bits - 1);
    }
    expect(wrong == 0, "%s: %lld wrong", label_of(t).c_str(), static_cast<long long>(wrong));
  }
}

// The update is worth it: never worse than dropping by score alone, in the norm of H.
CASE(sparsegpt_is_no_worse_than_magnitude) {
  for (const task& t : tasks) {
    if (t.bits > 0 || t.preserve || t.cols < 40 || (t.drop == 0 && t.sparsity == 0) ||
        (t.of > 0 && t.drop == t.of))
      continue;
    const instance i(t, inputs::uniform, 11);
    outputs o(i), plain(i);
    expect_status(ESP_OK, i.solve(context(), o.w, o.s, o.z, o.codes, o.kept), "sparsegpt_solve");
    memcpy(plain.w.data(), i.w.data(), static_cast<size_t>(i.w.bytes()));
    int64_t gone = 0;
    for (uint8_t stays : o.kept) gone += stays == 0;
    if (t.of > 0) {
      expect_status(
          ESP_OK, esp_select_nm(context(), t.rows, t.cols, i.w, nullptr, t.drop, t.of, plain.kept),
          "select_nm");
    } else {
      expect_status(
          ESP_OK,
          esp_select_smallest(context(), t.rows, t.cols, i.w, nullptr, 0, gone, 0, plain.kept),
          "select_smallest");
    }
    expect_status(ESP_OK, esp_apply_mask(context(), t.rows, t.cols, plain.kept, plain.w),
                  "apply_mask");
    const double solved = error_of(i, o.w), dropped = error_of(i, plain.w);
    expect(solved <= dropped, "%s: %g against %g", label_of(t).c_str(), solved, dropped);
  }
}

CASE(sparsegpt_refuses_bad_arguments) {
  buffer<float> w(32), s(8), importance(16);
  buffer<int8_t> z(8), codes(32);
  buffer<uint8_t> kept(32);
  buffer<double> u(256);
  const int64_t bytes = esp_sparsegpt_work_bytes(2, 16, 0, 0);
  buffer<uint8_t> work(bytes);
  for (int i = 0; i < 16; i++) u[17 * i] = importance[i] = 1;
  const auto solve = [&](int32_t drop, int32_t of, double sparsity, int64_t width, int32_t bits,
                         int64_t group, int64_t memory) {
    return esp_sparsegpt_solve(context(), 2, 16, w, u, importance, drop, of, sparsity, width, 0,
                               bits, 1, group, nullptr, ESP_F32, s, z, codes, kept, work, memory);
  };
  const char* const op = "sparsegpt_solve";
  expect_status(ESP_OK, solve(2, 4, 0, 128, 0, 0, 0), op);
  expect_status(ESP_OK, solve(0, 0, 0.5, 128, 0, 0, bytes), op);
  expect_status(ESP_OK, solve(2, 4, 0, 128, 4, 4, 0), op);
  expect_status(ESP_INVALID_ARGUMENT, solve(5, 4, 0, 128, 0, 0, 0), op);
  expect_status(ESP_INVALID_ARGUMENT, solve(1, 129, 0, 128, 0, 0, 0), op);
  expect_status(ESP_INVALID_ARGUMENT, solve(1, 3, 0, 128, 0, 0, 0), op);  // a rest of 1 loses 1/3
  expect_status(ESP_INVALID_ARGUMENT, solve(2, 4, 0.5, 128, 0, 0, bytes), op);
  expect_status(ESP_INVALID_ARGUMENT, solve(0, 0, 1.2, 128, 0, 0, bytes), op);
  expect_status(ESP_INVALID_ARGUMENT, solve(0, 0, NAN, 128, 0, 0, bytes), op);
  expect_status(ESP_INVALID_ARGUMENT, solve(0, 0, 0.5, 0, 0, 0, bytes), op);
  expect_status(ESP_INVALID_ARGUMENT, solve(0, 0, 0.5, 128, 0, 0, bytes - 1), op);
  expect_status(ESP_INVALID_ARGUMENT, solve(2, 4, 0, 128, 1, 4, 0), op);
  expect_status(ESP_INVALID_ARGUMENT, solve(2, 4, 0, 128, 4, 5, 0), op);
  u[17 * 9] = NAN;
  expect_status(ESP_NUMERICAL, solve(2, 4, 0, 128, 0, 0, 0), op);
}

// ---- selection

CASE(select_smallest_is_a_stable_sort) {
  for (int64_t rows : {1, 2, 63, 65, 130}) {
    for (int64_t cols : {1, 7, 64, 131}) {
      for (bool per_row : {false, true}) {
        for (bool ties : {false, true}) {
          for (bool weighted : {false, true}) {
            buffer<float> x(rows * cols), factor(cols);
            fill(x, inputs::heavy_tailed, 3);
            fill(factor, inputs::uniform, 4);
            for (float& f : factor) f = fabsf(f);
            if (ties)
              for (float& v : x) v = roundf(v * 2) / 2;
            const int64_t size = per_row ? cols : rows * cols;
            for (int64_t count : {int64_t{0}, int64_t{1}, size / 3, size / 2, size}) {
              if (count > size) continue;
              std::vector<double> expected(static_cast<size_t>(rows * cols), 1);
              for (int64_t from = 0; from < rows * cols; from += size) {
                std::vector<std::pair<float, int64_t>> all;
                for (int64_t k = from; k < from + size; k++)
                  all.push_back({fabsf(x[k]) * (weighted ? factor[k % cols] : 1.0f), k});
                std::stable_sort(all.begin(), all.end(),
                                 [](const auto& a, const auto& b) { return a.first < b.first; });
                for (int64_t k = 0; k < count; k++)
                  expected[static_cast<size_t>(all[static_cast<size_t>(k)].second)] = 0;
              }
              for (int32_t run : {1, 3, -2}) {
                const int32_t threads = abs(run), all_ties = run < 0;
                if (all_ties && count > 0) {
                  // Whatever equals a score that went in its row, or matrix, goes too.
                  for (int64_t from = 0; from < rows * cols; from += size) {
                    const auto score = [&](int64_t k) {
                      return fabsf(x[k]) * (weighted ? factor[k % cols] : 1.0f);
                    };
                    float last = 0;
                    for (int64_t k = from; k < from + size; k++)
                      if (expected[static_cast<size_t>(k)] == 0) last = fmaxf(last, score(k));
                    for (int64_t k = from; k < from + size; k++)
                      if (score(k) == last) expected[static_cast<size_t>(k)] = 0;
                  }
                }
                buffer<uint8_t> kept(rows * cols);
                expect_status(ESP_OK,
                              esp_select_smallest(context(threads), rows, cols, x,
                                                  weighted ? factor.data() : nullptr, per_row,
                                                  count, all_ties, kept),
                              "select_smallest");
                int64_t wrong = 0;
                for (int64_t k = 0; k < kept.size(); k++)
                  wrong += kept[k] != expected[static_cast<size_t>(k)];
                expect(wrong == 0, "rows=%lld cols=%lld per_row=%d ties=%d count=%lld: %lld wrong",
                       static_cast<long long>(rows), static_cast<long long>(cols), per_row, ties,
                       static_cast<long long>(count), static_cast<long long>(wrong));
              }
            }
          }
        }
      }
    }
  }
}

// All orders of four and, by equal scores, all ties; m of eight and others at random.
CASE(select_nm_is_a_stable_sort) {
  for (int32_t m : {1, 2, 3, 4, 5, 8, 16, 20}) {
    for (int32_t n = 0; n <= m; n += m > 8 ? 3 : 1) {
      for (int64_t sets : {1, 2, 3, 64}) {
        const int64_t cols = sets * m, rows = m == 4 ? 256 / sets : 3;
        buffer<float> x(rows * cols), factor(cols);
        fill(x, inputs::uniform, 7);
        fill(factor, inputs::uniform, 8);
        for (float& f : factor) f = fabsf(f);
        for (int64_t k = 0; k < x.size(); k++) {
          // Base 4: 256 sets of four digits hold every order and every tie.
          if (m == 4)
            x[k] = static_cast<float>((k / 4) % 256 >> (2 * (k % 4)) & 3) - 1.5f;
          else if (k % 3 == 0)
            x[k] = roundf(x[k] * 2);
        }
        for (bool weighted : {false, true}) {
          std::vector<double> expected(static_cast<size_t>(x.size()), 1);
          for (int64_t from = 0; from < x.size(); from += m) {
            std::vector<std::pair<float, int64_t>> all;
            for (int64_t k = from; k < from + m; k++)
              all.push_back({fabsf(x[k]) * (weighted ? factor[k % cols] : 1.0f), k});
            std::stable_sort(all.begin(), all.end(),
                             [](const auto& a, const auto& b) { return a.first < b.first; });
            for (int64_t k = 0; k < n; k++)
              expected[static_cast<size_t>(all[static_cast<size_t>(k)].second)] = 0;
          }
          against_definition<uint8_t>(
              "select_nm",
              format("rows=%lld cols=%lld %d:%d", static_cast<long long>(rows),
                     static_cast<long long>(cols), n, m),
              expected, {}, [&](esp_context* ctx, uint8_t* kept) {
                return esp_select_nm(ctx, rows, cols, x, weighted ? factor.data() : nullptr, n, m,
                                     kept);
              });
        }
      }
    }
  }
}

CASE(select_nm_takes_its_share_of_a_rest) {
  buffer<float> x(14);
  for (int64_t k = 0; k < 14; k++) x[k] = static_cast<float>(14 - k);
  buffer<uint8_t> kept(14);
  expect_status(ESP_OK, esp_select_nm(context(), 1, 14, x, nullptr, 2, 4, kept), "select_nm");
  const uint8_t expected[] = {1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 0};
  expect(memcmp(kept.data(), expected, sizeof expected) == 0, "a rest of 2 loses 1");
  expect_status(ESP_INVALID_ARGUMENT, esp_select_nm(context(), 1, 14, x, nullptr, 1, 4, kept),
                "select_nm");
  expect_status(ESP_INVALID_ARGUMENT, esp_select_nm(context(), 1, 14, x, nullptr, 5, 4, kept),
                "select_nm");
  expect_status(ESP_INVALID_ARGUMENT,
                esp_select_smallest(context(), 1, 14, x, nullptr, 0, 15, 0, kept),
                "select_smallest");
}

CASE(apply_mask_leaves_what_is_kept_to_the_bit) {
  const int64_t rows = 3, cols = 37;
  buffer<float> w(rows * cols);
  buffer<uint8_t> kept(rows * cols);
  fill(w, inputs::heavy_tailed, 2);
  std::vector<float> before(w.begin(), w.end());
  for (int64_t k = 0; k < kept.size(); k++) kept[k] = static_cast<uint8_t>(k * 5 % 3 == 0);
  expect_status(ESP_OK, esp_apply_mask(context(2), rows, cols, kept, w), "apply_mask");
  for (int64_t k = 0; k < w.size(); k++) {
    const float want = kept[k] ? before[static_cast<size_t>(k)] : 0.0f;
    expect(memcmp(&want, w.data() + k, sizeof want) == 0, "weight %lld", static_cast<long long>(k));
  }
}

CASE(column_squares) {
  for (int64_t tokens : {0, 1, 3, 4, 5, 33}) {
    for (int64_t cols : {1, 7, 8, 9, 15, 16, 17, 511, 513, 1030}) {
      buffer<float> x(tokens * cols);
      fill(x, inputs::heavy_tailed, 6);
      std::vector<double> expected(static_cast<size_t>(cols), 0.5);
      for (int64_t t = 0; t < tokens; t++) {
        for (int64_t c = 0; c < cols; c++) {
          const double value = static_cast<double>(x[t * cols + c]);
          expected[static_cast<size_t>(c)] += value * value;
        }
      }
      against_definition<double>("column_squares",
                                 format("tokens=%lld cols=%lld", static_cast<long long>(tokens),
                                        static_cast<long long>(cols)),
                                 expected, {}, [&](esp_context* ctx, double* sums) {
                                   for (int64_t c = 0; c < cols; c++) sums[c] = 0.5;
                                   return esp_column_squares(ctx, tokens, cols, x, sums);
                                 });
    }
  }
}
