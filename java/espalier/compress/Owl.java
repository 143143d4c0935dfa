// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.layer.Linear;
import espalier.recipe.PrunerOptions;
import espalier.report.Event;
import espalier.tensor.Context;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/**
 * OWL (Yin et al., arXiv 2310.05175): blocks with many outliers are pruned less.
 *
 * <pre>
 * A_ij = |W_ij| · ‖x_j‖            over all linears of block k that are pruned, of the dense model
 * d_k  = share of A_ij &gt; m · mean A
 * r_k  = 2λ · (d_k − min d) / (max d − min d)
 * s_k  = s + mean r − r_k          s the sparsity asked for: the mean of all blocks stays s
 * </pre>
 *
 * @param m outliers are above this multiple of the mean
 * @param lambda how far a block may depart from the mean sparsity
 */
public record Owl(double m, double lambda) {
  /** The least and most that a block is left with. */
  private static final double MOST = 0.99;

  /** Returns the profile that a recipe asks for, if it does. */
  static Optional<Owl> of(PrunerOptions options) {
    return options.profile() == null
        ? Optional.empty()
        : Optional.of(new Owl(options.owlM(), options.owlLambda()));
  }

  /** Counts outliers of one block. */
  final class Outliers {
    private final List<Part> parts = new ArrayList<>();
    private double sum;
    private long weights;

    private record Part(Linear linear, float[] norms) {}

    /** Adds a linear with what was measured of its input. */
    void add(Linear linear, Statistics statistics, Context context) {
      try (Context.Scope scope = context.scope()) {
        Part part = new Part(linear, Wanda.norms(statistics, context).toFloats());
        FloatBuffer values = linear.weight(context).buffer().asFloatBuffer();
        for (int i = 0; values.hasRemaining(); i = i + 1 == part.norms.length ? 0 : i + 1) {
          sum += Math.abs(values.get()) * part.norms[i];
        }
        weights += values.capacity();
        parts.add(part);
      }
    }

    /** Returns the share of outliers. */
    double share(Context context) {
      double threshold = weights == 0 ? 0 : m * sum / weights;
      long outliers = 0;
      for (Part part : parts) {
        try (Context.Scope scope = context.scope()) {
          FloatBuffer values = part.linear.weight(context).buffer().asFloatBuffer();
          for (int i = 0; values.hasRemaining(); i = i + 1 == part.norms.length ? 0 : i + 1) {
            outliers += Math.abs(values.get()) * part.norms[i] > threshold ? 1 : 0;
          }
        }
      }
      return weights == 0 ? 0 : (double) outliers / weights;
    }
  }

  /**
   * Returns, for every share of outliers, how much more or less than the mean is pruned: s_k − s.
   */
  double[] departures(double[] shares) {
    double least = Double.POSITIVE_INFINITY;
    double most = Double.NEGATIVE_INFINITY;
    for (double share : shares) {
      least = Math.min(least, share);
      most = Math.max(most, share);
    }
    double[] departures = new double[shares.length];
    if (shares.length == 0 || most == least) {
      return departures;
    }
    double mean = 0;
    for (int k = 0; k < shares.length; k++) {
      departures[k] = -2 * lambda * (shares[k] - least) / (most - least);
      mean += departures[k] / shares.length;
    }
    for (int k = 0; k < shares.length; k++) {
      departures[k] -= mean;
    }
    return departures;
  }

  /** Returns a sparsity moved by a departure, within what can be pruned. */
  static double moved(double sparsity, double departure) {
    return Math.max(0, Math.min(MOST, sparsity + departure));
  }

  /** Returns what the report should say of the blocks' sparsities. */
  static Event event(Map<String, Double> departures) {
    Map<String, String> words = new LinkedHashMap<>();
    departures.forEach(
        (block, by) -> words.put(block, String.format(Locale.ROOT, "%s %+.4f", block, by)));
    return Event.info(
        "owl-ratios",
        "recipe",
        "sparsity by block, against what was asked for: " + String.join(", ", words.values()));
  }
}
