// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import espalier.kernel.Ops;
import espalier.layer.Linear;
import espalier.tensor.Tensor;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/** The linears of one block by full name, in step order; a form may be swapped for another. */
public final class NamedLinears {
  private final Map<String, Linear> linears;

  NamedLinears(Map<String, Linear> linears) {
    this.linears = new LinkedHashMap<>(linears);
  }

  /** Returns an unmodifiable view that follows later swaps. */
  public Map<String, Linear> all() {
    return Collections.unmodifiableMap(linears);
  }

  /** Returns y of the named linear. */
  Tensor apply(Ops ops, String name, Tensor x) {
    return linears.get(name).forward(ops, x);
  }

  void swap(String name, Linear linear) {
    Linear present = linears.get(name);
    if (present == null) {
      throw new IllegalArgumentException(name + " is not one of " + linears.keySet());
    }
    requireSameWidths(name, present, linear);
    linears.put(name, linear);
  }

  static void requireSameWidths(String name, Linear present, Linear linear) {
    if (present.inFeatures() != linear.inFeatures()
        || present.outFeatures() != linear.outFeatures()) {
      throw new IllegalArgumentException(
          String.format(
              "%s maps %d to %d features, the linear to swap in %d to %d",
              name,
              present.inFeatures(),
              present.outFeatures(),
              linear.inFeatures(),
              linear.outFeatures()));
    }
  }
}
