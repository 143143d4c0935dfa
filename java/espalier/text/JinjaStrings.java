// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import espalier.text.JinjaFault.Misuse;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Set;

/** String operations with Python's rules. */
final class JinjaStrings {
  /** The methods of str that {@link JinjaMethods} calls. */
  static final Set<String> METHODS =
      Set.of(
          "strip",
          "lstrip",
          "rstrip",
          "upper",
          "lower",
          "casefold",
          "title",
          "capitalize",
          "startswith",
          "endswith",
          "removeprefix",
          "removesuffix",
          "split",
          "rsplit",
          "splitlines",
          "partition",
          "rpartition",
          "replace",
          "join",
          "find",
          "rfind",
          "index",
          "count",
          "isspace",
          "isalpha",
          "isalnum",
          "isdigit",
          "isnumeric",
          "isdecimal",
          "isupper",
          "islower");

  private JinjaStrings() {}

  static boolean isSpace(int c) {
    return Character.isWhitespace(c) || Character.isSpaceChar(c) || c == 0x85;
  }

  /** Strips code points in {@code set}, or white space if it is null. */
  static String strip(String text, String set, boolean left, boolean right) {
    int start = 0;
    int end = text.length();
    while (left && start < end && strips(text.codePointAt(start), set)) {
      start += Character.charCount(text.codePointAt(start));
    }
    while (right && end > start && strips(text.codePointBefore(end), set)) {
      end -= Character.charCount(text.codePointBefore(end));
    }
    return text.substring(start, end);
  }

  private static boolean strips(int c, String set) {
    return set == null ? isSpace(c) : set.indexOf(c) >= 0;
  }

  /** Upper-cases every letter that follows no letter, lower-cases the others. */
  static String title(String text) {
    StringBuilder out = new StringBuilder(text.length());
    boolean inWord = false;
    for (int i = 0; i < text.length(); ) {
      int c = text.codePointAt(i);
      out.appendCodePoint(inWord ? Character.toLowerCase(c) : Character.toTitleCase(c));
      inWord = Character.isLetter(c);
      i += Character.charCount(c);
    }
    return out.toString();
  }

  static String capitalize(String text) {
    int first = text.isEmpty() ? 0 : Character.charCount(text.codePointAt(0));
    String head = text.substring(0, first).toUpperCase(Locale.ROOT);
    return head + text.substring(first).toLowerCase(Locale.ROOT);
  }

  /** Splits at most {@code limit} times; a null separator is runs of white space. */
  static List<Object> split(String text, String separator, long limit) {
    if (separator == null) {
      return words(text, limit);
    }
    checkPart(separator);
    List<Object> parts = new ArrayList<>();
    int from = 0;
    for (int at = text.indexOf(separator);
        at >= 0 && parts.size() < limit;
        at = text.indexOf(separator, from)) {
      parts.add(text.substring(from, at));
      from = at + separator.length();
    }
    parts.add(text.substring(from));
    return parts;
  }

  private static List<Object> words(String text, long limit) {
    List<Object> parts = new ArrayList<>();
    String rest = strip(text, null, true, false);
    while (!rest.isEmpty() && parts.size() < limit) {
      int end = 0;
      while (end < rest.length() && !isSpace(rest.codePointAt(end))) {
        end += Character.charCount(rest.codePointAt(end));
      }
      parts.add(rest.substring(0, end));
      rest = strip(rest.substring(end), null, true, false);
    }
    if (!rest.isEmpty()) {
      parts.add(rest);
    }
    return parts;
  }

  static List<Object> splitFromEnd(String text, String separator, long limit) {
    if (separator == null) {
      if (limit != Long.MAX_VALUE) {
        throw Misuse.unsupported("rsplit at white space with a limit");
      }
      return words(text, limit);
    }
    checkPart(separator);
    List<Object> parts = new ArrayList<>();
    int end = text.length();
    while (parts.size() < limit) {
      int at = text.lastIndexOf(separator, end - separator.length());
      if (at < 0 || end < separator.length()) {
        break;
      }
      parts.add(text.substring(at + separator.length(), end));
      end = at;
    }
    parts.add(text.substring(0, end));
    Collections.reverse(parts);
    return parts;
  }

  static List<Object> lines(String text) {
    List<Object> lines = new ArrayList<>();
    String unix = text.replace("\r\n", "\n").replace('\r', '\n');
    for (String line : unix.split("\n", -1)) {
      lines.add(line);
    }
    if (unix.isEmpty() || unix.endsWith("\n")) {
      lines.remove(lines.size() - 1);
    }
    return lines;
  }

  static List<Object> partition(String text, String separator, boolean last) {
    checkPart(separator);
    int at = last ? text.lastIndexOf(separator) : text.indexOf(separator);
    if (at < 0) {
      return last ? List.of("", "", text) : List.of(text, "", "");
    }
    return List.of(text.substring(0, at), separator, text.substring(at + separator.length()));
  }

  private static void checkPart(String separator) {
    if (separator.isEmpty()) {
      throw Misuse.of("the separator is empty");
    }
  }

  /** Counts occurrences that do not overlap; an empty part fits between all characters. */
  static long count(String text, String part) {
    if (part.isEmpty()) {
      return text.codePointCount(0, text.length()) + 1L;
    }
    long count = 0;
    for (int at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length())) {
      count++;
    }
    return count;
  }

  static String replace(String text, String old, String by, long most) {
    if (most == Long.MAX_VALUE) {
      return text.replace(old, by);
    }
    if (old.isEmpty()) {
      throw Misuse.unsupported("replacing the empty string a number of times");
    }
    StringBuilder out = new StringBuilder();
    int from = 0;
    long done = 0;
    for (int at = text.indexOf(old); at >= 0 && done < most; at = text.indexOf(old, from)) {
      out.append(text, from, at).append(by);
      from = at + old.length();
      done++;
    }
    return out.append(text, from, text.length()).toString();
  }

  /**
   * Indents every line but the first, and that one too if {@code first}; empty lines only if {@code
   * blank}.
   */
  static String indent(String text, String by, boolean first, boolean blank) {
    StringBuilder out = new StringBuilder();
    String[] lines = text.split("\n", -1);
    for (int i = 0; i < lines.length; i++) {
      if (i > 0) {
        out.append('\n');
      }
      if (i == 0 ? first : blank || !lines[i].isEmpty()) {
        out.append(by);
      }
      out.append(lines[i]);
    }
    return out.toString();
  }
}
