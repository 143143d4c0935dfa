// SPDX-License-Identifier: Apache-2.0
package espalier.gradient;

/**
 * The learning rate of every step: a linear warm-up to the peak, then a curve to the end.
 *
 * <pre>
 * s &lt; warmup  peak (s + 1) / warmup
 * else        floor + (peak − floor) f(t),  t = (s − warmup) / (steps − warmup)
 *             constant f = 1, linear f = 1 − t, cosine f = (1 + cos πt) / 2
 * </pre>
 *
 * @param peak the largest rate
 * @param floor the rate at {@code steps}, of a curve that falls
 * @param warmup steps of warm-up
 * @param steps of the whole run; later steps keep the last rate
 */
public record Schedule(Curve curve, double peak, double floor, long warmup, long steps) {
  /** What follows the warm-up. */
  public enum Curve {
    CONSTANT,
    LINEAR,
    COSINE
  }

  /**
   * @throws IllegalArgumentException for a warm-up longer than the run, a rate that is not positive
   *     or a floor above the peak
   */
  public Schedule {
    if (!(peak > 0 && floor >= 0 && floor <= peak) || warmup < 0 || steps < warmup) {
      throw new IllegalArgumentException(
          String.format(
              "a rate of %s falling to %s, %d steps of warm-up of %d", peak, floor, warmup, steps));
    }
  }

  /** Returns the rate of step {@code s}, counted from 0. */
  public double rate(long s) {
    if (s < warmup) {
      return peak * (s + 1) / warmup;
    }
    double t = steps == warmup ? 1 : Math.min(1, (double) (s - warmup) / (steps - warmup));
    return switch (curve) {
      case CONSTANT -> peak;
      case LINEAR -> floor + (peak - floor) * (1 - t);
      case COSINE -> floor + (peak - floor) * 0.5 * (1 + Math.cos(Math.PI * t));
    };
  }
}
