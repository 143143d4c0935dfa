// SPDX-License-Identifier: Apache-2.0
package espalier;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.internal.Json;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Assumptions;

/** The golden files beside the checkout; a test that wants one is skipped where they are absent. */
public final class Shared {
  private Shared() {}

  /** Returns a file or folder of the golden files, or skips the running test. */
  public static Path path(String first, String... more) {
    Path path = root().resolve(Path.of(first, more));
    Assumptions.assumeTrue(Files.exists(path), () -> path + " is not here");
    return path;
  }

  /** Returns whether a file or folder is there, for tests that list their cases from it. */
  public static boolean has(String first, String... more) {
    return Files.exists(root().resolve(Path.of(first, more)));
  }

  private static Path root() {
    String root = System.getProperty("espalier.shared", System.getenv("ESPALIER_SHARED"));
    return Path.of(root == null ? "../shared" : root).toAbsolutePath().normalize();
  }

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
