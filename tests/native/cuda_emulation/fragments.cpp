// SPDX-License-Identifier: Apache-2.0
#include "fragments.h"

#include <math.h>
#include <string.h>

#include <vector>

#include "engine.h"

namespace cuda_emulation {

float from_bf16(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

float from_f16(uint16_t x) {
  const int exponent = x >> 10 & 31;
  const float mantissa = static_cast<float>(x & 1023);
  const float size = exponent == 31  ? (x & 1023 ? NAN : INFINITY)
                     : exponent == 0 ? ldexpf(mantissa, -24)
                                     : ldexpf(mantissa + 1024.0f, exponent - 25);
  return x >> 15 ? -size : size;
}

uint16_t to_bf16(double x) {
  if (isnan(x)) return 0x7fff;
  // To odd in fp32 first, so that the second rounding sees whether anything was cut off.
  float f = static_cast<float>(x);
  uint32_t bits;
  memcpy(&bits, &f, sizeof bits);
  if (!isinf(f) && static_cast<double>(f) != x) {
    if ((fabs(static_cast<double>(f)) > fabs(x))) bits--;
    bits |= 1;
  }
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

namespace {

int lane_of(int i) {
  return i & (lanes - 1);
}
uint16_t half_of(const uint32_t* registers, int i) {
  return static_cast<uint16_t>(registers[i / 2] >> 16 * (i % 2));
}
int8_t byte_of(const uint32_t* registers, int i) {
  return static_cast<int8_t>(registers[i / 4] >> 8 * (i % 4));
}

struct rows {
  uint32_t* r;
  unsigned char* row;
  int matrices;
  bool transposed;
};

// The 16-bit element e of register j of lane l is [matrix, row, element]: j, l / 4, 2 (l % 4) + e.
template <class F>
void each_element(void* const* all, const F& act) {
  const rows& any = *static_cast<const rows*>(all[0]);
  for (int l = 0; l < lanes; l++) {
    for (int j = 0; j < any.matrices; j++) {
      for (int e = 0; e < 2; e++) {
        const int x = l >> 2, y = 2 * (l & 3) + e;
        const int row = any.transposed ? y : x, column = any.transposed ? x : y;
        act(static_cast<rows*>(all[l])->r + j, 16 * e,
            static_cast<rows*>(all[8 * j + row])->row + 2 * column);
      }
    }
  }
}

// Eight rows a matrix; each goes by itself, so that a conflict is one of eight 16-byte rows.
void check_rows(const char* what, const rows& r) {
  if (lane_of(running->number) < 8 * r.matrices) check_shared(what, r.row, 16, 16);
}

}  // namespace

void ldmatrix(uint32_t* r, int matrices, const void* row, bool transposed) {
  rows mine{r, static_cast<unsigned char*>(const_cast<void*>(row)), matrices, transposed};
  check_rows("ldmatrix", mine);
  if (lane_of(running->number) < 8 * matrices) touch(access::shared_load, row, 16, -1);
  for (int j = 0; j < matrices; j++) r[j] = 0;
  warp_together(
      0xffffffffu,
      [](void* const* all) {
        count_instruction();
        each_element(all, [](uint32_t* to, int shift, const unsigned char* from) {
          uint16_t element;
          memcpy(&element, from, 2);
          *to |= static_cast<uint32_t>(element) << shift;
        });
      },
      &mine);
}

void stmatrix(void* row, const uint32_t* r, int matrices, bool transposed) {
  rows mine{const_cast<uint32_t*>(r), static_cast<unsigned char*>(row), matrices, transposed};
  check_rows("stmatrix", mine);
  if (lane_of(running->number) < 8 * matrices) touch(access::shared_store, row, 16, -2);
  warp_together(
      0xffffffffu,
      [](void* const* all) {
        count_instruction();
        each_element(all, [](const uint32_t* from, int shift, unsigned char* to) {
          const uint16_t element = static_cast<uint16_t>(*from >> shift);
          memcpy(to, &element, 2);
        });
      },
      &mine);
}

uint32_t movmatrix(uint32_t a) {
  uint32_t pair[2] = {a, 0};
  warp_together(
      0xffffffffu,
      [](void* const* all) {
        uint16_t matrix[8][8];
        for (int l = 0; l < lanes; l++) {
          for (int e = 0; e < 2; e++)
            matrix[l >> 2][2 * (l & 3) + e] = half_of(static_cast<const uint32_t*>(all[l]), e);
        }
        for (int l = 0; l < lanes; l++) {
          const int x = l >> 2, y = 2 * (l & 3);
          static_cast<uint32_t*>(all[l])[1] = matrix[y][x] | static_cast<uint32_t>(matrix[y + 1][x])
                                                                 << 16;
        }
      },
      pair);
  return pair[1];
}

namespace {

struct product_operands {
  kind type;
  void* d;
  const uint32_t *a, *b, *metadata;
  int selector;
};

// One product of m16n8: K columns of a and rows of b after expansion.
template <class T, int K>
struct tile {
  T a[16][K] = {}, b[K][8], d[16][8];
};

// Spreads the packed element (row, column) of a sparse operand over the dense columns.
template <class T, int K>
int dense_column(tile<T, K>&, const product_operands* const* all, kind type, int selector, int row,
                 int column) {
  const int chunk = column / 2, g = row % 8;
  int lane, nibble;
  if (type == kind::s8) {  // lane bit 0 = row + 8, bit 1 = k + 32
    lane = 4 * g + 2 * (chunk / 8) + row / 8;
    nibble = chunk % 8;
  } else {
    lane = 4 * g + 2 * selector + chunk / 4;
    nibble = 4 * (row / 8) + chunk % 4;
  }
  const uint32_t places = *all[lane]->metadata >> 4 * nibble & 15;
  const uint32_t first = places & 3, second = places >> 2;
  if (first >= second)
    fault("mma.sp: metadata %u of lane %d group %d is not two ascending places", places, lane,
          nibble);
  return 4 * chunk + static_cast<int>(column % 2 == 0 ? first : second);
}

template <class T>
T element_of(kind type, const uint32_t* registers, int i) {
  if (type == kind::s8) return static_cast<T>(byte_of(registers, i));
  const uint16_t h = half_of(registers, i);
  return static_cast<T>(type == kind::bf16 ? from_bf16(h) : from_f16(h));
}

// per: elements a register; K: the depth of b, twice the stored depth of a sparse a.
template <class T, int K>
void multiply(void* const* operands) {
  const product_operands* all[lanes];
  for (int l = 0; l < lanes; l++) all[l] = static_cast<const product_operands*>(operands[l]);
  const product_operands& any = *all[0];
  const int per = any.type == kind::s8 ? 4 : 2;
  const bool sparse = any.metadata != nullptr;
  tile<T, K> t;
  for (int l = 0; l < lanes; l++) {
    const int g = l >> 2, q = l & 3;
    for (int i = 0; i < 4 * per; i++) {
      const int row = g + 8 * (i / per & 1);
      const int column = per * q + i % per + 4 * per * (i / (2 * per));
      const int dense = sparse ? dense_column(t, all, any.type, any.selector, row, column) : column;
      t.a[row][dense] = element_of<T>(any.type, all[l]->a, i);
    }
    for (int i = 0; i < K / 4; i++)
      t.b[per * q + i % per + 4 * per * (i / per)][g] = element_of<T>(any.type, all[l]->b, i);
    for (int i = 0; i < 4; i++)
      t.d[g + 8 * (i / 2)][2 * q + i % 2] = static_cast<const T*>(all[l]->d)[i];
  }
  const bool up = random_below(2) == 0;
  for (int k = 0; k < K; k++) {
    const int at = up ? k : K - 1 - k;
    for (int r = 0; r < 16; r++) {
      for (int c = 0; c < 8; c++) t.d[r][c] += t.a[r][at] * t.b[at][c];
    }
  }
  for (int l = 0; l < lanes; l++) {
    for (int i = 0; i < 4; i++)
      static_cast<T*>(all[l]->d)[i] = t.d[(l >> 2) + 8 * (i / 2)][2 * (l & 3) + i % 2];
  }
  count_mma();
}

}  // namespace

void mma(kind type, void* d, const uint32_t* a, const uint32_t* b, const uint32_t* metadata,
         int selector) {
  product_operands mine{type, d, a, b, metadata, selector};
  const bool sparse = metadata != nullptr;
  warp_together(0xffffffffu,
                type == kind::s8 ? (sparse ? &multiply<int32_t, 64> : &multiply<int32_t, 32>)
                                 : (sparse ? &multiply<float, 32> : &multiply<float, 16>),
                &mine);
}

void mma_f64(double* d, double a, double b) {
  struct operands {
    double* d;
    double a, b;
  } mine{d, a, b};
  warp_together(
      0xffffffffu,
      [](void* const* all) {
        const auto of = [&](int l) { return static_cast<const operands*>(all[l]); };
        for (int l = 0; l < lanes; l++) {
          for (int i = 0; i < 2; i++) {
            double sum = of(l)->d[i];
            for (int k = 0; k < 4; k++)
              sum = fma(of(l / 4 * 4 + k)->a, of((2 * (l & 3) + i) * 4 + k)->b, sum);
            of(l)->d[i] = sum;
          }
        }
        count_mma();
      },
      &mine);
}

namespace {

struct group_operands {
  float* d;
  const uint32_t* a;
  uint64_t place_a, place_b;
  int n;
  bool add;
  fiber* of;
};

// Element (mn, k) of a K-major operand with rows of 8 x `width` 16-byte chunks.
uint16_t placed(const block* b, uint64_t place, int mn, int k) {
  const uint32_t start = static_cast<uint32_t>(place & 0x3fff) << 4;
  const uint32_t leading = static_cast<uint32_t>(place >> 16 & 0x3fff) << 4;
  const uint32_t stride = static_cast<uint32_t>(place >> 32 & 0x3fff) << 4;
  const uint32_t mode = static_cast<uint32_t>(place >> 62);
  const uint32_t chunks = mode == 0 ? 1 : mode == 1 ? 8 : mode == 2 ? 4 : 2;  // a row of the atom
  const uint32_t chunk = static_cast<uint32_t>(k) / 8;
  const uint32_t m = static_cast<uint32_t>(mn);
  uint32_t at = start + m % 8 * chunks * 16 + m / 8 * stride + chunk * (mode == 0 ? leading : 16) +
                static_cast<uint32_t>(k) % 8 * 2;
  at ^= (at >> 7 & (chunks - 1)) << 4;
  if (at + 2 > b->shared_bytes)
    fault("wgmma: reads byte %u of %zu of shared memory", at, b->shared_bytes);
  uint16_t element;
  memcpy(&element, b->shared + at, 2);
  return element;
}

struct group_values {
  std::vector<float> a = std::vector<float>(64 * 16, 0.0f), d;
  float* to[group_threads];
  uint64_t place_a, place_b;
  int n;
  bool a_placed, add;
  const block* home;
};

void finish(group_values& v) {
  for (int r = 0; v.a_placed && r < 64; r++) {
    for (int k = 0; k < 16; k++)
      v.a[static_cast<size_t>(r * 16 + k)] = from_bf16(placed(v.home, v.place_a, r, k));
  }
  std::vector<float> b(static_cast<size_t>(v.n * 16));
  for (int c = 0; c < v.n; c++) {
    for (int k = 0; k < 16; k++)
      b[static_cast<size_t>(c * 16 + k)] = from_bf16(placed(v.home, v.place_b, c, k));
  }
  const bool up = random_below(2) == 0;
  for (int t = 0; t < group_threads; t++) {
    const int l = t % lanes;
    for (int i = 0; i < v.n / 2; i++) {
      const int row = 16 * (t / lanes) + (l >> 2) + 8 * (i >> 1 & 1);
      const int column = 2 * (l & 3) + (i & 1) + 8 * (i >> 2);
      float sum = v.add ? v.d[static_cast<size_t>(t * v.n / 2 + i)] : 0.0f;
      for (int k = 0; k < 16; k++) {
        const int at = up ? k : 15 - k;
        sum += v.a[static_cast<size_t>(row * 16 + at)] * b[static_cast<size_t>(column * 16 + at)];
      }
      v.to[t][i] = sum;
    }
  }
}

}  // namespace

// The accumulators are NaN until the wait, whose order of products is the order of issue; each
// product of a chain therefore begins from what the one before it will leave.
void wgmma(float* d, int n, const uint32_t* a, uint64_t place_a, uint64_t place_b, bool add) {
  group_operands mine{d, a, place_a, place_b, n, add, running};
  group_together(
      [](void* const* all) {
        const group_operands& any = *static_cast<const group_operands*>(all[0]);
        // Before anything is allocated that a fault would leave behind.
        const int group = any.of->number / group_threads;
        if (!any.of->home->groups[static_cast<size_t>(group)].fenced)
          fault("wgmma without a wgmma.fence since its registers were last touched");
        group_values v;
        v.place_a = any.place_a;
        v.place_b = any.place_b;
        v.n = any.n;
        v.a_placed = any.a == nullptr;
        v.add = any.add;
        v.home = any.of->home;
        v.d.resize(static_cast<size_t>(group_threads * any.n / 2));
        for (int t = 0; t < group_threads; t++) {
          const group_operands& of = *static_cast<const group_operands*>(all[t]);
          const int l = t % lanes;
          for (int i = 0; !v.a_placed && i < 8; i++) {
            const int row = 16 * (t / lanes) + (l >> 2) + 8 * (i >> 1 & 1);
            const int column = 2 * (l & 3) + (i & 1) + 8 * (i >> 2);
            v.a[static_cast<size_t>(row * 16 + column)] = from_bf16(half_of(of.a, i));
          }
          v.to[t] = of.d;
        }
        // Of accumulators already under way only the first product of the chain knows the values.
        bool chained = false;
        for (int t = 0; t < group_threads; t++) {
          for (int i = 0; i < v.n / 2; i++) {
            uint32_t bits;
            memcpy(&bits, v.to[t] + i, sizeof bits);
            chained |= bits == 0xffffffffu;
            v.d[static_cast<size_t>(t * v.n / 2 + i)] = v.to[t][i];
            memset(v.to[t] + i, 0xff, sizeof(float));
          }
        }
        products_queue(any.of, [v, chained]() mutable {
          for (int t = 0; chained && v.add && t < group_threads; t++) {
            for (int i = 0; i < v.n / 2; i++)
              v.d[static_cast<size_t>(t * v.n / 2 + i)] = v.to[t][i];
          }
          finish(v);
        });
        count_mma();
      },
      &mine);
}

}  // namespace cuda_emulation
