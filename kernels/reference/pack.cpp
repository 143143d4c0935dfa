// SPDX-License-Identifier: Apache-2.0
//
// What      Signed codes to a dense bit stream and back.
// Layout    layout/bit_stream.h.
// Tile      one row.
// Numerics  exact.
// Needs     nothing.
#include "layout/bit_stream.h"
#include "operations.h"

namespace esp {

pack_kernel pack_reference;
unpack_kernel unpack_reference;

void pack_reference(int64_t cols, int32_t bits, const int8_t* codes, uint32_t* words) {
  for (int64_t i = 0; i < stream_words(cols, bits); i++) words[i] = 0;
  for (int64_t c = 0; c < cols; c++) stream_write(words, c, bits, codes[c]);
}

void unpack_reference(int64_t cols, int32_t bits, const uint32_t* words, int8_t* codes) {
  for (int64_t c = 0; c < cols; c++) codes[c] = static_cast<int8_t>(stream_read(words, c, bits));
}

}  // namespace esp
