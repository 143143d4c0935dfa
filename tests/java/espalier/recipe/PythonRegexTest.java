// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.regex.PatternSyntaxException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Python's patterns mean in Java what they mean in Python. */
final class PythonRegexTest {
  @ParameterizedTest
  @CsvSource(
      delimiter = ' ',
      quoteCharacter = '`',
      value = {
        "q_proj q_proj_extra true",
        "q_proj$ q_proj_extra false",
        "_proj q_proj false",
        "[[a]b [b true",
        "[]a]b ]b true",
        "[^]a]b ]b false",
        "[a&&b]c &c true",
        "a{b a{b true",
        "a{,2}b aab true",
        "a{2}b aab true",
        "a{}b a{}b true",
        "a\\Z ab false",
        "(?P<x_1>a)(?P=x_1) aa true",
        "(?#note)a a true",
        "(?i)A a true",
        "\\d+\\.w 12.w true",
        "(?:q|k|v)_proj k_proj true",
        "(?!lm)head head true",
      })
  void matchesAtTheStartAsPythonDoes(String pattern, String name, boolean matches) {
    assertEquals(matches, PythonRegex.compile(pattern).matcher(name).lookingAt());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "(a",
        "a)",
        "[a",
        "*a",
        "a\\",
        "\\q",
        "\\p{L}",
        "\\Qa\\E",
        "(?P<1>a)",
        "(?P<x",
        "(?(1)a|b)",
        "(?#a",
        "a**"
      })
  void refusesWhatPythonRefuses(String pattern) {
    assertThrows(PatternSyntaxException.class, () -> PythonRegex.compile(pattern));
  }

  @Test
  void nearestCountsASwapAsOne() {
    assertEquals(1, Nearest.distance("GTPQ", "GPTQ"));
    assertEquals(3, Nearest.distance("kitten", "sitting"));
  }
}
