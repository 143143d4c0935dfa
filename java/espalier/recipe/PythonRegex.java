// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;

/**
 * A regular expression in Python's syntax, compiled for {@code java.util.regex}. The two languages
 * agree on most patterns; this rewrites what Java would read otherwise (a bracket or {@code &&}
 * inside a class, a literal brace, {@code (?P<name>…)}, {@code \Z}) and refuses the escapes that
 * Python refuses.
 */
final class PythonRegex {
  private static final String ESCAPES = "AbBdDsSwWafnrtxuNZ";

  private final String text;
  private final StringBuilder java = new StringBuilder();
  private int at;

  private PythonRegex(String text) {
    this.text = text;
  }

  /**
   * Returns the compiled pattern; match it with {@code lookingAt}, which is Python's {@code
   * re.match}. Throws PatternSyntaxException, whose description is fit for a message.
   */
  static Pattern compile(String text) {
    PythonRegex regex = new PythonRegex(text);
    regex.translate();
    try {
      return Pattern.compile(regex.java.toString());
    } catch (PatternSyntaxException e) {
      throw new PatternSyntaxException(lowerFirst(e.getDescription()), text, e.getIndex());
    } catch (StackOverflowError e) {
      throw new PatternSyntaxException("nested too deeply", text, -1);
    }
  }

  private static String lowerFirst(String message) {
    return message.isEmpty()
        ? message
        : Character.toLowerCase(message.charAt(0)) + message.substring(1);
  }

  private void translate() {
    while (at < text.length()) {
      char c = text.charAt(at);
      if (c == '\\') {
        escape(false);
      } else if (c == '[') {
        characterClass();
      } else if (c == '{') {
        brace();
      } else if (c == '}') {
        java.append("\\}");
        at++;
      } else if (text.startsWith("(?", at)) {
        extension();
      } else {
        java.append(c);
        at++;
      }
    }
  }

  /** Copies an escape, or refuses it as Python does (an ASCII letter that means nothing). */
  private void escape(boolean insideClass) {
    if (at + 1 >= text.length()) {
      throw new PatternSyntaxException("a lone backslash at the end", text, at);
    }
    char c = text.charAt(at + 1);
    boolean letter = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z';
    if (c == 'v') {
      java.append("\\x0B");
    } else if (c == 'Z') {
      java.append("\\z");
    } else if (c == '0') {
      octal();
      return;
    } else if (insideClass && c == 'b') {
      java.append("\\x08");
    } else if (letter && ESCAPES.indexOf(c) < 0) {
      throw new PatternSyntaxException("\\" + c + " is no escape", text, at);
    } else {
      java.append('\\').append(c);
    }
    at += 2;
  }

  /** Rewrites {@code \0}, {@code \07}, {@code \012}: Java wants a digit after the zero. */
  private void octal() {
    int end = at + 2;
    while (end < text.length() && end < at + 4 && "01234567".indexOf(text.charAt(end)) >= 0) {
      end++;
    }
    java.append(String.format("\\x%02X", Integer.parseInt(text.substring(at + 1, end), 8)));
    at = end;
  }

  private void characterClass() {
    int start = at;
    java.append('[');
    at++;
    if (at < text.length() && text.charAt(at) == '^') {
      java.append('^');
      at++;
    }
    boolean first = true;
    while (at < text.length() && (first || text.charAt(at) != ']')) {
      char c = text.charAt(at);
      if (c == '\\') {
        escape(true);
      } else {
        if (c == '[' || c == ']' || c == '&' || c == '^') {
          java.append('\\');
        }
        java.append(c);
        at++;
      }
      first = false;
    }
    if (at >= text.length()) {
      throw new PatternSyntaxException("the character class is never closed", text, start);
    }
    java.append(']');
    at++;
  }

  /** A brace that is no {@code {m}}, {@code {m,}}, {@code {,n}} or {@code {m,n}} is a letter. */
  private void brace() {
    int end = text.indexOf('}', at);
    String inside = end < 0 ? "" : text.substring(at + 1, end);
    if (inside.matches("[0-9]+(,[0-9]*)?|,[0-9]*")) {
      java.append('{').append(inside.startsWith(",") ? "0" : "").append(inside).append('}');
      at = end + 1;
    } else {
      java.append("\\{");
      at++;
    }
  }

  private void extension() {
    if (text.startsWith("(?P<", at)) {
      name(at + 4, '>', "(?<", ">");
    } else if (text.startsWith("(?P=", at)) {
      name(at + 4, ')', "\\k<", ">");
    } else if (text.startsWith("(?#", at)) {
      int end = text.indexOf(')', at);
      if (end < 0) {
        throw new PatternSyntaxException("the comment is never closed", text, at);
      }
      at = end + 1;
    } else if (text.startsWith("(?(", at)) {
      throw new PatternSyntaxException("conditional groups are not supported", text, at);
    } else {
      flags();
    }
  }

  /** Copies a group name; Java allows no underscore in one, so it becomes a letter pair. */
  private void name(int from, char close, String before, String after) {
    int end = text.indexOf(close, from);
    String name = end < 0 ? "" : text.substring(from, end);
    if (!name.matches("[A-Za-z_][A-Za-z0-9_]*")) {
      throw new PatternSyntaxException("a bad group name", text, from);
    }
    java.append(before).append("g").append(name.replace("_", "Z5f")).append(after);
    at = end + 1;
  }

  /** Copies {@code (?} and drops the flags that Python has and Java has not (a, L, u). */
  private void flags() {
    java.append("(?");
    at += 2;
    while (at < text.length() && "aLu".indexOf(text.charAt(at)) >= 0) {
      at++;
    }
  }
}
