// SPDX-License-Identifier: Apache-2.0
//
// Where a coder of sparse_rows.h stands among the values of a row, if they are whole bytes.
#ifndef ESPALIER_CURSOR_H
#define ESPALIER_CURSOR_H

#include <stdint.h>

namespace esp {
namespace {

constexpr int64_t prefetch_bytes = 1024;  // ahead of the values: 50 ns at 20 GB/s

struct byte_cursor {
  const uint8_t* p;
  const uint8_t* end;
  byte_cursor() = default;
  byte_cursor(const uint8_t* values, const uint8_t* values_end) : p(values), end(values_end) {}
  void prefetch() const { __builtin_prefetch(p + prefetch_bytes); }
  // How many values of `bytes` bytes there are from here, at most 16.
  int64_t there(int64_t bytes) const {
    const int64_t count = (end - p) / bytes;
    return count < 0 ? 0 : count > 16 ? 16 : count;
  }
};

}  // namespace
}  // namespace esp

#endif  // ESPALIER_CURSOR_H
