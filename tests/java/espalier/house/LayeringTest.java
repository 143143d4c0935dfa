// SPDX-License-Identifier: Apache-2.0
package espalier.house;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** A package imports only what stands above it in this list; see the table of packages. */
class LayeringTest {
  /** Lowest first; "" is the facade. */
  private static final List<String> ORDER =
      List.of(
          "internal",
          "report",
          "tensor",
          "kernel",
          "layer",
          "checkpoint",
          "codec",
          "model",
          "gradient",
          "text",
          "recipe",
          "compress",
          "train",
          "runtime",
          "",
          "cli");

  /** internal turns native statuses into the exception of report: the one arrow that points up. */
  private static final Set<String> EXCEPTIONS = Set.of("internal -> report");

  /** Stages that only the facade composes. */
  private static final Set<String> STAGES = Set.of("compress", "train", "runtime");

  private static final Pattern USE = Pattern.compile("\\bespalier\\.(?:([a-z]+)\\.)?[A-Z]\\w*");

  private static final List<Path> FILES = Sources.files(".*\\.java", "java");

  @Test
  void packagesUseOnlyWhatIsBelowThem() {
    Set<String> wrong = new TreeSet<>();
    for (Path file : FILES) {
      String from = Sources.packageOf(file);
      assertTrue(ORDER.contains(from), () -> "unknown package " + from + ": add it to the table");
      for (String to : uses(file)) {
        boolean below = ORDER.indexOf(to) < ORDER.indexOf(from);
        boolean siblings = STAGES.contains(from) && STAGES.contains(to);
        if (!EXCEPTIONS.contains(from + " -> " + to) && (!below || siblings)) {
          wrong.add(Sources.relative(file) + " uses espalier." + to);
        }
      }
    }
    assertEquals(Set.of(), wrong);
  }

  @Test
  void onlyTensorAndKernelCallTheAbi() {
    Set<String> allowed = Set.of("internal", "tensor", "kernel");
    List<String> wrong = new ArrayList<>();
    for (Path file : FILES) {
      boolean calls = Sources.code(file).matches("(?s).*\\b(Gradient)?Abi\\b.*");
      if (calls && !allowed.contains(Sources.packageOf(file))) {
        wrong.add(Sources.relative(file));
      }
    }
    assertEquals(List.of(), wrong);
  }

  @Test
  void noPublicSignatureShowsJavaCppTypes() {
    List<String> wrong = new ArrayList<>();
    Pattern types = Pattern.compile("import org\\.bytedeco\\.\\S+\\.(\\w+);");
    for (Path file : FILES) {
      if (Sources.packageOf(file).equals("internal")) {
        continue;
      }
      String code = Sources.code(file);
      Matcher imported = types.matcher(code);
      while (imported.find()) {
        Pattern signature =
            Pattern.compile(
                "(?m)^\\s*(?:public|protected)[^;{=]*\\b" + imported.group(1) + "\\b[^;{]*[;{]");
        if (signature.matcher(code).find()) {
          wrong.add(Sources.relative(file) + " shows " + imported.group(1));
        }
      }
    }
    assertEquals(List.of(), wrong);
  }

  /** Packages of this project that a file names, in imports or in full, except its own. */
  private static Set<String> uses(Path file) {
    Set<String> used = new TreeSet<>();
    // Names inside strings are text: "espalier.Foo" in a message is no dependency.
    Matcher matcher = USE.matcher(Sources.code(file).replaceAll("\"(?:[^\"\\\\\\n]|\\\\.)*\"", ""));
    while (matcher.find()) {
      used.add(matcher.group(1) == null ? "" : matcher.group(1));
    }
    used.remove(Sources.packageOf(file));
    return used;
  }
}
