// SPDX-License-Identifier: Apache-2.0
package espalier.text;

/**
 * What one rendering may use up. Templates come with models from strangers, so a loop that never
 * ends or a text that doubles itself has to stop here.
 */
final class JinjaBudget {
  /** About a second of work; a long conversation takes some ten thousand steps. */
  private static final long MAX_STEPS = 10_000_000;

  /** Characters that cost one step when they are produced: bounds all text to 160 million. */
  private static final int CHARACTERS_A_STEP = 16;

  /** Nesting of values, expressions and macro calls; a few Java frames each. */
  private static final int MAX_DEPTH = 250;

  private long steps;
  private int depth;

  void step() {
    steps(1);
  }

  void steps(long count) {
    steps += count;
    if (steps > MAX_STEPS || count < 0) {
      throw JinjaFault.Misuse.of("rendering takes more than " + MAX_STEPS + " steps");
    }
  }

  /** Pays for {@code count} characters, before they are produced where that can be many. */
  void characters(long count) {
    steps(count / CHARACTERS_A_STEP);
  }

  void enter() {
    step();
    if (++depth > MAX_DEPTH) {
      throw JinjaFault.Misuse.of("values or calls are nested more than " + MAX_DEPTH + " deep");
    }
  }

  void leave() {
    depth--;
  }
}
