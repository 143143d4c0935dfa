// SPDX-License-Identifier: Apache-2.0
//
// Selection by score for callers inside the library; see select.cpp.
#ifndef ESPALIER_SELECT_H
#define ESPALIER_SELECT_H

#include "internal.h"

namespace esp {

// Rows of weights, or of scores where factor is null and nothing is negative.
struct scored_rows {
  int64_t rows, cols;
  const float* x;  // [rows, cols] ldx
  int64_t ldx;
  const float* factor;  // [cols] or null
};

// kept[r, c] = 0 for the `count` smallest scores |x| * factor of all rows together, 1 for the
// others; of equals the lower row, then the lower column, goes first, or with all_ties all that
// equal the last to go. 0 <= count <= rows * cols.
esp_status select_smallest(esp_context* ctx, const scored_rows& m, int64_t count, bool all_ties,
                           uint8_t* kept, int64_t ldkept);

}  // namespace esp

#endif  // ESPALIER_SELECT_H
