// SPDX-License-Identifier: Apache-2.0
package espalier;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.internal.Json;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Assumptions;

/**
 * The read-only reference material beside the checkout: models, texts, outputs of upstream tools. A
 * test that needs it is skipped, and counted as skipped, where it is absent.
 */
public final class Shared {
  private Shared() {}

  /** Returns whether the material is there. */
  public static boolean present() {
    return Files.isDirectory(root());
  }

  /** Returns a path inside; skips the running test when it is absent. */
  public static Path path(String first, String... more) {
    String relative = Path.of(first, more).toString();
    Path path = root().resolve(relative);
    Assumptions.assumeTrue(
        Files.exists(path), () -> "needs " + relative + " of the shared material");
    return path;
  }

  /** Returns the folders below a folder, sorted; empty when it is absent. */
  public static Stream<Path> folders(String relative) {
    Path path = root().resolve(relative);
    if (!Files.isDirectory(path)) {
      return Stream.empty();
    }
    try (Stream<Path> list = Files.list(path)) {
      return list.filter(Files::isDirectory).sorted().toList().stream();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Returns the root: property espalier.shared, variable ESPALIER_SHARED, or ../shared. */
  public static Path root() {
    String property = System.getProperty("espalier.shared", System.getenv("ESPALIER_SHARED"));
    return Path.of(property == null ? "../shared" : property);
  }

  /** Returns a JSON file read strictly. */
  public static JsonNode json(Path file) {
    try {
      return Json.STRICT.readTree(Files.readAllBytes(file));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Returns a JSON list of integers. */
  public static int[] ids(JsonNode list) {
    return StreamSupport.stream(list.spliterator(), false).mapToInt(JsonNode::intValue).toArray();
  }
}
