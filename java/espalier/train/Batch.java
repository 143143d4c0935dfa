// SPDX-License-Identifier: Apache-2.0
package espalier.train;

/**
 * Some sequences, one after the other and without padding.
 *
 * @param ids tokens
 * @param targets what should follow each of them, or −1 where nothing is asked: the last token of a
 *     sequence, and what a loss mask leaves out
 * @param lengths tokens of every sequence
 */
public record Batch(int[] ids, int[] targets, int[] lengths) {
  /** Returns how many tokens have a target. */
  public int predictions() {
    int count = 0;
    for (int target : targets) {
      count += target < 0 ? 0 : 1;
    }
    return count;
  }
}
