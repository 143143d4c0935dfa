// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import espalier.Shared;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** What users of such tools stumbled over: every case of the field holds. */
class FieldGoldenTest {
  @TempDir Path scratch;

  @TestFactory
  Stream<DynamicTest> everyCaseHolds() {
    if (!Shared.present()) {
      // One test that skips itself, so that the absence is counted.
      return Stream.of(DynamicTest.dynamicTest("field", () -> Shared.path("golden/field")));
    }
    return Shared.folders("golden/field")
        .map(
            folder ->
                DynamicTest.dynamicTest(folder.getFileName().toString(), () -> holds(folder)));
  }

  private void holds(Path folder) throws IOException {
    Path out = Files.createTempDirectory(scratch, "out");
    assertEquals(List.of(), FieldCase.faults(folder.toAbsolutePath(), out));
  }
}
