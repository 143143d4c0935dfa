// SPDX-License-Identifier: Apache-2.0
//
// The Hessian and its reversed Cholesky factor.
#include <math.h>

#include <algorithm>

#include "counters.h"
#include "on_device.h"

namespace cases {
namespace {

uint16_t bf16_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

double value_of(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float f;
  memcpy(&f, &bits, sizeof f);
  return static_cast<double>(f);
}

std::vector<uint16_t> activations(int64_t n, inputs kind, uint64_t seed) {
  std::vector<float> x(static_cast<size_t>(n));
  fill(x.data(), n, kind, seed);
  std::vector<uint16_t> narrow;
  for (float v : x) narrow.push_back(bf16_of(v));
  return narrow;
}

// Keeps the larger; NaN is the largest.
void keep_worst(double* worst, double value) {
  if (!(value <= *worst)) *worst = value;
}

// n x n, x^T x of 2 n random rows and a little of the identity.
std::vector<double> positive(int64_t n, uint64_t seed) {
  std::vector<double> x(static_cast<size_t>(2 * n * n)), h(static_cast<size_t>(n * n));
  generator g(seed);
  for (double& v : x) v = g.uniform(-1.0, 1.0);
  for (int64_t i = 0; i < n; i++) {
    for (int64_t j = i; j < n; j++) {
      double sum = i == j ? 0.01 * static_cast<double>(n) : 0.0;
      for (int64_t t = 0; t < 2 * n; t++)
        sum += x[static_cast<size_t>(t * n + i)] * x[static_cast<size_t>(t * n + j)];
      h[static_cast<size_t>(i * n + j)] = h[static_cast<size_t>(j * n + i)] = sum;
    }
  }
  return h;
}

}  // namespace

CASE(cuda_gram) {
  struct shape {
    int64_t tokens, k, ldx;
  };
  // Stages, panels and folds cut short, met and passed by one.
  for (const shape& s : {shape{1, 8, 8},
                         {31, 64, 64},
                         {32, 120, 128},
                         {33, 128, 128},
                         {100, 136, 136},
                         {64, 264, 272},
                         {2048, 8, 8},
                         {2080, 16, 16}}) {
    for (inputs kind : {inputs::uniform, inputs::heavy_tailed, inputs::all_max}) {
      if (s.tokens >= 2048 && kind != inputs::uniform) continue;
      const std::vector<uint16_t> x = activations(s.tokens * s.ldx, kind, 5);
      generator g(6);
      std::vector<double> before(static_cast<size_t>(s.k * s.k));
      for (double& v : before) v = g.uniform(-1.0, 1.0);
      each_order([&](uint64_t seed) {
        const on_device<uint16_t> d_x(x);
        const on_device<double> d_h(before);
        const std::string label =
            format("gram of %lldx%lld, order %llu", static_cast<long long>(s.tokens),
                   static_cast<long long>(s.k), static_cast<unsigned long long>(seed));
        expect_done(cuda().gram(cuda_stream(), s.tokens, s.k, d_x, s.ldx, d_h), label);
        const std::vector<double> h = d_h.values();
        double worst = 0.0;
        for (int64_t i = 0; i < s.k; i++) {
          for (int64_t j = i; j < s.k; j++) {
            double sum = before[static_cast<size_t>(i * s.k + j)], size = 0.0;
            for (int64_t t = 0; t < s.tokens; t++) {
              const double p = value_of(x[static_cast<size_t>(t * s.ldx + i)]) *
                               value_of(x[static_cast<size_t>(t * s.ldx + j)]);
              sum += p;
              size += fabs(p);
            }
            // At most 2048 additions in fp32, none off by more than 2^-23 of what has come.
            const double allowed =
                size * 0x1p-23 * static_cast<double>(std::min<int64_t>(s.tokens, 2048)) + 1e-12;
            keep_worst(&worst, fabs(h[static_cast<size_t>(i * s.k + j)] - sum) / allowed);
          }
        }
        expect(worst <= 1.0, "%s %s: %.2f of what is allowed", label.c_str(), name_of(kind), worst);
      });
    }
  }
}

CASE(cuda_cholesky) {
  for (int64_t n : {1, 2, 63, 64, 65, 100, 128, 129, 200}) {
    const std::vector<double> h = positive(n, 3);
    each_order([&](uint64_t) {
      std::vector<double> given = h;  // the lower triangle must not matter, nor be needed
      for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < i; j++) given[static_cast<size_t>(i * n + j)] = NAN;
      }
      const on_device<double> d_h(given);
      const on_device<int64_t> d_pivot(1);
      const std::string label = format("cholesky of %lld", static_cast<long long>(n));
      expect_done(cuda().cholesky_reversed(cuda_stream(), n, d_h, d_pivot), label);
      expect(d_pivot.values()[0] == -1, "%s: pivot", label.c_str());
      const std::vector<double> u = d_h.values();
      double worst = 0.0;
      for (int64_t i = 0; i < n; i++) {
        for (int64_t j = i; j < n; j++) {
          double sum = 0.0;
          for (int64_t p = j; p < n; p++)
            sum += u[static_cast<size_t>(i * n + p)] * u[static_cast<size_t>(j * n + p)];
          const double scale =
              sqrt(h[static_cast<size_t>(i * n + i)] * h[static_cast<size_t>(j * n + j)]);
          keep_worst(&worst, fabs(sum - h[static_cast<size_t>(i * n + j)]) / scale);
        }
        for (int64_t j = i / 64 * 64; j < i; j++)
          expect(u[static_cast<size_t>(i * n + j)] == 0.0, "%s: below the diagonal", label.c_str());
      }
      expect(worst <= 0x1p-53 * 8.0 * static_cast<double>(n + 8), "%s: off by %.3g", label.c_str(),
             worst);
    });
  }
  // Not positive definite: the pivot that the CPU finds.
  for (int64_t bad : {0, 5, 63, 64, 99}) {
    std::vector<double> h = positive(100, 4);
    h[static_cast<size_t>(bad * 101)] = -1.0;
    std::vector<double> on_cpu = h;
    int64_t expected = -2;
    expect(esp_cholesky_reversed(context(), 100, on_cpu.data(), &expected) == ESP_NUMERICAL, "CPU");
    const on_device<double> d_h(h);
    const on_device<int64_t> d_pivot(1);
    expect_done(cuda().cholesky_reversed(cuda_stream(), 100, d_h, d_pivot), "bad pivot");
    expect(d_pivot.values()[0] == expected, "pivot %lld, the CPU finds %lld",
           static_cast<long long>(d_pivot.values()[0]), static_cast<long long>(expected));
  }
}

// What the head of gram.cu claims: every element of x once for each panel that needs it, no bank
// conflicts, 16 MMAs to 6 ldmatrix.
CASE(cuda_gram_counters) {
  if (!emulated()) return;
  const int64_t tokens = 64, k = 256;  // 3 tiles of 128 x 128
  const on_device<uint16_t> d_x(activations(tokens * k, inputs::uniform, 5));
  const on_device<double> d_h(std::vector<double>(static_cast<size_t>(k * k)));
  cuda_emulation::count_begin();
  expect_done(cuda().gram(cuda_stream(), tokens, k, d_x, k, d_h), "gram");
  const cuda_emulation::counts c = cuda_emulation::count_end();
  expect(cuda_emulation::bytes_loaded(d_x, tokens * k * 2) == 3 * 2 * tokens * 128 * 2,
         "bytes of x");
  expect(c.mma == 3 * tokens / 16 * (128 / 16) * (128 / 8), "%lld MMAs",
         static_cast<long long>(c.mma));
  expect(c.instructions * 16 == c.mma * 6, "%lld ldmatrix", static_cast<long long>(c.instructions));
  expect(c.shared_passes == c.shared_least_passes,
         "%lld passes through shared memory instead of %lld",
         static_cast<long long>(c.shared_passes), static_cast<long long>(c.shared_least_passes));
  // Along the diagonal h is touched in pieces of a sector.
  expect(100 * 32 * c.load_sectors <= 103 * c.load_bytes, "%lld sectors for %lld bytes",
         static_cast<long long>(c.load_sectors), static_cast<long long>(c.load_bytes));
}

}  // namespace cases
