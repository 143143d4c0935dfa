// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import java.util.regex.Pattern;

/**
 * One entry of a {@code targets} or {@code ignore} list: {@code re:} and a regular expression
 * matched from the start of the full module name, or an exact module name, or a class name.
 */
public record ModulePattern(String text, Pattern expression) {
  /**
   * Reads an entry; a malformed expression throws {@link java.util.regex.PatternSyntaxException}.
   */
  public static ModulePattern of(String text) {
    return new ModulePattern(
        text, text.startsWith("re:") ? Pattern.compile(text.substring("re:".length())) : null);
  }

  /**
   * Returns how specifically this entry names the module: 3 exact, 2 expression, 1 class, 0 not.
   */
  public int match(String module, String className) {
    if (expression != null) {
      return expression.matcher(module).lookingAt() ? 2 : 0;
    }
    if (text.equals(module)) {
      return 3;
    }
    return text.equals(className) ? 1 : 0;
  }
}
