// SPDX-License-Identifier: Apache-2.0
//
// Ranges, codes, bit streams and pruning masks: the bits of the CPU's references, or of a
// definition written here.
#include <math.h>

#include "on_device.h"

namespace cases {
namespace {

struct shape {
  int64_t rows, cols, ldw, group;
};
// Groups below, at and above a warp; rows that are no multiple of anything; a whole row; a row that
// two blocks of threads share.
const shape shapes[] = {{1, 1, 1, 1},        {3, 4, 4, 4},       {2, 31, 33, 31},
                        {5, 32, 32, 32},     {3, 33, 40, 11},    {7, 128, 128, 32},
                        {4, 256, 260, 128},  {2, 384, 384, 384}, {3, 1100, 1100, 275},
                        {2, 1280, 1280, 128}};

std::vector<float> weights(const shape& s, inputs kind) {
  std::vector<float> w(static_cast<size_t>(s.rows * s.ldw));
  fill(w.data(), static_cast<int64_t>(w.size()), kind, 7);
  return w;
}

size_t count(int64_t n) {
  return static_cast<size_t>(n);
}

}  // namespace

CASE(cuda_quantize) {
  for (const shape& s : shapes) {
    for (inputs kind : every_input) {
      for (int32_t bits : {2, 3, 4, 8}) {
        for (int32_t symmetric : {0, 1}) {
          for (int32_t tell_ties : {0, 1}) {
            const esp_dtype dtype = bits == 3 ? ESP_BF16 : bits == 4 ? ESP_F16 : ESP_F32;
            const std::vector<float> w = weights(s, kind);
            const int64_t groups = s.rows * s.cols / s.group;
            std::vector<float> scales(count(groups));
            std::vector<int8_t> zeros(count(groups)), codes(count(s.rows * s.cols));
            esp_context* const ctx = context();
            esp_quantize_range(ctx, s.rows, s.cols, w.data(), s.ldw, bits, symmetric, s.group,
                               dtype, 0, 0.0, 0.0, 0, tell_ties, scales.data(), zeros.data());
            esp_quantize_nearest(ctx, s.rows, s.cols, w.data(), s.ldw, bits, s.group, scales.data(),
                                 symmetric ? nullptr : zeros.data(), tell_ties, codes.data());
            const on_device<float> d_w(w), d_scales(groups);
            const on_device<int8_t> d_zeros(groups), d_codes(s.rows * s.cols);
            const std::string label =
                format("%lldx%lld group %lld %s bits %d symmetric %d ties %d",
                       static_cast<long long>(s.rows), static_cast<long long>(s.cols),
                       static_cast<long long>(s.group), name_of(kind), bits, symmetric, tell_ties);
            expect_done(
                cuda().quantize_range(cuda_stream(), s.rows, s.cols, d_w, s.ldw, bits, symmetric,
                                      s.group, dtype, tell_ties, d_scales, d_zeros),
                label);
            expect_done(cuda().quantize_nearest(cuda_stream(), s.rows, s.cols, d_w, s.ldw, bits,
                                                s.group, d_scales,
                                                symmetric ? nullptr : static_cast<int8_t*>(d_zeros),
                                                tell_ties, d_codes),
                        label);
            expect(d_scales.values() == scales, "scales, %s", label.c_str());
            expect(d_zeros.values() == zeros, "zeros, %s", label.c_str());
            expect(d_codes.values() == codes, "codes, %s", label.c_str());
          }
        }
      }
    }
  }
}

CASE(cuda_pack) {
  for (int64_t cols : {1, 3, 7, 8, 9, 31, 32, 33, 64, 100, 2056}) {
    for (int32_t bits = 2; bits <= 8; bits++) {
      const int64_t rows = 3, words = (cols * bits + 31) / 32, ldwords = words + bits % 2;
      std::vector<int8_t> codes(count(rows * cols));
      fill_integers(codes.data(), rows * cols, -(1 << (bits - 1)), (1 << (bits - 1)) - 1,
                    inputs::heavy_tailed, 3);
      std::vector<uint32_t> packed(count(rows * ldwords), 0xffffffffu);
      esp_pack(context(), rows, cols, bits, codes.data(), packed.data(), ldwords);
      const on_device<int8_t> d_codes(codes), d_back(rows * cols);
      const on_device<uint32_t> d_words(rows * ldwords);
      const std::string label =
          format("%lld columns of %d bits", static_cast<long long>(cols), bits);
      expect_done(cuda().pack(cuda_stream(), rows, cols, bits, d_codes, d_words, ldwords), label);
      if (emulated() || ldwords == words)
        expect(d_words.values() == packed, "pack, %s", label.c_str());
      expect_done(cuda().unpack(cuda_stream(), rows, cols, bits, d_words, ldwords, d_back), label);
      expect(d_back.values() == codes, "unpack, %s", label.c_str());
    }
  }
}

CASE(cuda_prune) {
  for (int64_t cols : {1, 3, 4, 8, 12, 64, 100, 1100}) {
    for (inputs kind : every_input) {
      const int64_t rows = 5;
      std::vector<float> w(count(rows * cols)), factor(count(cols));
      fill(w.data(), rows * cols, kind, 7);
      for (size_t i = 0; i < w.size(); i += 5) w[i] = w[i / 2];  // equals
      fill(factor.data(), cols, inputs::uniform, 9);
      for (float& f : factor) f = fabsf(f);
      const on_device<float> d_w(w), d_factor(factor);
      for (const auto& [n, m] :
           {std::pair<int32_t, int32_t>{2, 4}, {1, 4}, {3, 11}, {4, 8}, {1, 2}}) {
        if (cols % m * n % m != 0) continue;
        for (bool wanda : {false, true}) {
          std::vector<uint8_t> kept(w.size());
          expect(esp_select_nm(context(), rows, cols, w.data(), wanda ? factor.data() : nullptr, n,
                               m, kept.data()) == ESP_OK,
                 "%s", esp_last_error());
          const on_device<uint8_t> d_kept(rows * cols);
          expect_done(
              cuda().select_nm(cuda_stream(), rows, cols, d_w,
                               wanda ? static_cast<float*>(d_factor) : nullptr, n, m, d_kept),
              "select_nm");
          expect(d_kept.values() == kept, "%d of %d, %lld columns, %s", n, m,
                 static_cast<long long>(cols), name_of(kind));
          std::vector<float> pruned = w;
          esp_apply_mask(context(), rows, cols, kept.data(), pruned.data());
          const on_device<float> d_pruned(w);
          expect_done(cuda().apply_mask(cuda_stream(), rows, cols, d_kept, d_pruned), "apply_mask");
          expect(d_pruned.values() == pruned, "applied, %lld columns",
                 static_cast<long long>(cols));
        }
      }
    }
  }
}

CASE(cuda_arguments) {
  const on_device<float> w(16), scales(4);
  const on_device<int8_t> bytes(16);
  const auto refused = [](esp_status status, const char* op) {
    expect(status == ESP_INVALID_ARGUMENT, "%s: status %d", op, status);
    expect(strncmp(cuda().last_error(), op, strlen(op)) == 0, "%s: \"%s\"", op,
           cuda().last_error());
  };
  esp_cuda_stream* const s = cuda_stream();
  refused(cuda().quantize_range(s, 4, 4, w, 4, 9, 1, 4, ESP_F32, 1, scales, bytes),
          "quantize_range");
  refused(cuda().quantize_range(s, 4, 4, w, 4, 4, 1, 3, ESP_F32, 1, scales, bytes),
          "quantize_range");
  refused(cuda().quantize_nearest(s, 4, 4, w, 3, 4, 4, scales, bytes, 1, bytes),
          "quantize_nearest");
  refused(cuda().pack(s, 1, 9, 4, bytes, reinterpret_cast<uint32_t*>(static_cast<float*>(w)), 1),
          "pack");
  refused(cuda().select_nm(s, 1, 6, w, nullptr, 1, 4,
                           reinterpret_cast<uint8_t*>(static_cast<int8_t*>(bytes))),
          "select_nm");
  void* memory = nullptr;
  expect(cuda().allocate(s, int64_t{1} << 50, &memory) == ESP_OUT_OF_MEMORY && memory == nullptr,
         "a petabyte");
  esp_cuda_stream* other = nullptr;
  expect(cuda().open(99, &other) == ESP_INVALID_ARGUMENT && other == nullptr, "device 99");
  expect(
      cuda().quantize_range(s, 0, 4, nullptr, 4, 4, 1, 4, ESP_F32, 1, nullptr, nullptr) == ESP_OK,
      "no rows");
}

}  // namespace cases
