// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import espalier.recipe.Datum.Mapping;
import espalier.report.Event;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What a recipe asks for beyond llm-compressor's grammar, under its top-level key {@code espalier},
 * which that library skips:
 *
 * <pre>
 * espalier:
 *   formats: [compressed-tensors, gptq]   # written from one solve
 *   bits: {"re:.*down_proj": 8}           # width of what these targets name, 2 to 8
 *   follow_dense: true                    # solve for what the dense model's layers gave
 * </pre>
 *
 * @param formats output formats by name, none when the key is absent
 * @param bits target to bits, in file order; among several that match a linear the more specific
 *     wins, as among the targets of a modifier
 * @param followDense whether linears are solved for what the dense model's gave on inputs of its
 *     own, so that each makes up for the ones before it
 */
public record Extension(List<String> formats, Map<String, Integer> bits, boolean followDense) {
  static final String KEY = "espalier";
  static final String FORMATS = KEY + ".formats";
  static final String BITS = KEY + ".bits";

  /** What a recipe without the key asks for. */
  static final Extension NONE = new Extension(List.of(), Map.of(), false);

  /** Copies both; the order of the targets is kept. */
  public Extension {
    formats = List.copyOf(formats);
    bits = Collections.unmodifiableMap(new LinkedHashMap<>(bits));
  }

  /** Returns the key with what it holds as a recipe would write it; empty when it holds nothing. */
  public String yaml() {
    if (equals(NONE)) {
      return "";
    }
    StringBuilder yaml = new StringBuilder(KEY).append(":\n");
    if (!formats.isEmpty()) {
      yaml.append("  formats: [").append(String.join(", ", formats)).append("]\n");
    }
    if (!bits.isEmpty()) {
      yaml.append("  bits:\n");
      bits.forEach(
          (target, width) ->
              yaml.append("    '" + target.replace("'", "''") + "': " + width + "\n"));
    }
    return yaml.append(followDense ? "  follow_dense: true\n" : "").toString();
  }

  static Extension read(String source, Mapping map, int line, List<Event> notes) {
    Options options = new Options(source, KEY, "", KEY, line, map, notes);
    List<String> formats = options.texts("formats", List.of());
    Map<String, Integer> bits = new LinkedHashMap<>();
    Options widths = options.map("bits");
    if (widths != null) {
      for (String target : widths.keys()) {
        Selector.check(widths, target, List.of(target));
        int width = widths.integer(target, 0);
        if (width < 2 || width > 8) {
          throw widths.error(target, "2 to 8 bits are wanted, " + width + " were given");
        }
        bits.put(target, width);
      }
      widths.finish();
    }
    boolean followDense = options.flag("follow_dense", false);
    options.finish();
    return new Extension(formats, bits, followDense);
  }
}
