// SPDX-License-Identifier: Apache-2.0
package espalier.house;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** The project's own sources, read as text by the tests of the house rules. */
final class Sources {
  /** Surefire runs in the folder of the POM. */
  static final Path ROOT = Path.of("").toAbsolutePath();

  private Sources() {}

  /** Returns every file of the named top-level folders whose name matches, sorted. */
  static List<Path> files(String nameRegex, String... folders) {
    return Stream.of(folders)
        .map(ROOT::resolve)
        .filter(Files::isDirectory)
        .flatMap(Sources::walk)
        .filter(file -> file.getFileName().toString().matches(nameRegex))
        .sorted()
        .toList();
  }

  private static Stream<Path> walk(Path folder) {
    try (Stream<Path> files = Files.walk(folder)) {
      return files.filter(Files::isRegularFile).toList().stream();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  static String text(Path file) {
    try {
      return Files.readString(file);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  static String relative(Path file) {
    return ROOT.relativize(file).toString();
  }

  /** Returns Java text without comments, so that a rule is not broken by being explained. */
  static String code(Path file) {
    return text(file).replaceAll("(?s)/\\*.*?\\*/", "").replaceAll("(?m)//.*$", "");
  }

  /** Returns the package below {@code espalier}: "tensor", or "" for the facade. */
  static String packageOf(Path javaFile) {
    Matcher matcher =
        Pattern.compile("(?m)^package espalier(?:\\.(\\w+))?;").matcher(text(javaFile));
    if (!matcher.find()) {
      throw new AssertionError(javaFile + " is not in a package of this project");
    }
    return matcher.group(1) == null ? "" : matcher.group(1);
  }
}
