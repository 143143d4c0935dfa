// SPDX-License-Identifier: Apache-2.0
package espalier;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * The measurement behind the defaults of {@code --scheme}: order of columns, symmetry and search of
 * ranges for GPTQ in groups of 64, judged on documents 129 to 600 of the calibration texts, which
 * neither calibration (1 to 128) nor evaluation sees. Prints one line a model and choice; with
 * README.md named, measures what its table of defaults shows and writes that table; with {@code
 * follow} beside it, the table of what it gives to follow the dense model.
 *
 * <pre>java -cp ... espalier.DefaultsBench [README.md [follow]] [MODEL[:LAST] ...] [CHOICE ...]
 * </pre>
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
  private static final int[] WIDTHS = {4, 3};
  private static final String FOLLOW = "follow";

  /** Methods of the second table: their keys, and their names. */
  private static final Map<String, String> FOLLOWED = new LinkedHashMap<>();

  /** Rows of the table: the rest of a choice's key, and its name. */
  private static final Map<String, String> ROWS = new LinkedHashMap<>();

  static {
    ROWS.put(".sym.g64", "extremes, columns as written");
    ROWS.put(".sym.g64.act", "extremes, by importance");
    ROWS.put(".sym.g64.mse", "searched, columns as written");
    ROWS.put(".sym.g64.act.mse", "**searched, by importance**");
    ROWS.put(".asym.g64.act.mse", "the same, asymmetric");
    FOLLOWED.put("gptq.b4.sym.g64.act.mse", "GPTQ, 4 bits");
    FOLLOWED.put("gptq.b3.sym.g64.act.mse", "GPTQ, 3 bits");
    FOLLOWED.put("sparsegpt.50", "SparseGPT, 50 %");
    FOLLOWED.put("sparsegpt.70", "SparseGPT, 70 %");
    FOLLOWED.put("sparsegpt.2of4", "SparseGPT, 2:4");
    FOLLOWED.put("joint.2of4.b4.sym.g0", "SparseGPT, 2:4 and 4 bits");
  }

  /** A model and the last document to judge it on. */
  private record Subject(String model, int last) {
    static Subject of(String entry) {
      String[] parts = entry.split(":");
      return new Subject(parts[0], parts.length > 1 ? Integer.parseInt(parts[1]) : LAST);
    }
  }

  private DefaultsBench() {}

  public static void main(String[] arguments) throws IOException {
    List<String> chosen = Stream.of(arguments).filter(DefaultsBench::isChoice).toList();
    Optional<Path> readme =
        Stream.of(arguments).filter(DefaultsBench::isReadme).findFirst().map(Path::of);
    boolean follow = List.of(arguments).contains(FOLLOW);
    List<Subject> subjects =
        Stream.of(arguments)
            .filter(argument -> !isChoice(argument) && !isReadme(argument))
            .filter(argument -> !argument.equals(FOLLOW))
            .map(Subject::of)
            .toList();
    if (subjects.isEmpty()) {
      subjects = MODELS.stream().map(Subject::of).toList();
    }
    List<String> keys =
        follow ? followed() : readme.isPresent() ? shown() : chosen.isEmpty() ? choices() : chosen;
    Map<Subject, Map<String, QualityBench.Figures>> figures = new LinkedHashMap<>();
    for (Subject subject : subjects) {
      figures.put(subject, measure(subject, keys));
    }
    if (readme.isPresent()) {
      String name = follow ? FOLLOW : "defaults";
      write(readme.get(), name, follow ? pairs(figures) : table(figures));
    }
  }

  private static Map<String, QualityBench.Figures> measure(Subject subject, List<String> keys) {
    Map<String, QualityBench.Figures> all = new LinkedHashMap<>();
    try (QualityBench bench =
        new QualityBench(subject.model(), "data/tinystories_calib.jsonl", FIRST, subject.last())) {
      for (String key : keys) {
        QualityBench.Figures figures = bench.figures(key);
        all.put(key, figures);
        System.out.printf(
            Locale.ROOT,
            "%-12s %d-%d %-26s perplexity %9.4f  KL %.5f  top-1 %.4f%n",
            subject.model(),
            FIRST + 1,
            subject.last(),
            key,
            figures.perplexity(),
            figures.kl(),
            figures.top1());
      }
    }
    return all;
  }

  private static boolean isChoice(String argument) {
    return argument.contains(".") && !isReadme(argument);
  }

  private static boolean isReadme(String argument) {
    return argument.endsWith(".md");
  }

  private static List<String> choices() {
    List<String> keys = new ArrayList<>();
    for (int bits : WIDTHS) {
      for (String symmetry : List.of("sym", "asym")) {
        for (String order : List.of("", ".act")) {
          for (String range : List.of("", ".mse")) {
            keys.add(key(bits, "." + symmetry + ".g64" + order + range));
          }
        }
      }
    }
    return keys;
  }

  private static List<String> shown() {
    return IntStream.of(WIDTHS)
        .boxed()
        .flatMap(bits -> ROWS.keySet().stream().map(rest -> key(bits, rest)))
        .toList();
  }

  private static String key(int bits, String rest) {
    return "gptq.b" + bits + rest;
  }

  /** KL divergences: a row a choice, a column a model and width. */
  private static String table(Map<Subject, Map<String, QualityBench.Figures>> figures) {
    StringBuilder head = new StringBuilder("| |");
    figures
        .keySet()
        .forEach(
            subject -> {
              for (int bits : WIDTHS) {
                head.append(' ').append(subject.model()).append(" W").append(bits).append(" |");
              }
            });
    StringBuilder documents = new StringBuilder("| documents from 129 to |");
    figures.keySet().forEach(s -> documents.append((" " + s.last() + " |").repeat(WIDTHS.length)));
    StringBuilder text = new StringBuilder(head).append("\n|---|");
    text.append("---:|".repeat(figures.size() * WIDTHS.length)).append('\n');
    text.append(documents).append('\n');
    ROWS.forEach(
        (rest, name) -> {
          text.append("| ").append(name).append(" |");
          for (Map<String, QualityBench.Figures> of : figures.values()) {
            for (int bits : WIDTHS) {
              text.append(String.format(Locale.ROOT, " %.4f |", of.get(key(bits, rest)).kl()));
            }
          }
          text.append('\n');
        });
    return text.toString();
  }

  private static List<String> followed() {
    return FOLLOWED.keySet().stream().flatMap(key -> Stream.of(key, key + "." + FOLLOW)).toList();
  }

  /** Perplexity and KL divergence without and with it: a row a method, a column a model. */
  private static String pairs(Map<Subject, Map<String, QualityBench.Figures>> figures) {
    StringBuilder text = new StringBuilder("| perplexity; KL |");
    figures.keySet().forEach(subject -> text.append(' ').append(subject.model()).append(" |"));
    text.append("\n|---|").append("---:|".repeat(figures.size())).append('\n');
    FOLLOWED.forEach(
        (key, name) -> {
          text.append("| ").append(name).append(" |");
          for (Map<String, QualityBench.Figures> of : figures.values()) {
            QualityBench.Figures plain = of.get(key);
            QualityBench.Figures follows = of.get(key + "." + FOLLOW);
            text.append(
                String.format(
                    Locale.ROOT,
                    " %.2f → **%.2f**; %.3f → **%.3f** |",
                    plain.perplexity(),
                    follows.perplexity(),
                    plain.kl(),
                    follows.kl()));
          }
          text.append('\n');
        });
    return text.toString();
  }

  private static void write(Path readme, String name, String table) throws IOException {
    String begin = "<!-- " + name + ":begin -->\n";
    String whole = Files.readString(readme);
    int from = whole.indexOf(begin);
    int to = whole.indexOf("<!-- " + name + ":end -->");
    if (from < 0 || to < from) {
      throw new IllegalArgumentException(readme + " has no markers for the table " + name);
    }
    Files.writeString(
        readme, whole.substring(0, from + begin.length()) + table + whole.substring(to));
  }
}
