// SPDX-License-Identifier: Apache-2.0
package espalier.train;

/**
 * Tokens that are read together, from position 0 on.
 *
 * @param ids at least two, or there is nothing to predict
 * @param counted whether the loss counts the prediction of each token; null for all. That of the
 *     first is never made
 */
public record Sequence(int[] ids, boolean[] counted) {
  /** Creates a sequence of which every token but the first counts. */
  public Sequence(int[] ids) {
    this(ids, null);
  }

  /** Returns what should follow token {@code i}, or −1 where nothing is asked. */
  int target(int i) {
    boolean asked = i + 1 < ids.length && (counted == null || counted[i + 1]);
    return asked ? ids[i + 1] : -1;
  }
}
