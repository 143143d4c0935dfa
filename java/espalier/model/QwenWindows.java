// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import espalier.report.EspalierException;
import java.util.ArrayList;
import java.util.List;

/**
 * Qwen's windows: the number counts only when {@code use_sliding_window} is true, and then in the
 * layers that {@code layer_types} names, or from {@code max_window_layers} on when it names none.
 */
final class QwenWindows {
  private static final int DEFAULT_WINDOW = 4096;
  private static final int DEFAULT_FIRST = 28;

  private QwenWindows() {}

  static List<Integer> read(ConfigFields fields, int layers) {
    boolean used = fields.flag("use_sliding_window", false);
    int absent = fields.mentions("sliding_window") ? 0 : DEFAULT_WINDOW;
    int window = used ? fields.count("sliding_window", absent) : 0;
    List<String> types = fields.texts("layer_types");
    if (!types.isEmpty() && types.size() != layers) {
      throw EspalierException.input(
          fields.where("layer_types")
              + " has "
              + types.size()
              + " entries, num_hidden_layers is "
              + layers,
          "Correct the file.");
    }
    // 0 is a sensible value here, all layers, and the only one count() would not read.
    List<Integer> stated = fields.ids("max_window_layers");
    int first = stated.isEmpty() ? DEFAULT_FIRST : stated.get(0);
    List<Integer> windows = new ArrayList<>(layers);
    for (int layer = 0; layer < layers; layer++) {
      boolean slides = types.isEmpty() ? layer >= first : slides(fields, types.get(layer));
      windows.add(slides ? window : 0);
    }
    return windows;
  }

  private static boolean slides(ConfigFields fields, String type) {
    return switch (type) {
      case "full_attention" -> false;
      case "sliding_attention" -> true;
      default -> throw fields.refused("layer_types");
    };
  }
}
