// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import java.util.Arrays;
import java.util.Comparator;
import java.util.stream.IntStream;

/** Zeros by magnitude in the linears of a tiny model: what a pruned dense checkpoint looks like. */
public final class PrunedModels {
  private PrunedModels() {}

  /** Zeroes {@code zeros} of every {@code of} columns of every linear but the head. */
  public static TinyModels structured(TinyModels model, int zeros, int of) {
    model
        .tensors()
        .forEach(
            (name, values) -> {
              if (isLinear(name, values)) {
                for (int from = 0; from + of <= values.values().length; from += of) {
                  drop(values.values(), from, of, zeros);
                }
              }
            });
    return model;
  }

  /** Zeroes a share of every linear but the head, the smallest of the whole matrix. */
  public static TinyModels unstructured(TinyModels model, double share) {
    model
        .tensors()
        .forEach(
            (name, values) -> {
              if (isLinear(name, values)) {
                int count = values.values().length;
                drop(values.values(), 0, count, (int) (share * count));
              }
            });
    return model;
  }

  private static boolean isLinear(String name, TinyModels.Values values) {
    return values.shape().length == 2 && (name.contains(".layers.") || name.contains(".h."));
  }

  private static void drop(float[] values, int from, int count, int zeros) {
    IntStream.range(from, from + count)
        .boxed()
        .sorted(Comparator.comparingDouble(i -> Math.abs(values[i])))
        .limit(zeros)
        .forEach(i -> values[i] = 0);
  }

  /** Returns how many values of a tensor are not 0. */
  public static long kept(TinyModels.Values values) {
    return Arrays.stream(toDoubles(values.values())).filter(v -> v != 0).count();
  }

  private static double[] toDoubles(float[] values) {
    return IntStream.range(0, values.length).mapToDouble(i -> values[i]).toArray();
  }
}
