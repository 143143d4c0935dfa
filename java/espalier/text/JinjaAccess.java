// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import espalier.text.JinjaFault.Misuse;
import espalier.text.JinjaValues.Namespace;
import espalier.text.JinjaValues.Tuple;
import espalier.text.JinjaValues.Undefined;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** {@code object.name}, {@code object[key]} and {@code object[a:b:c]}. */
final class JinjaAccess {
  private final JinjaValues values;
  private final JinjaMethods methods;

  JinjaAccess(JinjaValues values, JinjaMethods methods) {
    this.values = values;
    this.methods = methods;
  }

  /** A method or attribute first, an entry second. */
  Object attribute(Object object, String name) {
    refuseUndefined(object);
    Object found = own(object, name);
    if (found != null) {
      return found;
    }
    if (object instanceof Map<?, ?> map && map.containsKey(name)) {
      return map.get(name);
    }
    if (object instanceof Namespace namespace && namespace.attributes().containsKey(name)) {
      return namespace.attributes().get(name);
    }
    return new Undefined("'" + name + "' of " + JinjaValues.typeOf(object));
  }

  /** An entry first; a method or attribute second, if the key is a string. */
  Object entry(Object object, Object key) {
    refuseUndefined(object);
    if (object instanceof Map<?, ?> map && map.containsKey(key)) {
      return map.get(key);
    }
    if (key instanceof Long index && (object instanceof List || object instanceof String)) {
      long length = values.length(object);
      long at = index < 0 ? index + length : index;
      if (at < 0 || at >= length) {
        return new Undefined("index " + index);
      }
      if (object instanceof List<?> list) {
        return list.get((int) at);
      }
      String text = (String) object;
      values.budget().characters(text.length());
      return Character.toString(text.codePointAt(text.offsetByCodePoints(0, (int) at)));
    }
    return key instanceof String name
        ? attribute(object, name)
        : new Undefined("entry of " + JinjaValues.typeOf(object));
  }

  private Object own(Object object, String name) {
    if (object instanceof JinjaLoop loop) {
      return loop.attribute(name);
    }
    return methods.of(object, name);
  }

  private static void refuseUndefined(Object object) {
    if (object instanceof Undefined undefined) {
      throw Misuse.of(undefined.what() + " is undefined");
    }
  }

  /** Python's slice; each bound may be null. */
  Object slice(Object object, Object start, Object stop, Object step) {
    refuseUndefined(object);
    long stride = step == null ? 1 : JinjaValues.wholeNumber(step, "a slice");
    if (stride == 0) {
      throw Misuse.of("the step of a slice is zero");
    }
    boolean text = object instanceof String;
    if (!text && !(object instanceof List)) {
      if (object instanceof Map) {
        throw Misuse.of("a dict cannot be sliced");
      }
      return new Undefined("a slice of " + JinjaValues.typeOf(object));
    }
    int[] codes = text ? ((String) object).codePoints().toArray() : null;
    int length = text ? codes.length : ((List<?>) object).size();
    values.budget().steps(length);
    boolean forward = stride > 0;
    long first = bound(start, length, forward ? 0 : length - 1, forward);
    long end = bound(stop, length, forward ? length : -1, forward);
    StringBuilder string = new StringBuilder();
    List<Object> list = object instanceof Tuple ? Tuple.of() : new ArrayList<>();
    long clipped = Math.max(-length - 1L, Math.min(length + 1L, stride));
    for (long i = first; forward ? i < end : i > end; i += clipped) {
      if (text) {
        string.appendCodePoint(codes[(int) i]);
      } else {
        list.add(((List<?>) object).get((int) i));
      }
    }
    return text ? (Object) string.toString() : list;
  }

  private static long bound(Object given, int length, long otherwise, boolean forward) {
    if (given == null) {
      return otherwise;
    }
    long at = JinjaValues.wholeNumber(given, "a slice");
    at = at < 0 ? at + length : at;
    return forward ? Math.max(0, Math.min(length, at)) : Math.max(-1, Math.min(length - 1L, at));
  }
}
