// SPDX-License-Identifier: Apache-2.0
package espalier.internal;

import espalier.report.EspalierException;
import espalier.report.EspalierException.Kind;
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
    /** Holder idiom: the vendor library is opened when the first context is made, once. */
    static final boolean OPENED = open();

    private static boolean open() {
      // Loading the preset unpacks libopenblas beside its JNI glue; we open that file ourselves.
      String glue = Loader.load(org.bytedeco.openblas.global.openblas_nolapack.class);
      Path folder = Path.of(glue).getParent();
      check(Abi.esp_blas_open(folder.resolve("libopenblas_nolapack.so.0").toString()));
      return true;
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
