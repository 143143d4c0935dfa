// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.model.Model;
import java.util.ArrayList;
import java.util.List;

/**
 * Which calibration texts go through the model together: neighbours, until their widest activations
 * fill a cache. A small model spends as long on the way into an operation as in it, and its
 * products run at their speed only from some hundreds of rows on; a large one takes text by text.
 * The borders follow from the model and the texts alone: sums of fp32 depend on them.
 */
final class Batches {
  /** Elements of a matrix that many tokens high: 2 MiB of fp32, a few of which fit an L3. */
  private static final long ELEMENTS = 1 << 19;

  private Batches() {}

  /** Returns how many tokens may go together; a longer text goes alone. */
  static long mostTokens(Model model) {
    long widest =
        model.blocks().stream()
            .flatMap(block -> block.linears().values().stream())
            .mapToLong(linear -> Math.max(linear.inFeatures(), linear.outFeatures()))
            .max()
            .orElse(1);
    return ELEMENTS / widest;
  }

  /** Returns the texts in their order, in runs of at most {@code mostTokens} tokens or one text. */
  static List<List<int[]>> of(List<int[]> texts, long mostTokens) {
    List<List<int[]>> batches = new ArrayList<>();
    long tokens = 0;
    for (int[] text : texts) {
      if (batches.isEmpty() || tokens + text.length > mostTokens) {
        batches.add(new ArrayList<>());
        tokens = 0;
      }
      batches.get(batches.size() - 1).add(text);
      tokens += text.length;
    }
    return batches;
  }
}
