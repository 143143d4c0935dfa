// SPDX-License-Identifier: Apache-2.0
//
// Products from 4-bit weights beside their definition in fp64.
#include <math.h>

#include <algorithm>

#include "counters.h"
#include "layout/w4a16_tiles.h"
#include "on_device.h"

namespace cases {
namespace {

size_t count(int64_t n) {
  return static_cast<size_t>(n);
}

struct product {
  int64_t m, n, k, group;
  bool zeros;
  std::vector<uint16_t> x;
  std::vector<float> wide_x, scales;
  std::vector<int8_t> codes, zero;
  std::vector<uint32_t> words;

  int64_t ldx() const { return k + 2; }
  int64_t ldy() const { return n + 3; }
  int64_t ldwords() const { return (k + 7) / 8; }

  product(int64_t m_, int64_t n_, int64_t k_, int64_t group_, bool zeros_, inputs kind)
      : m(m_), n(n_), k(k_), group(group_), zeros(zeros_) {
    wide_x.resize(count(m * ldx()));
    fill(wide_x.data(), m * ldx(), kind, 1);
    for (float& v : wide_x) {
      uint32_t bits;
      memcpy(&bits, &v, sizeof bits);
      x.push_back(static_cast<uint16_t>(bits >> 16));  // cut off: any bf16 will do
      bits &= 0xffff0000u;
      memcpy(&v, &bits, sizeof bits);
    }
    scales.resize(count(n * (k / group)));
    fill(scales.data(), static_cast<int64_t>(scales.size()), inputs::uniform, 2);
    codes.resize(count(n * k));
    fill_integers(codes.data(), n * k, -8, 7, kind, 3);
    zero.resize(scales.size());
    fill_integers(zero.data(), static_cast<int64_t>(zero.size()), -8, 7, inputs::heavy_tailed, 4);
    words.resize(count(n * ldwords()));
    esp_pack(context(), n, k, 4, codes.data(), words.data(), ldwords());
  }

  // Sum, and the sum of magnitudes that its error is measured by.
  double value(int64_t token, int64_t row, double* size) const {
    double sum = 0.0;
    *size = 0.0;
    for (int64_t c = 0; c < k; c++) {
      const int64_t at = row * (k / group) + c / group;
      const double w = static_cast<double>(scales[count(at)]) *
                       (codes[count(row * k + c)] - (zeros ? zero[count(at)] : 0));
      const double p = w * static_cast<double>(wide_x[count(token * ldx() + c)]);
      sum += p;
      *size += fabs(p);
    }
    return sum;
  }
};

std::string label_of(const product& p, uint64_t seed) {
  return format("m=%lld n=%lld k=%lld group=%lld zeros=%d order %llu", static_cast<long long>(p.m),
                static_cast<long long>(p.n), static_cast<long long>(p.k),
                static_cast<long long>(p.group), p.zeros, static_cast<unsigned long long>(seed));
}

}  // namespace

// The layout says twice where a weight lies: the kernel's fragments, and one place for each.
CASE(cuda_w4a16_tiles) {
  std::vector<int> seen(16 * 64, 0);
  for (int lane = 0; lane < 32; lane++) {
    for (int s = 0; s < 4; s++) {
      for (int nibble = 0; nibble < 8; nibble++) {
        const int row = esp::w4_row_of(lane, nibble), column = esp::w4_column_of(lane, s, nibble);
        expect(row >= 0 && row < 16 && column >= 16 * s && column < 16 * s + 16, "inside");
        seen[count(row * 64 + column)]++;
      }
    }
  }
  expect(std::all_of(seen.begin(), seen.end(), [](int n) { return n == 1; }), "one place each");
}

CASE(cuda_matmul_w4a16) {
  struct shape {
    int64_t m, n, k, group;
  };
  // Tokens around octets; rows around tiles, warps and blocks; columns around chunks, the pieces
  // under way and parts; groups of a step, of no multiple of a chunk, of a chunk, of the whole row.
  for (const shape& s : {shape{1, 16, 64, 64},
                         {2, 1, 16, 16},
                         {7, 15, 48, 16},
                         {8, 17, 96, 32},
                         {9, 33, 128, 128},
                         {15, 31, 192, 48},
                         {16, 32, 320, 64},
                         {16, 129, 256, 128},
                         {3, 128, 640, 640},
                         {1, 40, 2112, 64},
                         {16, 24, 2112, 2112},
                         {5, 260, 1088, 32}}) {
    for (bool zeros : {false, true}) {
      for (inputs kind : {inputs::uniform, inputs::heavy_tailed, inputs::all_min}) {
        const product p(s.m, s.n, s.k, s.group, zeros, kind);
        std::vector<double> expected, allowed;
        for (int64_t token = 0; token < p.m; token++) {
          for (int64_t row = 0; row < p.n; row++) {
            double size;
            expected.push_back(p.value(token, row, &size));
            // Each product passes at most 64 + k / 16 additions and 2 products, 2^-23 each: an MMA
            // may cut off where fp32 rounds.
            allowed.push_back(size * 0x1p-23 * (66.0 + static_cast<double>(p.k) / 16.0) + 1e-30);
          }
        }
        each_order([&](uint64_t seed) {
          const on_device<uint16_t> d_x(p.x);
          const on_device<uint32_t> d_words(p.words);
          const on_device<float> d_scales(p.scales);
          const on_device<int8_t> d_zeros(p.zero);
          const on_device<uint8_t> d_tiles(cuda().w4a16_tile_bytes(p.n, p.k, p.group));
          const int64_t work = cuda().w4a16_work_bytes(cuda_stream(), p.m, p.n, p.k);
          const on_device<uint8_t> d_work(std::vector<uint8_t>(count(work), 0));
          const std::string label = label_of(p, seed);
          expect_done(cuda().w4a16_tile(cuda_stream(), p.n, p.k, d_words, p.ldwords(), d_scales,
                                        zeros ? static_cast<int8_t*>(d_zeros) : nullptr, p.group,
                                        static_cast<uint8_t*>(d_tiles)),
                      label);
          for (int turn = 0; turn < 2; turn++) {  // the second finds the work as it must be
            const on_device<float> d_y(std::vector<float>(count(p.m * p.ldy()), NAN));
            expect_done(cuda().matmul_w4a16(cuda_stream(), p.m, p.n, p.k, d_x, p.ldx(),
                                            static_cast<uint8_t*>(d_tiles), p.group, zeros, d_y,
                                            p.ldy(), static_cast<uint8_t*>(d_work)),
                        label);
            const std::vector<float> y = d_y.values();
            for (int64_t i = 0; i < p.m * p.n; i++) {
              const double got = static_cast<double>(y[count(i / p.n * p.ldy() + i % p.n)]);
              expect(fabs(got - expected[count(i)]) <= allowed[count(i)],
                     "%s %s: y[%lld] is %.9g, expected %.9g", label.c_str(), name_of(kind),
                     static_cast<long long>(i), got, expected[count(i)]);
            }
          }
        });
      }
    }
  }
}

// What the head of matmul_w4a16.cu claims.
CASE(cuda_matmul_w4a16_counters) {
  if (!emulated()) return;
  for (int64_t m : {8, 16}) {
    const product p(m, 256, 1024, 128, false, inputs::uniform);
    const int64_t tile_bytes = cuda().w4a16_tile_bytes(p.n, p.k, p.group);
    const on_device<uint16_t> d_x(p.x);
    const on_device<uint32_t> d_words(p.words);
    const on_device<float> d_scales(p.scales), d_y(p.m * p.ldy());
    const on_device<uint8_t> d_tiles(tile_bytes);
    const on_device<uint8_t> d_work(
        std::vector<uint8_t>(count(cuda().w4a16_work_bytes(cuda_stream(), p.m, p.n, p.k)), 0));
    expect_done(cuda().w4a16_tile(cuda_stream(), p.n, p.k, d_words, p.ldwords(), d_scales, nullptr,
                                  p.group, static_cast<uint8_t*>(d_tiles)),
                "w4a16_tile");
    cuda_emulation::count_begin();
    expect_done(cuda().matmul_w4a16(cuda_stream(), p.m, p.n, p.k, d_x, p.ldx(),
                                    static_cast<uint8_t*>(d_tiles), p.group, 0, d_y, p.ldy(),
                                    static_cast<uint8_t*>(d_work)),
                "matmul_w4a16");
    const cuda_emulation::counts c = cuda_emulation::count_end();
    const uint8_t* const codes = d_tiles;
    expect(cuda_emulation::bytes_loaded(codes, p.n * p.k / 2) == p.n * p.k / 2,
           "codes are read once: %lld bytes",
           static_cast<long long>(cuda_emulation::bytes_loaded(codes, p.n * p.k / 2)));
    expect(c.mma == p.n / 16 * (p.k / 16) * (m / 8), "%lld MMAs", static_cast<long long>(c.mma));
    expect(c.shared_passes == c.shared_least_passes,
           "%lld passes through shared memory instead of %lld",
           static_cast<long long>(c.shared_passes), static_cast<long long>(c.shared_least_passes));
  }
}

}  // namespace cases
