// SPDX-License-Identifier: Apache-2.0
package espalier.report;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Locale;

/** Numbers as people read them. */
final class Figures {
  private Figures() {}

  /** Returns a size in decimal units: {@code 1.25 MB}. */
  static String bytes(long bytes) {
    double value = bytes;
    String[] units = {"B", "kB", "MB", "GB", "TB"};
    int unit = 0;
    while (value >= 1000 && unit < units.length - 1) {
      value /= 1000;
      unit++;
    }
    return unit == 0
        ? bytes + " B"
        : String.format(Locale.ROOT, value < 10 ? "%.2f %s" : "%.1f %s", value, units[unit]);
  }

  /** Returns a time: {@code 12 ms}, {@code 3.4 s}, {@code 5 min 12 s}, {@code 2 h 05 min}. */
  static String seconds(double seconds) {
    if (seconds < 1) {
      return String.format(Locale.ROOT, seconds < 0.01 ? "%.2f ms" : "%.0f ms", seconds * 1000);
    }
    if (seconds < 100) {
      return String.format(Locale.ROOT, "%.1f s", seconds);
    }
    long whole = Math.round(seconds);
    return whole < 3600
        ? whole / 60 + " min " + whole % 60 + " s"
        : String.format(Locale.ROOT, "%d h %02d min", whole / 3600, whole % 3600 / 60);
  }

  /** Returns a relative error in three digits. */
  static String error(double value) {
    return value == 0 ? "0" : String.format(Locale.ROOT, value < 1e-3 ? "%.2e" : "%.3g", value);
  }

  static String percent(double share) {
    return String.format(Locale.ROOT, "%.1f %%", 100 * share);
  }

  static String fixed(double value, int digits) {
    return String.format(Locale.ROOT, "%." + digits + "f", value);
  }

  /** Returns a fact of any kind in words. */
  static String words(JsonNode value) {
    if (value.isObject()) {
      StringBuilder text = new StringBuilder();
      value
          .properties()
          .forEach(
              e ->
                  text.append(text.isEmpty() ? "" : "\n")
                      .append(e.getKey())
                      .append(": ")
                      .append(words(e.getValue())));
      return text.toString();
    }
    return value.isValueNode() ? value.asText() : value.toString();
  }
}
