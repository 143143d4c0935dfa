// SPDX-License-Identifier: Apache-2.0
//
// Panels of widened weights, which products of many rows run over: every row of the two operations
// gives the bits of the reference. packed_cases.cpp holds the products against sums in fp64.
#include <vector>

#include "harness.h"
#include "layout/bit_stream.h"

using namespace cases;

namespace {

struct sizes {
  int64_t m, n, k;
};
// Strips of 6 and 12 rows, halves and single ones; panels of 16 columns, one short, one more; whole
// squares of eight and what is left of them; more than one task, and more than one piece of k.
constexpr sizes shapes[] = {{33, 1, 1},     {34, 15, 7},   {35, 16, 8},   {36, 17, 9},
                            {37, 31, 16},   {41, 32, 20},  {47, 33, 24},  {48, 48, 25},
                            {96, 7, 64},    {97, 40, 40},  {200, 352, 8}, {40, 70, 1024},
                            {33, 90, 1030}, {101, 5, 2050}};

void check(const char* op, const sizes& s, bool biased, inputs kind) {
  constexpr int32_t bits = 3;
  const int64_t words = esp::stream_words(s.k, bits), ldx = s.k + s.m % 3, ldy = s.n + s.m % 2;
  buffer<uint32_t> codes(s.n * words);
  std::vector<int32_t> q(static_cast<size_t>(s.n * s.k));
  fill_integers(q.data(), s.n * s.k, -4, 3, inputs::uniform, 3);
  for (int64_t r = 0; r < s.n; r++) {
    for (int64_t c = 0; c < s.k; c++)
      esp::stream_write(codes + r * words, c, bits, q[static_cast<size_t>(r * s.k + c)]);
  }
  buffer<float> x((s.m - 1) * ldx + s.k), bias(s.n), scales(s.n);
  fill(x, kind, 5, 2.0);
  fill(bias, inputs::uniform, 6);
  fill(scales, inputs::uniform, 7, 0.05);
  const float* const b = biased ? bias.data() : nullptr;
  against_reference<float>(
      op,
      format("m=%lld n=%lld k=%lld %s%s", static_cast<long long>(s.m), static_cast<long long>(s.n),
             static_cast<long long>(s.k), name_of(kind), biased ? " bias" : ""),
      (s.m - 1) * ldy + s.n, {}, [&](esp_context* ctx, float* y) {
        return esp_matmul_wna16(ctx, bits, s.m, s.n, s.k, x, ldx, codes, words, scales, nullptr,
                                s.k, nullptr, b, y, ldy);
      });
}

}  // namespace

CASE(panels_give_the_bits_of_the_reference) {
  for (const char* op : {"panel_product", "fill_panel"}) {
    for (const sizes& s : shapes) {
      check(op, s, s.m % 2 == 1, inputs::uniform);
      check(op, s, s.m % 2 == 0, inputs::heavy_tailed);
    }
    for (inputs kind : every_input) check(op, {50, 20, 33}, true, kind);
  }
}
