// SPDX-License-Identifier: Apache-2.0
package espalier.runtime;

/**
 * Tokens that are run alone, from position 0.
 *
 * @param ids at least {@code firstPredicted + 1} of them; owned by the reader of the passage
 * @param firstPredicted index of the first token that is scored, 1 or more; all after it are too
 */
public record Passage(int[] ids, int firstPredicted) {
  public Passage {
    if (firstPredicted < 1 || firstPredicted >= ids.length) {
      throw new IllegalArgumentException(
          "firstPredicted is " + firstPredicted + " of " + ids.length + " tokens");
    }
  }

  /** Returns how many tokens are scored. */
  public int predictions() {
    return ids.length - firstPredicted;
  }
}
