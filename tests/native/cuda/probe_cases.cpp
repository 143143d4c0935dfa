// SPDX-License-Identifier: Apache-2.0
//
// Every wrapper of ptx.h on one warp or warpgroup (kernels/cuda/probe): elements go where the PTX
// ISA and the golden tables say, products are exact on small integers.
#include <math.h>

#include <algorithm>

#include "fragment.h"
#include "on_device.h"

namespace cases {
namespace {

using words = std::vector<uint32_t>;

words join(std::initializer_list<words> parts) {
  words all;
  for (const words& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

words probe(const char* instruction, const words& in, int64_t results) {
  const on_device<uint32_t> from(in), to(results);
  expect_done(cuda().probe(cuda_stream(), instruction, from, to), instruction);
  return to.values();
}

std::vector<int> small_integers(size_t n, uint64_t seed) {
  std::vector<int> values(n);
  fill_integers(values.data(), static_cast<int64_t>(n), -8, 7, inputs::uniform, seed);
  return values;
}

enum class element { bf16, f16, s8, f32, s32 };

// The bits of an integer of at most 8 bits and a sign.
uint32_t bits_of(element type, int value) {
  if (type == element::s8 || type == element::s32) return static_cast<uint32_t>(value);
  const float f = static_cast<float>(value);
  uint32_t bits;
  memcpy(&bits, &f, sizeof bits);
  if (type == element::f32) return bits;
  if (type == element::bf16) return bits >> 16;
  if (value == 0) return 0;
  return (bits >> 16 & 0x8000) | (((bits >> 23 & 0xff) - 112) << 10) | (bits >> 13 & 0x3ff);
}

words bits_of(element type, const std::vector<int>& values) {
  words bits;
  for (int v : values) bits.push_back(bits_of(type, v));
  return bits;
}

std::vector<int> product(int m, int n, int k, const std::vector<int>& a, const std::vector<int>& b,
                         const std::vector<int>& c) {
  std::vector<int> d = c;
  for (int i = 0; i < m; i++) {
    for (int j = 0; j < n; j++) {
      for (int p = 0; p < k; p++)
        d[static_cast<size_t>(i * n + j)] +=
            a[static_cast<size_t>(i * k + p)] * b[static_cast<size_t>(p * n + j)];
    }
  }
  return d;
}

void dense(const char* instruction, element type, const fragment& fa, const fragment& fb) {
  const element sum = type == element::s8 ? element::s32 : element::f32;
  const auto a = small_integers(static_cast<size_t>(16 * fa.columns), 1);
  const auto b = small_integers(static_cast<size_t>(fb.rows * 8), 2);
  const auto c = small_integers(16 * 8, 3);
  const words d = probe(instruction,
                        join({fa.spread(bits_of(type, a)), fb.spread(bits_of(type, b)),
                              sums.spread(bits_of(sum, c))}),
                        128);
  expect(sums.gather(d) == bits_of(sum, product(16, 8, fb.rows, a, b, c)), "%s", instruction);
}

// Row and chunk of 4-bit group j of a lane's metadata; whether the lane's register counts.
struct metadata {
  int (*row)(int lane, int j);
  int (*chunk)(int lane, int j);
  bool (*counts)(int lane, int selector);
};
constexpr metadata metadata_16{[](int l, int j) { return l / 4 + 8 * (j / 4); },
                               [](int l, int j) { return 4 * (l & 1) + j % 4; },
                               [](int l, int s) { return (l >> 1 & 1) == s; }};
constexpr metadata metadata_8{[](int l, int) { return l / 4 + 8 * (l & 1); },
                              [](int l, int j) { return 8 * (l >> 1 & 1) + j; },
                              [](int, int) { return true; }};

// Every chunk takes one of the six pairs, so that in the end all occur everywhere.
void sparse(const char* instruction, element type, int selector, const fragment& fa,
            const fragment& fb, const metadata& places) {
  static constexpr int pairs[6][2] = {{0, 1}, {0, 2}, {1, 2}, {0, 3}, {1, 3}, {2, 3}};
  const element sum = type == element::s8 ? element::s32 : element::f32;
  const int k = fb.rows;
  for (int turn = 0; turn < 6; turn++) {
    const auto packed = small_integers(static_cast<size_t>(16 * k / 2), 11);
    const auto b = small_integers(static_cast<size_t>(k * 8), 12), c = small_integers(128, 13);
    std::vector<int> a(static_cast<size_t>(16 * k), 0);
    const auto pair_at = [&](int row, int chunk) { return pairs[(turn + 5 * row + chunk) % 6]; };
    for (int row = 0; row < 16; row++) {
      for (int i = 0; i < k / 2; i++)
        a[static_cast<size_t>(row * k + i / 2 * 4 + pair_at(row, i / 2)[i % 2])] =
            packed[static_cast<size_t>(row * k / 2 + i)];
    }
    words e;
    for (int l = 0; l < 32; l++) {
      uint32_t word = 0x12345678;  // where nobody reads
      for (int j = 0; places.counts(l, selector) && j < 8; j++) {
        const int* const pair = pair_at(places.row(l, j), places.chunk(l, j));
        word = j == 0 ? 0 : word;
        word |= static_cast<uint32_t>(pair[0] | pair[1] << 2) << 4 * j;
      }
      e.push_back(word);
    }
    const words d = probe(instruction,
                          join({fa.spread(bits_of(type, packed)), fb.spread(bits_of(type, b)),
                                sums.spread(bits_of(sum, c)), e}),
                          128);
    expect(sums.gather(d) == bits_of(sum, product(16, 8, k, a, b, c)), "%s turn %d", instruction,
           turn);
  }
}

void same_metadata(const json& table, const metadata& places, int selectors) {
  for (int s = 0; table.kind != json::nothing && s < selectors; s++) {
    const json& map = table["E"]["map"][std::to_string(s)];
    expect(map.items.size() == 32, "metadata of 32 lanes");
    for (int l = 0; l < 32; l++) {
      const json& lane = map[static_cast<size_t>(l)];
      expect((lane.kind == json::array) == places.counts(l, s), "lane %d of selector %d", l, s);
      for (size_t j = 0; j < lane.items.size(); j++)
        expect(lane[j][0].integer == places.row(l, static_cast<int>(j)) &&
                   lane[j][1].integer == places.chunk(l, static_cast<int>(j)),
               "metadata of lane %d group %zu", l, j);
    }
  }
}

}  // namespace

CASE(probe_mma) {
  const json wide = golden_table("mma-m16n8k16-f16-bf16"),
             bytes = golden_table("mma-m16n8k32-s8-u8");
  a_16.expect_same(wide["A"], "A");
  b_16.expect_same(wide["B"], "B");
  sums.expect_same(wide["C"], "C");
  a_8.expect_same(bytes["A"], "A of bytes");
  b_8.expect_same(bytes["B"], "B of bytes");
  sums.expect_same(bytes["C"], "C of bytes");
  each_order([](uint64_t) {
    dense("mma.bf16", element::bf16, a_16, b_16);
    dense("mma.f16", element::f16, a_16, b_16);
    dense("mma.s8", element::s8, a_8, b_8);
  });
}

CASE(probe_mma_sparse) {
  const json wide = golden_table("mma-sp-m16n8k32-f16-bf16");
  const json bytes = golden_table("mma-sp-m16n8k64-s8-u8-fp8");
  a_16.expect_same(wide["A"], "sparse A");
  deep_b_16.expect_same(wide["B"], "B of sparse");
  a_8.expect_same(bytes["A"], "sparse A of bytes");
  deep_b_8.expect_same(bytes["B"], "B of sparse bytes");
  same_metadata(wide, metadata_16, 2);
  same_metadata(bytes, metadata_8, 1);
  each_order([](uint64_t) {
    sparse("mma.sp.bf16.0", element::bf16, 0, a_16, deep_b_16, metadata_16);
    sparse("mma.sp.bf16.1", element::bf16, 1, a_16, deep_b_16, metadata_16);
    sparse("mma.sp.s8", element::s8, 0, a_8, deep_b_8, metadata_8);
  });
}

CASE(probe_mma_f64) {
  const json table = golden_table("mma-m8n8k4-f64");
  std::vector<double> in(128);
  const auto a = small_integers(32, 1), b = small_integers(32, 2), c = small_integers(64, 3);
  for (int l = 0; l < 32; l++) {
    const int g = l / 4, t = l % 4;
    in[static_cast<size_t>(l)] = a[static_cast<size_t>(g * 4 + t)];
    in[static_cast<size_t>(32 + l)] = b[static_cast<size_t>(t * 8 + g)];
    for (int i = 0; i < 2; i++)
      in[static_cast<size_t>(64 + 2 * l + i)] = c[static_cast<size_t>(g * 8 + 2 * t + i)];
    if (table.kind == json::nothing) continue;
    const auto at = [&](const char* name, size_t r) {
      const json& place = table[name]["map"][static_cast<size_t>(l)][r][0];
      return std::make_pair(place[0].integer, place[1].integer);
    };
    expect(at("A", 0) == std::make_pair(int64_t{g}, int64_t{t}), "A of f64");
    expect(at("B", 0) == std::make_pair(int64_t{t}, int64_t{g}), "B of f64");
    expect(at("C", 1) == std::make_pair(int64_t{g}, int64_t{2 * t + 1}), "C of f64");
  }
  words raw(256);
  memcpy(raw.data(), in.data(), 1024);
  const words out = probe("mma.f64", raw, 128);
  const auto d = product(8, 8, 4, a, b, c);
  for (int l = 0; l < 32; l++) {
    for (int i = 0; i < 2; i++) {
      double got;
      memcpy(&got, out.data() + 4 * l + 2 * i, 8);
      expect(got == d[static_cast<size_t>(l / 4 * 8 + 2 * (l % 4) + i)], "mma.f64");
    }
  }
}

// Matrix j, row r, element c of the image is 64 j + 8 r + c; elements are 16 bits.
CASE(probe_ldmatrix) {
  const json table = golden_table("ldmatrix-stmatrix");
  words image(128);
  for (uint32_t i = 0; i < 128; i++) image[i] = 2 * i | (2 * i + 1) << 16;
  const auto expected = [](int n, bool transposed) {
    words r;
    for (uint32_t l = 0; l < 32; l++) {
      for (uint32_t j = 0; j < static_cast<uint32_t>(n); j++) {
        uint32_t word = 0;
        for (uint32_t e = 0; e < 2; e++) {
          const uint32_t x = l / 4, y = 2 * (l % 4) + e;
          word |= (64 * j + (transposed ? 8 * y + x : 8 * x + y)) << 16 * e;
        }
        r.push_back(word);
      }
    }
    return r;
  };
  for (int n : {1, 2, 4}) {
    for (bool transposed : {false, true}) {
      const std::string size = "x" + std::to_string(n), tail = transposed ? ".trans" : "";
      const words r = probe(("ldmatrix." + size + tail).c_str(),
                            words(image.begin(), image.begin() + 32 * n), 32 * n);
      expect(r == expected(n, transposed), "ldmatrix.%s%s", size.c_str(), tail.c_str());
      const json& variant = table["variants"][size + tail];
      if (table.kind == json::nothing) continue;
      expect(variant.kind == json::object, "a golden table of %s%s", size.c_str(), tail.c_str());
      for (size_t l = 0; l < variant["map"].items.size(); l++) {
        for (size_t j = 0; j < static_cast<size_t>(n); j++) {
          for (size_t e = 0; e < 2; e++) {
            const json& at = variant["map"][l][j][e];
            const uint32_t element =
                static_cast<uint32_t>(64 * at[0].integer + 8 * at[1].integer + at[2].integer);
            expect((r[l * static_cast<size_t>(n) + j] >> 16 * e & 0xffff) == element,
                   "ldmatrix.%s%s lane %zu", size.c_str(), tail.c_str(), l);
          }
        }
      }
    }
  }
  for (bool transposed : {false, true}) {
    const char* const name = transposed ? "stmatrix.x4.trans" : "stmatrix.x4";
    expect(probe(name, expected(4, transposed), 128) == image, "%s", name);
  }
  words pairs, turned;
  for (uint32_t l = 0; l < 32; l++) {
    const uint32_t x = l / 4, y = 2 * (l % 4);
    pairs.push_back((8 * x + y) | (8 * x + y + 1) << 16);
    turned.push_back((8 * y + x) | (8 * (y + 1) + x) << 16);
  }
  expect(probe("movmatrix", pairs, 32) == turned, "movmatrix");
  words exchanged = pairs, from;
  for (uint32_t l = 0; l < 32; l++) from.push_back((7 * l + 3) % 32);
  for (uint32_t l = 0; l < 32; l++) exchanged[l] = pairs[from[l]];
  expect(probe("shuffle", join({pairs, from}), 32) == exchanged, "shuffle");
}

CASE(probe_copies) {
  words in;
  for (uint32_t i = 0; i < 128; i++) in.push_back(0x01010101u * (i + 1));
  for (int bytes : {4, 8, 16}) {
    words valid, expected(128);
    for (int l = 0; l < 32; l++) valid.push_back(static_cast<uint32_t>(l % (bytes + 1)));
    for (size_t l = 0; l < 32; l++) memcpy(&expected[4 * l], &in[4 * l], valid[l]);
    const std::string name = "copy." + std::to_string(bytes);
    expect(probe(name.c_str(), join({in, valid}), 128) == expected, "%s", name.c_str());
  }
  each_order([&](uint64_t) { expect(probe("bulk", in, 128) == in, "bulk"); });
}

// Operands in shared memory lie as the golden table of wgmma's layouts has them.
CASE(probe_wgmma) {
  const json table = golden_table("wgmma-m64nNk16-bf16"), places = golden_table("wgmma-smem");
  a_group.expect_same(table["A"], "A of wgmma");
  for (int n : {8, 16, 32, 64, 128})
    group_sums(n).expect_same(table["D"][std::to_string(n)], "D of wgmma");
  // Mode 0: 8 x 8 blocks of 128 bytes, the next 8 of K `leading` bytes on, the next 8 rows `stride`
  // on. Others (first 16 of K): rows of `width` bytes, chunks of 16 bytes exchanged by the row.
  struct layout {
    uint32_t mode, width;
  };
  const auto place_at = [](const layout& l, uint32_t rows, uint32_t mn, uint32_t k) {
    if (l.mode == 0) return mn / 8 * 128 + mn % 8 * 16 + k / 8 * 16 * rows + k % 8 * 2;
    const uint32_t at = mn * l.width + k * 2;
    return at ^ ((at >> 7 & (l.width / 16 - 1)) << 4);
  };
  for (const layout& l : {layout{0, 16}, layout{3, 32}, layout{2, 64}, layout{1, 128}}) {
    const char* const swizzle = l.mode == 0   ? "none"
                                : l.mode == 1 ? "128B"
                                : l.mode == 2 ? "64B"
                                              : "32B";
    for (const json& of : places["layouts"].items) {
      if (of["major"].string != "K" || of["swizzle"].string != swizzle) continue;
      for (uint32_t mn = 0; mn < 64; mn++) {
        for (uint32_t k = 0; k < 16; k++)
          expect(of["offset"][mn][k].integer == place_at(l, 64, mn, k), "K/%s (%u, %u)", swizzle,
                 mn, k);
      }
    }
    // [rows, 16] at columns `step` .. of 64.
    const auto image = [&](const std::vector<int>& matrix, uint32_t rows, uint32_t step) {
      std::vector<uint16_t> to(rows * 64);
      for (uint32_t mn = 0; mn < rows; mn++) {
        for (uint32_t k = 0; k < 16; k++)
          to[place_at(l, rows, mn, step + k) / 2] =
              static_cast<uint16_t>(bits_of(element::bf16, matrix[mn * 16 + k]));
      }
      words raw(rows * 32);
      memcpy(raw.data(), to.data(), rows * 128);
      return raw;
    };
    const auto run = [&](uint32_t n, bool placed, bool add, uint32_t step) {
      const std::string name = "wgmma.n" + std::to_string(n) + (placed ? ".ss" : ".rs");
      const auto a = small_integers(64 * 16, 21), columns = small_integers(n * 16, 22);
      const auto c = small_integers(64 * n, 23);
      std::vector<int> b(16 * n), start = c;
      for (uint32_t j = 0; j < n; j++) {
        for (uint32_t k = 0; k < 16; k++) b[k * n + j] = columns[j * 16 + k];
      }
      if (!add) std::fill(start.begin(), start.end(), 0);
      const fragment d = group_sums(static_cast<int>(n));
      const auto leading = [&](uint32_t rows) { return l.mode == 0 ? 16 * rows : 16; };
      const words fields = {leading(n),  8 * l.width, l.mode, add,
                            leading(64), 8 * l.width, l.mode, step / 2};
      const words out =
          probe(name.c_str(),
                join({fields, a_group.spread(bits_of(element::bf16, a)), image(a, 64, step),
                      image(columns, n, step), d.spread(bits_of(element::f32, c))}),
                64 * n);
      expect(
          d.gather(out) == bits_of(element::f32, product(64, static_cast<int>(n), 16, a, b, start)),
          "%s %s", name.c_str(), swizzle);
    };
    each_order([&](uint64_t) {
      for (bool add : {false, true}) {
        for (uint32_t n : {8u, 16u, 64u, 128u}) run(n, false, add, 0);
        for (uint32_t n : {8u, 32u, 64u}) run(n, true, add, 0);
        for (uint32_t step = 16; step < l.width / 2; step += 16) run(32, true, add, step);
      }
    });
  }
}

}  // namespace cases
