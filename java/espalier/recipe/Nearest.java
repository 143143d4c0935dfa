// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import java.util.Collection;
import java.util.Locale;
import java.util.Optional;

/** Finds the known word that someone who mistyped probably meant. */
final class Nearest {
  /** Longer words are not compared: a typo is short, and the table below is quadratic. */
  private static final int MAX_LENGTH = 200;

  private Nearest() {}

  /**
   * Returns the word of {@code known} at the least distance from {@code word}, the first such in
   * order, if at most a third of the letters (and at least one) differ.
   */
  static Optional<String> of(String word, Collection<String> known) {
    if (word.length() > MAX_LENGTH) {
      return Optional.empty();
    }
    int best = Math.max(1, word.length() / 3) + 1;
    String found = null;
    for (String candidate : known) {
      if (Math.abs(candidate.length() - word.length()) < best) {
        int distance = distance(lower(word), lower(candidate));
        if (distance < best) {
          best = distance;
          found = candidate;
        }
      }
    }
    return Optional.ofNullable(found);
  }

  private static String lower(String word) {
    return word.toLowerCase(Locale.ROOT);
  }

  /** Returns the edit distance in which swapping two neighbours costs one (optimal alignment). */
  static int distance(String a, String b) {
    int[] beforePrevious = new int[b.length() + 1];
    int[] previous = new int[b.length() + 1];
    int[] current = new int[b.length() + 1];
    for (int j = 0; j <= b.length(); j++) {
      previous[j] = j;
    }
    for (int i = 1; i <= a.length(); i++) {
      current[0] = i;
      for (int j = 1; j <= b.length(); j++) {
        int replace = previous[j - 1] + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
        current[j] = Math.min(replace, 1 + Math.min(previous[j], current[j - 1]));
        if (i > 1
            && j > 1
            && a.charAt(i - 1) == b.charAt(j - 2)
            && a.charAt(i - 2) == b.charAt(j - 1)) {
          current[j] = Math.min(current[j], beforePrevious[j - 2] + 1);
        }
      }
      int[] freed = beforePrevious;
      beforePrevious = previous;
      previous = current;
      current = freed;
    }
    return previous[b.length()];
  }
}
