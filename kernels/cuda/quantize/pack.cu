// SPDX-License-Identifier: Apache-2.0
//
// What      Codes to the dense bit stream of layout/bit_stream.h and back.
// Layout    codes [rows, cols] bytes; words [rows, ldwords], a row ceil(cols * bits / 32) long.
// Tile      pack: a thread a word, so that no two write the same; a code that straddles two words
// is
//           read twice. Eight codes of 4 bits are one load where cols is a multiple of 8. unpack: a
//           thread four codes where cols is a multiple of 4, else one.
// Roof      bytes: 1 + bits / 8 a weight.
// Needs     sm_80.
#include "cuda/device.h"
#include "entries.h"
#include "grid.h"
#include "layout/bit_stream.h"

namespace esp {
namespace cuda {
namespace {

__global__ void __launch_bounds__(element_threads)
    pack_kernel(int64_t rows, int64_t cols, int32_t bits, const int8_t* codes, uint32_t* words,
                int64_t ldwords) {
  each_element(rows, stream_words(cols, bits), 1, [&](int64_t r, int64_t i) {
    uint32_t word = 0;
    for (int64_t c = 32 * i / bits; c < cols && c * bits < 32 * (i + 1); c++) {
      const uint32_t stored =
          static_cast<uint32_t>(load(codes + r * cols + c) + stream_offset(bits)) &
          stream_mask(bits);
      const int32_t at = static_cast<int32_t>(c * bits - 32 * i);  // < 0: began a word before
      word |= at < 0 ? stored >> -at : stored << at;
    }
    store(words + r * ldwords + i, word);
  });
}

// cols a multiple of 8. Bytes q + 8 are gathered four at a time: no carry leaves a byte.
__global__ void __launch_bounds__(element_threads)
    pack_4_kernel(int64_t rows, int64_t cols, const int8_t* codes, uint32_t* words,
                  int64_t ldwords) {
  each_element(rows, cols / 8, 1, [&](int64_t r, int64_t i) {
    const uint2 eight = load(reinterpret_cast<const uint2*>(codes + r * cols + 8 * i));
    const uint32_t half[2] = {eight.x, eight.y};
    uint32_t word = 0;
    for (int h = 0; h < 2; h++) {
      uint32_t four = (half[h] ^ 0x08080808u) & 0x0f0f0f0fu;  // q + 8 of a 4-bit q
      four |= four >> 4;
      word |= ((four & 0xff) | (four >> 8 & 0xff00)) << 16 * h;
    }
    store(words + r * ldwords + i, word);
  });
}

template <int step>
__global__ void __launch_bounds__(element_threads)
    unpack_kernel(int64_t rows, int64_t cols, int32_t bits, const uint32_t* words, int64_t ldwords,
                  int8_t* codes) {
  each_element(rows, cols, step, [&](int64_t r, int64_t c) {
    const uint32_t* const row = words + r * ldwords;
    uint32_t four = 0;
    for (int i = 0; i < step; i++)
      four |= (static_cast<uint32_t>(stream_read(row, c + i, bits)) & 0xff) << 8 * i;
    if (step == 4) {
      store(reinterpret_cast<uint32_t*>(codes + r * cols + c), four);
    } else {
      store(codes + r * cols + c, static_cast<int8_t>(four));
    }
  });
}

esp_status check(const char* op, const esp_cuda_stream* s, int64_t rows, int64_t cols, int32_t bits,
                 int64_t ldwords, const void* codes, const void* words) {
  ESP_CUDA_REQUIRE(op, s != nullptr, "a stream", s != nullptr);
  ESP_CUDA_REQUIRE(op, rows >= 0, "rows >= 0", rows);
  ESP_CUDA_REQUIRE(op, cols >= 0, "cols >= 0", cols);
  ESP_CUDA_REQUIRE(op, bits >= 2 && bits <= 8, "2..8", bits);
  if (rows == 0 || cols == 0) return ESP_OK;
  ESP_CUDA_REQUIRE(op, ldwords >= stream_words(cols, bits), "ldwords >= ceil(cols * bits / 32)",
                   ldwords);
  ESP_CUDA_REQUIRE(op, codes != nullptr, "an address", codes != nullptr);
  ESP_CUDA_REQUIRE(op, words != nullptr, "an address", words != nullptr);
  return ESP_OK;
}

}  // namespace

esp_status pack(esp_cuda_stream* s, int64_t rows, int64_t cols, int32_t bits, const int8_t* d_codes,
                uint32_t* d_words, int64_t ldwords) {
  const esp_status status = check("pack", s, rows, cols, bits, ldwords, d_codes, d_words);
  if (status != ESP_OK || rows == 0 || cols == 0) return status;
  const dim3 grid = element_grid(rows, stream_words(cols, bits), 1), block(element_threads);
  if (bits == 4 && cols % 8 == 0)
    return told("pack", launch(pack_4_kernel, grid, block, 0, s->handle, rows, cols, d_codes,
                               d_words, ldwords));
  return told("pack", launch(pack_kernel, grid, block, 0, s->handle, rows, cols, bits, d_codes,
                             d_words, ldwords));
}

esp_status unpack(esp_cuda_stream* s, int64_t rows, int64_t cols, int32_t bits,
                  const uint32_t* d_words, int64_t ldwords, int8_t* d_codes) {
  const esp_status status = check("unpack", s, rows, cols, bits, ldwords, d_codes, d_words);
  if (status != ESP_OK || rows == 0 || cols == 0) return status;
  const int step = cols % 4 == 0 ? 4 : 1;
  return told("unpack", launch(step == 4 ? unpack_kernel<4> : unpack_kernel<1>,
                               element_grid(rows, cols, step), dim3(element_threads), 0, s->handle,
                               rows, cols, bits, d_words, ldwords, d_codes));
}

}  // namespace cuda
}  // namespace esp
