// SPDX-License-Identifier: Apache-2.0
package espalier;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;

/**
 * The measurement behind the defaults of {@code --scheme}: order of columns, symmetry and search of
 * ranges for GPTQ in groups of 64, judged on documents 129 to 600 of the calibration texts, which
 * neither calibration (1 to 128) nor evaluation sees. Prints one line a model and choice.
 *
 * <pre>java -cp ... espalier.DefaultsBench [MODEL[:LAST] ...] [CHOICE ...]</pre>
 *
 * LAST is a document to stop at before 600, where time is short; a CHOICE such as gptq.b4.sym.g64
 * leaves out the others.
 */
final class DefaultsBench {
  private static final List<String> MODELS =
      List.of("stories260K", "tiny1m", "babyllama105", "stories3M");

  /** Documents before this one calibrate. */
  private static final int FIRST = 128;

  private static final int LAST = 600;

  private DefaultsBench() {}

  public static void main(String[] arguments) {
    List<String> chosen = Stream.of(arguments).filter(DefaultsBench::isChoice).toList();
    List<String> models = Stream.of(arguments).filter(argument -> !isChoice(argument)).toList();
    for (String entry : models.isEmpty() ? MODELS : models) {
      String[] parts = entry.split(":");
      int last = parts.length > 1 ? Integer.parseInt(parts[1]) : LAST;
      try (QualityBench bench =
          new QualityBench(parts[0], "data/tinystories_calib.jsonl", FIRST, last)) {
        for (String key : chosen.isEmpty() ? choices() : chosen) {
          QualityBench.Figures figures = bench.figures(key);
          System.out.printf(
              Locale.ROOT,
              "%-12s %d-%d %-26s perplexity %9.4f  KL %.5f  top-1 %.4f%n",
              parts[0],
              FIRST + 1,
              last,
              key,
              figures.perplexity(),
              figures.kl(),
              figures.top1());
        }
      }
    }
  }

  private static boolean isChoice(String argument) {
    return argument.startsWith("gptq.");
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
