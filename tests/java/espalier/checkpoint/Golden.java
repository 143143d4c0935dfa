// SPDX-License-Identifier: Apache-2.0
package espalier.checkpoint;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Assumptions;

/** The files that upstream tools wrote; tests that need them are skipped where they are absent. */
final class Golden {
  private Golden() {}

  static Path formats(String folder) {
    String root = System.getProperty("espalier.shared", System.getenv("ESPALIER_SHARED"));
    Path path = Path.of(root == null ? "../shared" : root, "golden", "formats", folder);
    Assumptions.assumeTrue(Files.isDirectory(path), () -> "no golden files at " + path);
    return path;
  }
}
