// SPDX-License-Identifier: Apache-2.0
package espalier.train;

import espalier.report.EspalierException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Turns documents into sequences of a training run. */
public final class Packing {
  private Packing() {}

  /**
   * Joins the documents in order and cuts them into rows of one length; the rest at the end is
   * dropped. For plain text: no token is padding, and a row may begin inside a document.
   *
   * @throws EspalierException (INPUT) when the documents do not fill one row
   */
  public static List<Sequence> rows(List<int[]> documents, int length) {
    requireLength(length);
    List<Sequence> rows = new ArrayList<>();
    int[] row = new int[length];
    int filled = 0;
    for (int[] document : documents) {
      for (int id : document) {
        row[filled++] = id;
        if (filled == length) {
          rows.add(new Sequence(row));
          row = new int[length];
          filled = 0;
        }
      }
    }
    if (rows.isEmpty()) {
      throw EspalierException.input(
          "the training text has fewer than " + length + " tokens, which is one row",
          "Give more text, or a shorter sequence length.");
    }
    return rows;
  }

  /**
   * Makes every document a sequence of its own, cut to a length; documents of fewer than two tokens
   * are left out. For examples with a loss mask, which must not see each other.
   *
   * @throws EspalierException (INPUT) when no document is left
   */
  public static List<Sequence> documents(List<Sequence> documents, int length) {
    requireLength(length);
    List<Sequence> cut = new ArrayList<>();
    for (Sequence document : documents) {
      int end = Math.min(length, document.ids().length);
      if (end < 2) {
        continue;
      }
      boolean[] counted = document.counted();
      cut.add(
          new Sequence(
              Arrays.copyOf(document.ids(), end),
              counted == null ? null : Arrays.copyOf(counted, end)));
    }
    if (cut.isEmpty()) {
      throw EspalierException.input(
          "no training document has two tokens", "Give documents with some text.");
    }
    return cut;
  }

  private static void requireLength(int length) {
    if (length < 2) {
      throw EspalierException.usage(
          "a sequence of " + length + " tokens has nothing to predict", "Take at least 2.");
    }
  }
}
