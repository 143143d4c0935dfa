// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import espalier.report.EspalierException;
import java.util.Optional;

/** The one form of a recipe error: {@code file:line: field: why}. */
final class RecipeError {
  /** Stands for the field where the file as a whole is wrong. */
  static final String FILE = "(file)";

  /** Stands for the field where the text is no YAML, so that there are no fields yet. */
  static final String SYNTAX = "(syntax)";

  private RecipeError() {}

  /** Returns the error of a field on a line (1-based) of a source; {@code why} is one sentence. */
  static EspalierException at(String source, int line, String field, String why) {
    return at(source, line, field, why, "Correct line " + line + " of the recipe.");
  }

  /** As above with one thing to try. */
  static EspalierException at(String source, int line, String field, String why, String advice) {
    return EspalierException.usage(where(source, line) + ": " + field + ": " + why, advice);
  }

  /** Returns {@code file:line}, as events and errors write it. */
  static String where(String source, int line) {
    return source + ":" + line;
  }

  /** Returns {@code "; did you mean X?"}, or nothing where there is no near word. */
  static String didYouMean(Optional<String> word) {
    return word.map(w -> "; did you mean " + w + "?").orElse("");
  }
}
