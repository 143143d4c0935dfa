// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import java.util.List;

/**
 * One question of a task: what may follow what, and which of them is right.
 *
 * @param group the part of the task it counts in, such as a BLiMP phenomenon; empty for none
 * @param choices at least one; a task with a single choice asks whether it is the likeliest
 *     continuation of all
 * @param gold index of the right choice
 * @param line of the file, from 1
 */
public record TaskItem(String group, List<Choice> choices, int gold, int line) {
  /**
   * A way to go on.
   *
   * @param context what is given; may be empty
   * @param continuation what is scored after it, the space between them included
   * @param text the answer as the task spells it, whose length the length norms divide by
   */
  public record Choice(String context, String continuation, String text) {}
}
