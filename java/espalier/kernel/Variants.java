// SPDX-License-Identifier: Apache-2.0
package espalier.kernel;

import espalier.internal.Abi;
import espalier.internal.Native;
import espalier.tensor.Context;
import java.util.ArrayList;
import java.util.List;

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

  /** Makes the context use one row of an operation; null unpins. */
  public static void pin(Context context, String operation, String name) {
    Native.check(Abi.esp_variant_pin(context.handle(), operation, name));
  }
}
