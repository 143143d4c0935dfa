// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.internal.Json;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Assumptions;

/** The golden files beside the checkout; a test that wants one is skipped where they are absent. */
final class Shared {
  private Shared() {}

  static Path path(String first, String... more) {
    String root = System.getProperty("espalier.shared", System.getenv("ESPALIER_SHARED"));
    Path path = Path.of(root == null ? "../shared" : root).resolve(Path.of(first, more));
    Assumptions.assumeTrue(Files.exists(path), () -> path + " is not here");
    return path;
  }

  static JsonNode json(Path file) throws IOException {
    return Json.STRICT.readTree(Files.readAllBytes(file));
  }

  static int[] ids(JsonNode list) {
    int[] ids = new int[list.size()];
    for (int i = 0; i < ids.length; i++) {
      ids[i] = list.get(i).intValue();
    }
    return ids;
  }
}
