// SPDX-License-Identifier: Apache-2.0
package espalier.house;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import org.junit.jupiter.api.Test;

/** Aim at 300 lines a file, discuss at 500, never above 800. */
class FileSizeTest {
  private static final int MOST_LINES = 800;

  @Test
  void noSourceIsLongerThanEightHundredLines() {
    String source = ".*\\.(java|cpp|h|cu|inc|cmake|py|md)|CMakeLists\\.txt|espalier";
    assertEquals(
        List.of(),
        Sources.files(source, "java", "native", "kernels", "cmake", "tests").stream()
            .filter(file -> Sources.text(file).lines().count() > MOST_LINES)
            .map(Sources::relative)
            .toList());
  }
}
