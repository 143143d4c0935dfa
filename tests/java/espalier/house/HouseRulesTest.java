// SPDX-License-Identifier: Apache-2.0
package espalier.house;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** Rules of names, licences and nevers that a program can check. */
class HouseRulesTest {
  private static final String SOURCE = ".*\\.(java|cpp|h|cu|inc|cmake)|CMakeLists\\.txt";
  private static final List<Path> ALL =
      Sources.files(SOURCE, "java", "native", "kernels", "cmake", "tests");
  private static final List<Path> MAIN = Sources.files(".*\\.java", "java");

  @Test
  void everySourceNamesItsLicenceInTheFirstLine() {
    List<String> wrong = new ArrayList<>();
    for (Path file : ALL) {
      String first = Sources.text(file).lines().findFirst().orElse("");
      if (!first.matches("(//|#) SPDX-License-Identifier: Apache-2\\.0")) {
        wrong.add(Sources.relative(file));
      }
    }
    assertEquals(List.of(), wrong);
  }

  @Test
  void typeNamesAreNounsWithoutDecoration() {
    List<String> wrong = new ArrayList<>();
    for (Path file : MAIN) {
      String name = file.getFileName().toString();
      if (name.matches(".*(Utils?|Helpers?|Impl|Managers?)\\.java|Abstract.*")) {
        wrong.add(Sources.relative(file));
      }
    }
    assertEquals(List.of(), wrong);
  }

  @Test
  void noBuildTargetsTheMachineItRunsOn() {
    String flag = "-m" + "arch=native"; // in two pieces: this file is searched too
    List<Path> files = new ArrayList<>(ALL);
    files.addAll(List.of(Sources.ROOT.resolve("pom.xml"), Sources.ROOT.resolve("espalier")));
    assertEquals(
        List.of(),
        files.stream()
            .filter(file -> Sources.text(file).lines().anyMatch(line -> isFlag(line, flag)))
            .map(Sources::relative)
            .toList());
  }

  /** A comment may say that there is none. */
  private static boolean isFlag(String line, String flag) {
    return line.contains(flag) && !line.strip().matches("(//|#|\\*).*");
  }

  @Test
  void onlyTheCommandLineEndsTheProcessOrPrints() {
    List<String> wrong = new ArrayList<>();
    for (Path file : MAIN) {
      String code = Sources.code(file);
      if (!Sources.packageOf(file).equals("cli")
          && code.matches(
              "(?s).*(System\\.(exit|out|err)\\b|Runtime\\.getRuntime\\(\\)\\.(exit|halt)|printStackTrace\\(\\)).*")) {
        wrong.add(Sources.relative(file));
      }
    }
    assertEquals(List.of(), wrong);
  }

  @Test
  void noMutableStaticState() {
    List<String> wrong = new ArrayList<>();
    for (Path file : MAIN) {
      Sources.code(file)
          .lines()
          .filter(
              line ->
                  line.matches(
                      "\\s+(public |private |protected )?static (volatile )?[\\w<>\\[\\], .?]+ \\w+( =.*|;)"))
          .filter(line -> !line.contains(" final ") && !line.contains(" native "))
          .forEach(line -> wrong.add(Sources.relative(file) + ":" + line));
    }
    assertEquals(List.of(), wrong);
  }

  @Test
  void theTopLevelHoldsNothingUnplanned() {
    Set<String> planned =
        Set.of(
            "pom.xml",
            "README.md",
            "espalier",
            "java",
            "native",
            "cmake",
            "kernels",
            "tests",
            "LICENSE");
    Set<String> untracked = Set.of("target", "out");
    String[] names = Sources.ROOT.toFile().list((folder, name) -> !name.startsWith("."));
    assertEquals(
        List.of(),
        List.of(names).stream()
            .filter(name -> !planned.contains(name) && !untracked.contains(name))
            .toList());
  }
}
