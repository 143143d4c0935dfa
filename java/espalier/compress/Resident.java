// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * The memory of this process as the kernel counts it: pages in RAM, those of mapped files and of
 * the Java heap included. From {@code /proc/self/status}; 0 where there is none.
 */
public final class Resident {
  private static final Path STATUS = Path.of("/proc/self/status");

  private Resident() {}

  /** Returns the bytes resident now. */
  public static long bytes() {
    return field("VmRSS:");
  }

  /** Returns the most bytes that were resident at any time since the process began. */
  public static long peakBytes() {
    return field("VmHWM:");
  }

  /** A line is {@code VmRSS: 12345 kB}. */
  private static long field(String name) {
    try {
      for (String line : Files.readAllLines(STATUS)) {
        if (line.startsWith(name)) {
          return Long.parseLong(line.replaceAll("\\D", "")) << 10;
        }
      }
    } catch (IOException e) {
      return 0; // not Linux: reports leave the figure out
    }
    return 0;
  }
}
