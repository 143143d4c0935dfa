// SPDX-License-Identifier: Apache-2.0
package espalier.runtime;

import espalier.tensor.Context;
import espalier.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Rows [from, to) of a passage's hidden states, few enough that their logits stay small: a long
 * text times a large vocabulary would be gigabytes.
 *
 * @param from the first row; it predicts token {@code from + 1}
 * @param to past the last row
 */
record RowRange(int from, int to) {
  /** Logits held at a time: 4M floats, 16 MiB. */
  private static final long LOGITS = 1L << 22;

  /** Returns the rows that predict, cut into ranges that depend on the vocabulary alone. */
  static List<RowRange> of(Passage passage, long vocabulary) {
    int step = step(vocabulary);
    List<RowRange> ranges = new ArrayList<>();
    int end = passage.ids().length - 1;
    for (int from = passage.firstPredicted() - 1; from < end; from += step) {
      ranges.add(new RowRange(from, Math.min(end, from + step)));
    }
    return ranges;
  }

  /** Returns how many rows of logits are held at a time. */
  static int step(long vocabulary) {
    return (int) Math.max(1, LOGITS / vocabulary);
  }

  Tensor of(Tensor hidden) {
    return hidden.rows(from, to);
  }

  /** Returns the tokens these rows predict, I32 [to − from], in the current scope. */
  Tensor targets(Context context, Passage passage) {
    return context.ints(Arrays.copyOfRange(passage.ids(), from + 1, to + 1), to - from);
  }
}
