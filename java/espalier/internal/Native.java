// SPDX-License-Identifier: Apache-2.0
package espalier.internal;

import espalier.report.EspalierException;
import espalier.report.EspalierException.Kind;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.bytedeco.javacpp.Loader;

/** Loads the native library and its BLAS once, and turns status codes into exceptions. */
public final class Native {
  /** Status codes of {@code espalier.h}. */
  public static final int OK = 0;

  public static final int INVALID_ARGUMENT = 1;
  public static final int UNSUPPORTED = 2;
  public static final int OUT_OF_MEMORY = 3;
  public static final int DEVICE = 4;
  public static final int NUMERICAL = 5;
  public static final int IO = 6;
  public static final int CANCELLED = 8;

  private Native() {}

  private static final class Blas {
    private static final String LIBRARY = "libopenblas_nolapack.so.0";
    private static final String NEEDED = "libgfortran.so.5";

    /** Holder idiom: the vendor library is opened when the first context is made, once. */
    static final boolean OPENED = open();

    private static boolean open() {
      check(Abi.esp_blas_open(unpacked().toString()));
      return true;
    }

    /** Returns where the library lies that the preset brings, unpacked on first use. */
    private static Path unpacked() {
      try {
        // The preset's own loader reads properties and loads glue that nothing here calls: 60 ms.
        File file =
            Loader.cacheResource(
                Native.class, "/org/bytedeco/openblas/" + Loader.getPlatform() + "/" + LIBRARY);
        if (file != null && Files.exists(file.toPath().resolveSibling(NEEDED))) {
          return file.toPath();
        }
      } catch (IOException e) {
        // The loader below meets the same fault and words it.
      }
      // Unpacks the library and what it needs beside its glue.
      String glue = Loader.load(org.bytedeco.openblas.global.openblas_nolapack.class);
      return Path.of(glue).resolveSibling(LIBRARY);
    }
  }

  /** Opens OpenBLAS for the dense products; later calls do nothing. */
  public static void openBlas() {
    if (!Blas.OPENED) {
      throw new IllegalStateException("unreachable: opening either succeeds or throws");
    }
  }

  /**
   * Returns normally on OK; throws an {@link EspalierException} with the native message otherwise.
   */
  public static void check(int status) {
    if (status == OK) {
      return;
    }
    String message = Abi.esp_last_error();
    switch (status) {
      case INVALID_ARGUMENT -> throw new IllegalArgumentException(message);
      case UNSUPPORTED -> throw EspalierException.unsupported(message, "Look for a newer version.");
      case OUT_OF_MEMORY, DEVICE ->
          throw EspalierException.resource(message, "Free memory or use a smaller model.", null);
      case CANCELLED -> throw new EspalierException(Kind.INTERRUPTED, message);
      case IO -> throw EspalierException.input(message, "Check that the file is readable.");
      default -> throw new EspalierException(Kind.FAILED, message);
    }
  }
}
