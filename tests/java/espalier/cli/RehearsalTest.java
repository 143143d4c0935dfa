// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RehearsalTest {
  @TempDir Path folder;

  /** A command that no longer takes these words would silently leave its classes out. */
  @Test
  void everyCommandOfItSucceeds() throws IOException {
    ByteArrayOutputStream errors = new ByteArrayOutputStream();
    boolean succeeded =
        Rehearsal.run(
            folder.resolve("rehearsal"), new PrintStream(errors, true, StandardCharsets.UTF_8));
    assertTrue(succeeded, errors.toString(StandardCharsets.UTF_8));
    assertTrue(Files.isRegularFile(folder.resolve("rehearsal/out/model.safetensors")));
  }
}
