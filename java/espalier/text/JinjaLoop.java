// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import espalier.text.JinjaFault.Misuse;
import espalier.text.JinjaValues.Callable;
import espalier.text.JinjaValues.Undefined;
import java.util.List;

/** The variable {@code loop} of one running loop. */
final class JinjaLoop {
  private final JinjaValues values;
  private final List<Object> items;
  private final int depth;
  private int index = -1;
  private Object last = new Undefined("the value of an earlier turn");

  JinjaLoop(JinjaValues values, List<Object> items, int depth) {
    this.values = values;
    this.items = items;
    this.depth = depth;
  }

  void advance() {
    index++;
  }

  int depth() {
    return depth;
  }

  /** Returns an attribute, or null if the loop has none of that name. */
  Object attribute(String name) {
    return switch (name) {
      case "index0" -> (long) index;
      case "index" -> index + 1L;
      case "revindex0" -> items.size() - 1L - index;
      case "revindex" -> (long) items.size() - index;
      case "first" -> index == 0;
      case "last" -> index == items.size() - 1;
      case "length" -> (long) items.size();
      case "depth" -> (long) depth;
      case "depth0" -> depth - 1L;
      case "previtem" -> neighbour(index - 1);
      case "nextitem" -> neighbour(index + 1);
      case "cycle" -> (Callable) (positional, named) -> cycle(positional);
      case "changed" ->
          (Callable)
              (positional, named) -> {
                boolean changed = !values.equal(last, positional);
                last = positional;
                return changed;
              };
      default -> null;
    };
  }

  private Object neighbour(int at) {
    return at < 0 || at >= items.size() ? new Undefined("a neighbour") : items.get(at);
  }

  private Object cycle(List<Object> turns) {
    if (turns.isEmpty()) {
      throw Misuse.of("cycle wants items");
    }
    return turns.get(index % turns.size());
  }
}
