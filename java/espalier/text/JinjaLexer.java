// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;

/**
 * Cuts a template into text and the tokens inside its tags, and settles all white space.
 *
 * <p>Rules of Jinja2 3.1 with {@code trim_blocks} and {@code lstrip_blocks} on, as chat templates
 * are written for: one newline after a block or comment goes; blanks from the start of a line up to
 * a block or comment go; {@code -} beside a tag takes all white space on that side; {@code +} keeps
 * it. Line ends become {@code \n}, and one newline at the very end of the template goes.
 */
final class JinjaLexer {
  /** What a token is. {@code TEXT} is output as it stands. */
  enum Kind {
    TEXT,
    VARIABLE_BEGIN,
    VARIABLE_END,
    BLOCK_BEGIN,
    BLOCK_END,
    NAME,
    STRING,
    INTEGER,
    FLOAT,
    OPERATOR,
    END
  }

  /** One token; {@code line} counts from 1. */
  record Token(Kind kind, String text, int line) {
    boolean is(String operator) {
      return kind == Kind.OPERATOR && text.equals(operator);
    }

    boolean isName(String name) {
      return kind == Kind.NAME && text.equals(name);
    }

    /** Returns how a message names this token. */
    String shown() {
      return switch (kind) {
        case END -> "the end of the template";
        case BLOCK_END -> "%}";
        case VARIABLE_END -> "}}";
        case TEXT, VARIABLE_BEGIN, BLOCK_BEGIN -> "a new tag";
        case STRING -> "a string";
        default -> "'" + text + "'";
      };
    }
  }

  /** Longest first, so that {@code //} is not read as two divisions. */
  private static final List<String> OPERATORS =
      List.of(
          "==", "!=", "<=", ">=", "//", "**", "+", "-", "*", "/", "%", "~", "<", ">", "=", ".", ",",
          ":", "|", "(", ")", "[", "]", "{", "}", ";");

  private final String origin;
  private final String source;
  private final List<Token> tokens = new ArrayList<>();
  private int at;
  private int line = 1;

  /** Whether the character before {@code at}, as the template has it, ends a line (or is none). */
  private boolean lineStart = true;

  private JinjaLexer(String origin, String source) {
    this.origin = origin;
    String unix = source.replace("\r\n", "\n").replace('\r', '\n');
    this.source = unix.endsWith("\n") ? unix.substring(0, unix.length() - 1) : unix;
  }

  /** Returns the tokens of {@code source}, the last one {@code END}. */
  static List<Token> tokens(String origin, String source) {
    return new JinjaLexer(origin, source).run();
  }

  private List<Token> run() {
    while (at < source.length()) {
      int open = nextTag();
      String text = source.substring(at, open < 0 ? source.length() : open);
      if (open < 0) {
        text(text);
        at = source.length();
        break;
      }
      char what = source.charAt(open + 1);
      char sign = open + 2 < source.length() ? source.charAt(open + 2) : ' ';
      boolean signed = sign == '-' || (sign == '+' && what != '{');
      text(stripBefore(text, what, signed ? sign : ' '));
      skip(open);
      int inside = open + (signed ? 3 : 2);
      if (what == '#') {
        comment(inside);
      } else if (what == '%' && wordAt(inside).equals("raw")) {
        raw(inside);
      } else {
        tag(what, inside);
      }
    }
    tokens.add(new Token(Kind.END, "", line));
    return tokens;
  }

  private int nextTag() {
    for (int i = source.indexOf('{', at); i >= 0; i = source.indexOf('{', i + 1)) {
      if (i + 1 < source.length() && "{%#".indexOf(source.charAt(i + 1)) >= 0) {
        return i;
      }
    }
    return -1;
  }

  private String stripBefore(String text, char what, char sign) {
    if (sign == '-') {
      return text.stripTrailing();
    }
    if (sign == '+' || what == '{') {
      return text;
    }
    int start = text.lastIndexOf('\n') + 1;
    boolean fromLineStart = start > 0 || lineStart;
    return fromLineStart && text.substring(start).isBlank() ? text.substring(0, start) : text;
  }

  private void text(String text) {
    if (!text.isEmpty()) {
      tokens.add(new Token(Kind.TEXT, text, line));
    }
  }

  /** Moves to {@code to}, counting the lines passed. */
  private void skip(int to) {
    for (int i = at; i < to; i++) {
      if (source.charAt(i) == '\n') {
        line++;
      }
    }
    at = to;
    lineStart = to == 0 || source.charAt(to - 1) == '\n';
  }

  /** Passes a closing tag of two characters at {@code close} and the white space it eats. */
  private void close(int close, boolean trims) {
    char sign = source.charAt(close - 1);
    int end = close + 2;
    if (sign == '-') {
      while (end < source.length() && Character.isWhitespace(source.charAt(end))) {
        end++;
      }
    } else if (trims && sign != '+' && end < source.length() && source.charAt(end) == '\n') {
      end++;
    }
    skip(end);
  }

  private void comment(int inside) {
    int end = source.indexOf("#}", inside);
    if (end < 0) {
      throw JinjaFault.syntax(origin, line, "a comment is not closed");
    }
    close(end, true);
  }

  private String wordAt(int from) {
    int start = from;
    while (start < source.length() && Character.isWhitespace(source.charAt(start))) {
      start++;
    }
    int end = start;
    while (end < source.length() && isNamePart(source.charAt(end))) {
      end++;
    }
    return source.substring(start, end);
  }

  private void raw(int inside) {
    int end = source.indexOf("%}", inside);
    if (end < 0) {
      throw JinjaFault.syntax(origin, line, "a raw block is not closed");
    }
    close(end, false);
    for (int open = source.indexOf("{%", at); open >= 0; open = source.indexOf("{%", open + 2)) {
      char sign = open + 2 < source.length() ? source.charAt(open + 2) : ' ';
      int word = sign == '-' || sign == '+' ? open + 3 : open + 2;
      int stop = source.indexOf("%}", word);
      if (stop >= 0 && wordAt(word).equals("endraw")) {
        text(stripBefore(source.substring(at, open), '%', sign));
        close(stop, true);
        return;
      }
    }
    throw JinjaFault.syntax(origin, line, "a raw block is not closed");
  }

  private void tag(char what, int inside) {
    boolean block = what == '%';
    tokens.add(new Token(block ? Kind.BLOCK_BEGIN : Kind.VARIABLE_BEGIN, "", line));
    skip(inside);
    Deque<Character> open = new ArrayDeque<>();
    String end = block ? "%}" : "}}";
    int begun = line;
    while (true) {
      while (at < source.length() && Character.isWhitespace(source.charAt(at))) {
        skip(at + 1);
      }
      if (at >= source.length()) {
        throw JinjaFault.syntax(origin, begun, "a tag is not closed, '" + end + "' is missing");
      }
      char c = source.charAt(at);
      boolean signed = c == '-' || (c == '+' && block);
      int closing = signed ? at + 1 : at;
      if (open.isEmpty() && source.startsWith(end, closing)) {
        tokens.add(new Token(block ? Kind.BLOCK_END : Kind.VARIABLE_END, "", line));
        close(closing, block);
        return;
      }
      inner(c, open);
    }
  }

  private void inner(char c, Deque<Character> open) {
    if (c == '\'' || c == '"') {
      string(c);
    } else if (c >= '0' && c <= '9') {
      number();
    } else if (isNamePart(c)) {
      int end = at;
      while (end < source.length() && isNamePart(source.charAt(end))) {
        end++;
      }
      add(Kind.NAME, source.substring(at, end), end);
    } else {
      operator(open);
    }
  }

  private void add(Kind kind, String text, int end) {
    tokens.add(new Token(kind, text, line));
    skip(end);
  }

  private void operator(Deque<Character> open) {
    for (String operator : OPERATORS) {
      if (!source.startsWith(operator, at)) {
        continue;
      }
      char c = operator.charAt(0);
      if (c == '(' || c == '[' || c == '{') {
        open.push(c == '(' ? ')' : c == '[' ? ']' : '}');
      } else if (c == ')' || c == ']' || c == '}') {
        if (open.isEmpty() || open.pop() != c) {
          throw JinjaFault.syntax(origin, line, "unexpected '" + c + "'");
        }
      }
      add(Kind.OPERATOR, operator, at + operator.length());
      return;
    }
    String shown = new String(Character.toChars(source.codePointAt(at)));
    throw JinjaFault.syntax(origin, line, "unexpected character '" + shown + "'");
  }

  private void number() {
    int end = digits(at);
    boolean fraction =
        end + 1 < source.length() && source.charAt(end) == '.' && isDigit(source.charAt(end + 1));
    if (fraction) {
      end = digits(end + 1);
    }
    int sign = end + 1;
    if (end < source.length() && (source.charAt(end) == 'e' || source.charAt(end) == 'E')) {
      if (sign < source.length() && (source.charAt(sign) == '+' || source.charAt(sign) == '-')) {
        sign++;
      }
      if (sign < source.length() && isDigit(source.charAt(sign))) {
        end = digits(sign);
        fraction = true;
      }
    }
    String text = source.substring(at, end).replace("_", "");
    add(fraction ? Kind.FLOAT : Kind.INTEGER, text, end);
  }

  private int digits(int from) {
    int end = from;
    while (end < source.length() && (isDigit(source.charAt(end)) || source.charAt(end) == '_')) {
      end++;
    }
    return end;
  }

  private void string(char quote) {
    StringBuilder text = new StringBuilder();
    int i = at + 1;
    while (i < source.length() && source.charAt(i) != quote) {
      char c = source.charAt(i++);
      if (c != '\\' || i >= source.length()) {
        text.append(c);
        continue;
      }
      char escape = source.charAt(i++);
      int simple = "nrtabfv\\'\"\n".indexOf(escape);
      if (simple >= 0) {
        text.append(
            simple == 10 ? "" : "\n\r\t\u0007\b\f\u000b\\'\"".substring(simple, simple + 1));
      } else if (escape == 'x' || escape == 'u' || escape == 'U') {
        int width = escape == 'x' ? 2 : escape == 'u' ? 4 : 8;
        text.appendCodePoint(codePoint(i, width));
        i += width;
      } else if (escape >= '0' && escape <= '7') {
        int end = i;
        while (end < i + 2
            && end < source.length()
            && "01234567".indexOf(source.charAt(end)) >= 0) {
          end++;
        }
        text.append((char) Integer.parseInt(source.substring(i - 1, end), 8));
        i = end;
      } else {
        text.append(c).append(escape);
      }
    }
    if (i >= source.length()) {
      throw JinjaFault.syntax(origin, line, "a string is not closed");
    }
    add(Kind.STRING, text.toString(), i + 1);
  }

  private int codePoint(int from, int width) {
    try {
      int code = Integer.parseInt(source.substring(from, from + width), 16);
      if (Character.isValidCodePoint(code)) {
        return code;
      }
    } catch (NumberFormatException | IndexOutOfBoundsException e) {
      // Falls through to the one message for every malformed escape.
    }
    throw JinjaFault.syntax(origin, line, "a string holds a malformed escape");
  }

  private static boolean isDigit(char c) {
    return c >= '0' && c <= '9';
  }

  private static boolean isNamePart(char c) {
    return c == '_' || Character.isLetterOrDigit(c);
  }
}
