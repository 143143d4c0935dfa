// SPDX-License-Identifier: Apache-2.0
package espalier.kernel;

import espalier.internal.Abi;
import espalier.internal.Native;
import espalier.tensor.Context;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The table of kernel variants: what exists, what runs here, and pinning one for tests and benches.
 */
public final class Variants {
  /**
   * One row.
   *
   * @param operation the operation it computes
   * @param name its name within the operation; the last row of an operation is {@code reference}
   * @param isa the instruction set it needs
   * @param runs whether this CPU, clamped by ESPALIER_ISA, can run it
   */
  public record Variant(String operation, String name, String isa, boolean runs) {}

  private Variants() {}

  /** Returns all rows, best first within an operation. */
  public static List<Variant> all() {
    List<Variant> rows = new ArrayList<>();
    for (int i = 0; i < Abi.esp_variant_count(); i++) {
      rows.add(
          new Variant(
              Abi.esp_variant_operation(i),
              Abi.esp_variant_name(i),
              Abi.esp_variant_isa(i),
              Abi.esp_variant_runs(i) != 0));
    }
    return List.copyOf(rows);
  }

  /**
   * Returns {@code operation/row} of the row an operation takes here unless one is pinned: the
   * first that runs; empty for an operation that is not in the table.
   */
  public static Optional<String> preferred(String operation) {
    return Optional.ofNullable(preferred().get(operation)).map(name -> operation + "/" + name);
  }

  /**
   * Returns, in the order of the table, the row every operation takes here unless one is pinned.
   */
  public static Map<String, String> preferred() {
    Map<String, String> names = new LinkedHashMap<>();
    for (Variant row : all()) {
      if (row.runs()) {
        names.putIfAbsent(row.operation(), row.name());
      }
    }
    return names;
  }

  /** Makes the context use one row of an operation; null unpins. */
  public static void pin(Context context, String operation, String name) {
    Native.check(Abi.esp_variant_pin(context.handle(), operation, name));
  }
}
