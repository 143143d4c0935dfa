// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.kernel.LinearAlgebra;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * The upper triangle of a square matrix F64 [width, width], laid aside in unnamed files of a folder
 * while its memory serves something else. Lives in the scope that was open when it was made.
 *
 * <pre>
 * band b = rows 256·b … of the square, each from column 256·b on: F64 [rows, width − 256·b]
 * </pre>
 */
final class Triangle {
  /** Rows of a band: 8 · 256 · 28672 bytes, 59 MB, are resident at a time at the widest. */
  static final int BAND = 256;

  private final long width;
  private final List<Tensor> bands = new ArrayList<>();

  /** Copies the triangle of a square; one band at a time is resident. */
  Triangle(Context context, Path folder, Tensor square) {
    width = square.dimension(0);
    for (long first = 0; first < width; first += BAND) {
      long rows = Math.min(BAND, width - first);
      Tensor band = context.spill(folder, DType.F64, rows, width - first);
      copy(band, square, first, true);
      bands.add(band);
    }
  }

  /** Copies the triangle back into a square. */
  void into(Tensor square) {
    for (int i = 0; i < bands.size(); i++) {
      copy(bands.get(i), square, (long) i * BAND, false);
    }
  }

  /** Writes the upper triangle of a Hessian, as {@link LinearAlgebra#hessian} does. */
  void hessian(Context context, double scale, Tensor order, Tensor diagonal, Tensor h) {
    for (int i = 0; i < bands.size(); i++) {
      Tensor band = bands.get(i);
      LinearAlgebra.hessianBand(context, (long) i * BAND, band, scale, order, diagonal, h);
      band.forget();
    }
  }

  private void copy(Tensor band, Tensor square, long first, boolean out) {
    long length = (width - first) * Double.BYTES;
    for (long row = 0; row < band.dimension(0); row++) {
      var aside = band.buffer(row * length, length);
      var here = square.buffer(((first + row) * width + first) * Double.BYTES, length);
      if (out) {
        aside.put(here);
      } else {
        here.put(aside);
      }
    }
    band.forget();
  }
}
