// SPDX-License-Identifier: Apache-2.0
//
// Which element of a matrix each register of each thread holds: the closed formulas of the PTX ISA
// (9.7.14, 9.7.15), and whether the golden tables, made from CuTe, say the same.
#ifndef ESPALIER_CUDA_CASES_FRAGMENT_H
#define ESPALIER_CUDA_CASES_FRAGMENT_H

#include "harness.h"
#include "json.h"

namespace cases {

// g = lane / 4, t = lane % 4, w = warp; i counts elements, low bits of low registers first.
using place_of = int (*)(int g, int t, int w, int i);

struct fragment {
  int threads, rows, columns, registers, bits;  // bits of an element
  place_of row, column;

  int each() const { return 32 / bits; }
  int elements() const { return registers * 32 / bits; }
  int row_at(int thread, int i) const { return row(thread % 32 / 4, thread % 4, thread / 32, i); }
  int column_at(int thread, int i) const {
    return column(thread % 32 / 4, thread % 4, thread / 32, i);
  }

  // Registers that hold the matrix [rows, columns] whose elements are given as bits.
  std::vector<uint32_t> spread(const std::vector<uint32_t>& matrix) const {
    std::vector<uint32_t> to(static_cast<size_t>(threads * registers));
    for (int thread = 0; thread < threads; thread++) {
      for (int i = 0; i < elements(); i++) {
        const uint32_t element =
            matrix[static_cast<size_t>(row_at(thread, i) * columns + column_at(thread, i))];
        const uint32_t mask = bits == 32 ? 0xffffffffu : (1u << bits) - 1;
        to[static_cast<size_t>(thread * registers + i / each())] |= (element & mask)
                                                                    << bits * (i % each());
      }
    }
    return to;
  }

  // The matrix that 32-bit registers hold.
  std::vector<uint32_t> gather(const std::vector<uint32_t>& from) const {
    std::vector<uint32_t> matrix(static_cast<size_t>(rows * columns));
    for (int thread = 0; thread < threads; thread++) {
      for (int i = 0; i < elements(); i++)
        matrix[static_cast<size_t>(row_at(thread, i) * columns + column_at(thread, i))] =
            from[static_cast<size_t>(thread * registers + i)];
    }
    return matrix;
  }

  // Against map[thread][register][element] = [row, column].
  void expect_same(const json& table, const std::string& label) const {
    if (table.kind == json::nothing) return;
    const json& map = table["map"];
    expect(map.items.size() == static_cast<size_t>(threads), "%s: threads", label.c_str());
    for (size_t thread = 0; thread < map.items.size(); thread++) {
      int i = 0;
      for (const json& part : map[thread].items) {
        for (const json& place : part.items) {
          expect(place[0].integer == row_at(static_cast<int>(thread), i) &&
                     place[1].integer == column_at(static_cast<int>(thread), i),
                 "%s: thread %zu element %d is [%lld, %lld] there", label.c_str(), thread, i,
                 static_cast<long long>(place[0].integer),
                 static_cast<long long>(place[1].integer));
          i++;
        }
      }
      expect(i == elements(), "%s: elements", label.c_str());
    }
  }
};

inline int row_of_16(int g, int, int, int i) {
  return g + 8 * (i >> 1 & 1);
}
inline int column_of_16(int, int t, int, int i) {
  return 2 * t + (i & 1) + 8 * (i >> 2);
}
inline int row_of_8(int g, int, int, int i) {
  return g + 8 * (i >> 2 & 1);
}
inline int column_of_8(int, int t, int, int i) {
  return 4 * t + (i & 3) + 16 * (i >> 3);
}
inline int depth_of_16(int, int t, int, int i) {
  return 2 * t + (i & 1) + 8 * (i >> 1);
}
inline int depth_of_8(int, int t, int, int i) {
  return 4 * t + (i & 3) + 16 * (i >> 2);
}
inline int g_of(int g, int, int, int) {
  return g;
}
inline int row_of_sum(int g, int, int, int i) {
  return g + 8 * (i >> 1);
}
inline int column_of_sum(int, int t, int, int i) {
  return 2 * t + (i & 1);
}
inline int row_of_group(int g, int, int w, int i) {
  return 16 * w + g + 8 * (i >> 1 & 1);
}

constexpr fragment a_16{32, 16, 16, 4, 16, row_of_16, column_of_16};
constexpr fragment a_8{32, 16, 32, 4, 8, row_of_8, column_of_8};
constexpr fragment b_16{32, 16, 8, 2, 16, depth_of_16, g_of};
constexpr fragment b_8{32, 32, 8, 2, 8, depth_of_8, g_of};
constexpr fragment deep_b_16{32, 32, 8, 4, 16, depth_of_16, g_of};
constexpr fragment deep_b_8{32, 64, 8, 4, 8, depth_of_8, g_of};
constexpr fragment sums{32, 16, 8, 4, 32, row_of_sum, column_of_sum};
constexpr fragment a_group{128, 64, 16, 4, 16, row_of_group, column_of_16};
constexpr fragment group_sums(int n) {
  return {128, 64, n, n / 2, 32, row_of_group, column_of_16};
}

}  // namespace cases

#endif  // ESPALIER_CUDA_CASES_FRAGMENT_H
