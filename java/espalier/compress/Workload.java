// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import java.util.List;

/**
 * How much calibration text goes through the model.
 *
 * @param texts number of texts
 * @param tokens of all texts together
 * @param longest tokens of the longest text
 * @param exact whether the texts were counted, or these are the most there can be
 */
public record Workload(long texts, long tokens, long longest, boolean exact) {
  /** Nothing is read. */
  public static final Workload NONE = new Workload(0, 0, 0, true);

  /** Counts token ids. */
  public static Workload of(List<int[]> texts) {
    long tokens = texts.stream().mapToLong(text -> text.length).sum();
    return new Workload(
        texts.size(), tokens, texts.stream().mapToLong(text -> text.length).max().orElse(0), true);
  }

  /** Returns the most that {@code texts} texts of at most {@code length} tokens can be. */
  public static Workload atMost(long texts, long length) {
    return new Workload(texts, Math.multiplyExact(texts, length), length, false);
  }
}
