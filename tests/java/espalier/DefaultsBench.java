// SPDX-License-Identifier: Apache-2.0
package espalier;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * The measurement behind the defaults of {@code --scheme}: order of columns, symmetry and search of
 * ranges for GPTQ in groups of 64, judged on documents 129 to 600 of the calibration texts, which
 * neither calibration (1 to 128) nor evaluation sees. Prints one line a model and choice.
 *
 * <pre>java -cp ... espalier.DefaultsBench [MODEL ...]</pre>
 */
final class DefaultsBench {
  private static final List<String> MODELS =
      List.of("stories260K", "tiny1m", "babyllama105", "stories3M");

  private DefaultsBench() {}

  public static void main(String[] models) {
    for (String model : models.length == 0 ? MODELS : List.of(models)) {
      try (QualityBench bench = new QualityBench(model, "data/tinystories_calib.jsonl", 128, 600)) {
        for (String key : choices()) {
          QualityBench.Figures figures = bench.figures(key);
          System.out.printf(
              Locale.ROOT,
              "%-12s %-26s perplexity %9.4f  KL %.5f  top-1 %.4f%n",
              model,
              key,
              figures.perplexity(),
              figures.kl(),
              figures.top1());
        }
      }
    }
  }

  private static List<String> choices() {
    List<String> keys = new ArrayList<>();
    for (int bits : new int[] {4, 3}) {
      for (String symmetry : List.of("sym", "asym")) {
        for (String order : List.of("", ".act")) {
          for (String range : List.of("", ".mse")) {
            keys.add("gptq.b" + bits + "." + symmetry + ".g64" + order + range);
          }
        }
      }
    }
    return keys;
  }
}
