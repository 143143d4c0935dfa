// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import espalier.text.JinjaFault.Misuse;
import java.util.List;
import java.util.Map;

/** The evaluated arguments of a call, filter or test, read by position or by name. */
record JinjaArguments(String callee, List<Object> positional, Map<String, Object> named) {
  int count() {
    return positional.size() + named.size();
  }

  boolean has(int position, String name) {
    return position < positional.size() || named.containsKey(name);
  }

  Object get(int position, String name, Object otherwise) {
    if (position < positional.size()) {
      return positional.get(position);
    }
    return named.containsKey(name) ? named.get(name) : otherwise;
  }

  Object get(int position, String name) {
    if (!has(position, name)) {
      throw Misuse.of(callee + " wants the argument " + name);
    }
    return get(position, name, null);
  }

  String string(int position, String name) {
    return JinjaValues.string(get(position, name), callee);
  }

  /** Returns the arguments after the first {@code count} positional ones. */
  JinjaArguments after(int count, String nextCallee) {
    int from = Math.min(count, positional.size());
    return new JinjaArguments(nextCallee, positional.subList(from, positional.size()), named);
  }
}
