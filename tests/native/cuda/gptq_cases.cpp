// SPDX-License-Identifier: Apache-2.0
//
// The GPTQ solver beside the CPU's, which sums in fp64: with a diagonal H the same bits, otherwise
// the same codes but for a few at ties, and the same error in the norm of H.
#include <math.h>

#include <algorithm>

#include "on_device.h"

namespace cases {
namespace {

size_t count(int64_t n) {
  return static_cast<size_t>(n);
}

struct outcome {
  std::vector<float> w, scales;
  std::vector<int8_t> zeros, codes;
};

struct problem {
  int64_t rows, cols, group;
  int32_t bits, symmetric;
  bool fixed;
  std::vector<float> w;
  std::vector<double> h, u;
  std::vector<int32_t> fixed_group;
  outcome start;

  problem(int64_t rows_, int64_t cols_, int64_t group_, int32_t bits_, int32_t symmetric_,
          bool fixed_, bool diagonal, inputs kind)
      : rows(rows_), cols(cols_), group(group_), bits(bits_), symmetric(symmetric_), fixed(fixed_) {
    w.resize(count(rows * cols));
    fill(w.data(), rows * cols, kind, 31);
    // Correlated inputs: each a mixture of its neighbour and its own.
    const int64_t tokens = cols + 16;
    std::vector<float> x(count(tokens * cols));
    fill(x.data(), tokens * cols, inputs::uniform, 32);
    for (int64_t t = 0; t < tokens; t++) {
      for (int64_t c = 1; c < cols; c++)
        x[count(t * cols + c)] += 0.7f * x[count(t * cols + c - 1)];
    }
    h.assign(count(cols * cols), 0.0);
    esp_gram(context(), tokens, cols, ESP_F32, x.data(), cols, h.data());
    for (int64_t i = 0; i < cols; i++) {
      h[count(i * cols + i)] *= 1.01;
      for (int64_t j = i + 1; diagonal && j < cols; j++) h[count(i * cols + j)] = 0.0;
    }
    u = h;
    int64_t pivot;
    expect(esp_cholesky_reversed(context(), cols, u.data(), &pivot) == ESP_OK, "U");
    start.w = w;
    start.scales.assign(count(rows * (cols / group)), 0.0f);
    start.zeros.assign(start.scales.size(), 0);
    start.codes.assign(w.size(), 0);
    if (!fixed) return;
    // As with act-order: columns take their groups in another order.
    for (int64_t c = 0; c < cols; c++)
      fixed_group.push_back(static_cast<int32_t>((c * 7 + 3) % cols / group));
    esp_quantize_range(context(), rows, cols, w.data(), cols, bits, symmetric, group, ESP_BF16, 0,
                       0.0, 0.0, 0, 1, start.scales.data(), start.zeros.data());
  }

  outcome on_cpu() const {
    outcome o = start;
    expect(esp_gptq_solve(context(), rows, cols, o.w.data(), u.data(), bits, symmetric, group,
                          fixed ? fixed_group.data() : nullptr, ESP_BF16, o.scales.data(),
                          o.zeros.data(), o.codes.data()) == ESP_OK,
           "%s", esp_last_error());
    return o;
  }

  outcome on_gpu(const std::string& label) const {
    const on_device<float> d_w(w), d_scales(start.scales);
    const on_device<double> d_u(u);
    const on_device<int8_t> d_zeros(start.zeros), d_codes(rows * cols);
    const on_device<int32_t> d_fixed(fixed ? fixed_group : std::vector<int32_t>(1));
    const on_device<uint8_t> d_work(cuda().gptq_work_bytes(rows, cols));
    expect_done(cuda().gptq_solve(cuda_stream(), rows, cols, d_w, d_u, bits, symmetric, group,
                                  fixed ? static_cast<int32_t*>(d_fixed) : nullptr, ESP_BF16,
                                  d_scales, d_zeros, d_codes, static_cast<uint8_t*>(d_work)),
                label);
    return {d_w.values(), d_scales.values(), d_zeros.values(), d_codes.values()};
  }

  double error(const outcome& o) const {
    double value = 0.0;
    expect(esp_quadratic_form(context(), rows, cols, o.w.data(), w.data(), cols, h.data(),
                              &value) == ESP_OK,
           "%s", esp_last_error());
    return value;
  }
};

}  // namespace

CASE(cuda_gptq) {
  struct shape {
    int64_t rows, cols, group;
    bool fixed;
  };
  // Rows below, at and above a tile; columns below, at and above a block; groups inside a block, a
  // block, several blocks, a whole row, and fixed beforehand.
  for (const shape& s : {shape{1, 8, 8, false},
                         {31, 64, 16, false},
                         {33, 96, 96, false},
                         {32, 128, 128, false},
                         {5, 128, 32, false},
                         {3, 160, 32, false},
                         {2, 256, 128, false},
                         {2, 512, 256, false},
                         {4, 384, 384, false},
                         {3, 200, 40, true},
                         {2, 256, 64, true}}) {
    for (int32_t symmetric : {1, 0}) {
      const int32_t bits = s.group == 32 ? 3 : 4;
      for (bool diagonal : {true, false}) {
        const problem p(s.rows, s.cols, s.group, bits, symmetric, s.fixed, diagonal,
                        s.rows % 2 == 1 ? inputs::uniform : inputs::heavy_tailed);
        const outcome expected = p.on_cpu();
        each_order([&](uint64_t) {
          const std::string label = format(
              "%lldx%lld group %lld fixed %d symmetric %d %s", static_cast<long long>(s.rows),
              static_cast<long long>(s.cols), static_cast<long long>(s.group), s.fixed, symmetric,
              diagonal ? "diagonal" : "full");
          const outcome got = p.on_gpu(label);
          int64_t different = 0;
          for (size_t i = 0; i < got.codes.size(); i++)
            different += got.codes[i] != expected.codes[i];
          if (diagonal) {
            expect(different == 0 && got.scales == expected.scales && got.w == expected.w &&
                       (symmetric || got.zeros == expected.zeros),
                   "%s: %lld codes", label.c_str(), static_cast<long long>(different));
            return;
          }
          // Values are scale * (code - zero) of what was written.
          for (int64_t i = 0; i < p.rows * p.cols; i++) {
            const int64_t row = i / p.cols, c = i % p.cols, groups = p.cols / p.group;
            const int64_t at = row * groups + (s.fixed ? p.fixed_group[count(c)] : c / p.group);
            const float zero = symmetric ? 0.0f : static_cast<float>(got.zeros[count(at)]);
            expect(got.w[count(i)] ==
                       got.scales[count(at)] * (static_cast<float>(got.codes[count(i)]) - zero),
                   "%s: value %lld", label.c_str(), static_cast<long long>(i));
          }
          const double mine = p.error(got), theirs = p.error(expected);
          // A code at a tie falls one way or the other and moves what follows in its row.
          expect(mine <= theirs * 1.05 && mine >= theirs * 0.95, "%s: error %.6g, the CPU has %.6g",
                 label.c_str(), mine, theirs);
          expect(different * 50 <= p.rows * p.cols, "%s: %lld of %lld codes differ", label.c_str(),
                 static_cast<long long>(different), static_cast<long long>(p.rows * p.cols));
        });
      }
    }
  }
}

}  // namespace cases
