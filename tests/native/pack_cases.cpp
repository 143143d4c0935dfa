// SPDX-License-Identifier: Apache-2.0
//
// Bit streams: known words, every width, every tail.
#include "harness.h"
#include "layout/bit_stream.h"

using namespace cases;

namespace {
constexpr int64_t widths[] = {1,  2,  3,  5,  7,  8,  9,   15,  16,  17,  23,  31, 32,
                              33, 40, 63, 64, 65, 97, 127, 128, 129, 172, 245, 352};
}

CASE(pack_and_unpack_every_width) {
  for (int32_t bits = 2; bits <= 8; bits++) {
    const int64_t low = -(1 << (bits - 1)), high = -low - 1;
    for (int64_t cols : widths) {
      for (inputs kind : every_input) {
        const int64_t rows = 3, words = esp::stream_words(cols, bits);
        buffer<int8_t> codes(rows * cols);
        fill_integers(codes.data(), codes.size(), low, high, kind, static_cast<uint64_t>(cols));
        buffer<uint32_t> stream(rows * words);
        std::vector<double> expected(static_cast<size_t>(rows * words));
        for (int64_t r = 0; r < rows; r++) {
          for (int64_t c = 0; c < cols; c++)
            esp::stream_write(stream + r * words, c, bits, codes[r * cols + c]);
        }
        for (int64_t i = 0; i < stream.size(); i++) expected[static_cast<size_t>(i)] = stream[i];
        const std::string label =
            format("bits=%d cols=%lld %s", bits, static_cast<long long>(cols), name_of(kind));
        against_definition<uint32_t>("pack", label, expected, within(0.0),
                                     [&](esp_context* ctx, uint32_t* out) {
                                       return esp_pack(ctx, rows, cols, bits, codes, out, words);
                                     });
        against_definition<int8_t>("unpack", label, std::vector<double>(codes.begin(), codes.end()),
                                   within(0.0), [&](esp_context* ctx, int8_t* out) {
                                     return esp_unpack(ctx, rows, cols, bits, stream, words, out);
                                   });
      }
    }
  }
}

CASE(unpack_ignores_pad_bits_and_spare_words) {
  for (int32_t bits = 2; bits <= 8; bits++) {
    const int64_t cols = 13, ld = esp::stream_words(cols, bits) + 2;
    buffer<uint32_t> stream(2 * ld - 2);
    buffer<int8_t> codes(2 * cols);
    fill_integers(codes.data(), codes.size(), -2, 1, inputs::uniform, 3);
    for (int64_t i = 0; i < stream.size(); i++) stream[i] = 0;
    for (int64_t r = 0; r < 2; r++) {
      for (int64_t c = 0; c < cols; c++)
        esp::stream_write(stream + r * ld, c, bits, codes[r * cols + c]);
      for (int64_t at = cols * bits; at < 32 * (ld - 2); at++)
        stream[r * ld + at / 32] |= 1u << (at % 32);
    }
    against_definition<int8_t>("unpack", format("bits=%d pad", bits),
                               std::vector<double>(codes.begin(), codes.end()), within(0.0),
                               [&](esp_context* ctx, int8_t* out) {
                                 return esp_unpack(ctx, 2, cols, bits, stream, ld, out);
                               });
  }
}

CASE(pack_writes_the_words_of_the_format) {
  int8_t codes[16];
  uint32_t words[4];
  for (int i = 0; i < 16; i++) codes[i] = static_cast<int8_t>(i - 8);
  expect_status(ESP_OK, esp_pack(context(), 1, 16, 4, codes, words, 2), "pack");
  expect(words[0] == 0x76543210u && words[1] == 0xfedcba98u, "4 bits: %08x %08x", words[0],
         words[1]);
  // 0 .. 7 in three bits, the ninth value straddles nothing, the eleventh two words.
  for (int i = 0; i < 12; i++) codes[i] = static_cast<int8_t>(i % 8 - 4);
  expect_status(ESP_OK, esp_pack(context(), 1, 12, 3, codes, words, 2), "pack");
  expect(words[0] == 0x88fac688u && words[1] == 0x00000006u, "3 bits: %08x %08x", words[0],
         words[1]);
  for (int i = 0; i < 4; i++) codes[i] = static_cast<int8_t>(i == 0 ? -128 : i == 1 ? 127 : i);
  expect_status(ESP_OK, esp_pack(context(), 1, 4, 8, codes, words, 1), "pack");
  expect(words[0] == 0x8382ff00u, "8 bits: %08x", words[0]);
}

CASE(pack_refuses_bad_arguments) {
  int8_t codes[16] = {};
  uint32_t words[4] = {};
  expect_status(ESP_INVALID_ARGUMENT, esp_pack(context(), 1, 16, 1, codes, words, 4), "pack");
  expect_status(ESP_INVALID_ARGUMENT, esp_pack(context(), 1, 16, 9, codes, words, 4), "pack");
  expect_status(ESP_INVALID_ARGUMENT, esp_pack(context(), 1, 16, 4, codes, words, 1), "pack");
  expect_status(ESP_INVALID_ARGUMENT, esp_unpack(context(), 1, 16, 4, words, 1, codes), "unpack");
  expect_status(ESP_INVALID_ARGUMENT, esp_unpack(context(), 1, 16, 4, nullptr, 2, codes), "unpack");
  expect_status(ESP_OK, esp_pack(context(), 0, 16, 4, nullptr, nullptr, 2), "pack");
}
