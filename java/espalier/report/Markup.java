// SPDX-License-Identifier: Apache-2.0
package espalier.report;

import java.util.List;

/**
 * HTML being written. Whatever is not written as {@link #raw} is escaped, in text and in
 * attributes, so that no name from a checkpoint can become markup.
 */
final class Markup {
  private final StringBuilder html = new StringBuilder();

  /** Writes markup of this project's own as it stands. */
  Markup raw(String markup) {
    html.append(markup);
    return this;
  }

  /** Writes text. */
  Markup text(String text) {
    html.append(escaped(text));
    return this;
  }

  /** Opens an element; attributes come as name, value, name, value. */
  Markup open(String tag, String... attributes) {
    html.append('<').append(tag);
    for (int i = 0; i < attributes.length; i += 2) {
      html.append(' ').append(attributes[i]).append("=\"");
      html.append(escaped(attributes[i + 1])).append('"');
    }
    html.append('>');
    return this;
  }

  Markup close(String tag) {
    html.append("</").append(tag).append(">\n");
    return this;
  }

  /** Writes an element that holds only text. */
  Markup element(String tag, String text, String... attributes) {
    return open(tag, attributes).text(text).close(tag);
  }

  /**
   * Opens a table that scrolls by itself, up to and with the opening of its body. A head that
   * begins with {@code >} stands to the right, over numbers.
   */
  Markup table(String id, List<String> heads) {
    open("div", "class", "scroll", "tabindex", "0").open("table", "id", id).raw("<thead><tr>");
    for (String head : heads) {
      if (head.startsWith(">")) {
        element("th", head.substring(1), "scope", "col", "class", "n");
      } else {
        element("th", head, "scope", "col");
      }
    }
    return raw("</tr></thead>\n<tbody>\n");
  }

  Markup endTable() {
    return raw("</tbody></table></div>\n");
  }

  /** Writes a cell with a number, which stands to the right. */
  Markup number(String text) {
    return element("td", text, "class", "n");
  }

  static String escaped(String text) {
    StringBuilder safe = new StringBuilder(text.length());
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      switch (c) {
        case '&' -> safe.append("&amp;");
        case '<' -> safe.append("&lt;");
        case '>' -> safe.append("&gt;");
        case '"' -> safe.append("&quot;");
        case '\'' -> safe.append("&#39;");
        // HTML has no way to hold the other control characters.
        default -> safe.append(c < ' ' && c != '\n' && c != '\t' ? '\uFFFD' : c);
      }
    }
    return safe.toString();
  }

  @Override
  public String toString() {
    return html.toString();
  }
}
