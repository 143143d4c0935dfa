// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import espalier.report.Event;
import java.util.List;

/** Names and defaults of the methods that find value ranges. */
final class Observers {
  static final String MEMORYLESS = "memoryless_minmax";
  static final String RUNNING = "minmax";
  static final String STATIC = "static_minmax";
  static final String SEARCHING = "memoryless_mse";

  private static final List<String> NAMES =
      List.of(
          RUNNING,
          STATIC,
          MEMORYLESS,
          "mse",
          SEARCHING,
          "imatrix_mse",
          "nvfp4_expanded_mse",
          "nvfp4_expanded_imatrix",
          "fouroversix");

  private Observers() {}

  /** Returns whether the name stands for taking the extremes, however they are gathered. */
  static boolean takesExtremes(String name) {
    return name == null || name.equals(RUNNING) || name.equals(STATIC) || name.equals(MEMORYLESS);
  }

  /** Reads an observer's name; null if absent. An unknown name is passed on with a warning. */
  static String read(Options options, String field) {
    String name = options.text(field, null);
    if (name != null && !NAMES.contains(name)) {
      options.note(
          Event.Severity.WARNING,
          "unknown-observer",
          field,
          "no observer is named " + name + RecipeError.didYouMean(Nearest.of(name, NAMES)));
    }
    return name;
  }

  /** Returns whether the observer weighs errors by activations, so that weights need data too. */
  static boolean needsData(String name) {
    return name != null && name.contains("imatrix");
  }
}
