// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import espalier.report.EspalierException;
import java.nio.FloatBuffer;

/**
 * Rotary position angles: pair i of a head turns by position · frequency i. Pure; everything is
 * computed in double and rounded once, when a table is filled.
 *
 * <p>With D rotated dimensions, base θ and f_i = θ^(−2i/D), i &lt; D/2:
 *
 * <pre>
 * default  f_i
 * linear   f_i / factor
 * llama3   wavelength 2π/f_i above L₀/low: f_i / factor; below L₀/high: f_i; between: a blend,
 *          linear in L₀/wavelength
 * yarn     f_i / factor · (1 − r_i) + f_i · r_i, r_i falling from 1 to 0 between the dimensions that
 *          turn beta_fast and beta_slow times in L₀ positions (arXiv 2309.00071); cosines and sines
 *          times 0.1 ln(factor) + 1
 * </pre>
 *
 * Read as transformers 5.24 does it ({@code modeling_rope_utils}).
 */
public final class Rope {
  private final String type;
  private final double[] frequencies; // [D/2]
  private final double attentionFactor;

  private Rope(String type, double[] frequencies, double attentionFactor) {
    this.type = type;
    this.frequencies = frequencies;
    this.attentionFactor = attentionFactor;
  }

  /**
   * Reads {@code rope_parameters}, or {@code rope_scaling} and {@code rope_theta}, of a config;
   * when both styles are there, {@code rope_scaling} wins, as in transformers.
   *
   * @param headWidth dimensions of a head; all are rotated
   * @param contextLength the original context of scaled variants that do not name one
   * @throws EspalierException (UNSUPPORTED) for a variant we do not know, naming the field
   */
  public static Rope read(ConfigFields fields, int headWidth, int contextLength) {
    if (headWidth % 2 != 0) {
      throw EspalierException.input(
          fields.where("head_dim") + ": a rotated head has an even width, not " + headWidth,
          "Correct the file.");
    }
    String field = fields.object("rope_scaling").isPresent() ? "rope_scaling" : "rope_parameters";
    double outerTheta = fields.positive("rope_theta", 10000);
    fields.neutral("partial_rotary_factor", 1);
    var scaling = fields.object(field);
    if (scaling.isEmpty()) {
      return new Rope("default", plain(outerTheta, headWidth), 1);
    }
    ConfigFields rope = scaling.get();
    if (rope.nested()) {
      throw fields.refused(field); // another rope for every layer type
    }
    rope.neutral("partial_rotary_factor", 1);
    double theta = rope.positive("rope_theta", outerTheta);
    String key = rope.spelling("rope_type", "type");
    String type = rope.text(key, "default");
    double[] plain = plain(theta, headWidth);
    double original =
        fields.count(
            "original_max_position_embeddings",
            rope.count("original_max_position_embeddings", contextLength));
    return switch (type) {
      case "default" -> {
        rope.unset("mrope_section");
        yield new Rope(type, plain, 1);
      }
      case "linear" -> new Rope(type, divided(plain, factor(rope)), 1);
      case "llama3" -> new Rope(type, llama3(rope, plain, original), 1);
      case "yarn" -> yarn(rope, plain, theta, original, contextLength);
      default -> throw rope.refused(key);
    };
  }

  private static double[] plain(double theta, int width) {
    double[] frequencies = new double[width / 2];
    for (int i = 0; i < frequencies.length; i++) {
      frequencies[i] = Math.pow(theta, -2.0 * i / width);
    }
    return frequencies;
  }

  private static double factor(ConfigFields rope) {
    rope.number("factor"); // must be there
    return rope.positive("factor", 1);
  }

  private static double[] divided(double[] frequencies, double factor) {
    double[] result = frequencies.clone();
    for (int i = 0; i < result.length; i++) {
      result[i] /= factor;
    }
    return result;
  }

  private static double[] llama3(ConfigFields rope, double[] plain, double original) {
    double factor = factor(rope);
    double low = rope.positive("low_freq_factor", 1);
    double high = rope.positive("high_freq_factor", 4);
    if (high <= low) {
      throw rope.wrong("high_freq_factor", "more than low_freq_factor " + low);
    }
    double[] result = plain.clone();
    for (int i = 0; i < result.length; i++) {
      double turns = original * plain[i] / (2 * Math.PI); // L₀ / wavelength
      double kept = Math.min(1, Math.max(0, (turns - low) / (high - low)));
      result[i] = (1 - kept) * plain[i] / factor + kept * plain[i];
    }
    return result;
  }

  private static Rope yarn(
      ConfigFields rope, double[] plain, double theta, double original, int contextLength) {
    double factor = rope.positive("factor", contextLength / original);
    double low = dimension(rope.positive("beta_fast", 32), 2 * plain.length, theta, original);
    double high = dimension(rope.positive("beta_slow", 1), 2 * plain.length, theta, original);
    if (rope.flag("truncate", true)) {
      low = Math.floor(low);
      high = Math.ceil(high);
    }
    low = Math.max(low, 0);
    high = Math.min(high, 2 * plain.length - 1);
    if (low == high) {
      high += 0.001; // transformers' guard against a division by zero
    }
    double[] result = plain.clone();
    for (int i = 0; i < result.length; i++) {
      double kept = 1 - Math.min(1, Math.max(0, (i - low) / (high - low)));
      result[i] = plain[i] / factor * (1 - kept) + plain[i] * kept;
    }
    double mscale = rope.number("mscale", 0);
    double mscaleAll = rope.number("mscale_all_dim", 0);
    double standard =
        mscale != 0 && mscaleAll != 0
            ? attentionScale(factor, mscale) / attentionScale(factor, mscaleAll)
            : attentionScale(factor, 1);
    return new Rope("yarn", result, rope.positive("attention_factor", standard));
  }

  /**
   * Returns the (fractional) dimension whose pair turns this many times in the original context.
   */
  private static double dimension(double turns, int width, double theta, double original) {
    return width * Math.log(original / (turns * 2 * Math.PI)) / (2 * Math.log(theta));
  }

  private static double attentionScale(double factor, double mscale) {
    return factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1;
  }

  /** Returns the name of the variant as configs spell it. */
  public String type() {
    return type;
  }

  /** Returns rotated pairs of a head: columns of a table. */
  public int pairs() {
    return frequencies.length;
  }

  /** Returns the angle per position of pair {@code i}, in radians. */
  public double frequency(int i) {
    return frequencies[i];
  }

  /** Returns what cosines and sines are multiplied by. */
  public double attentionFactor() {
    return attentionFactor;
  }

  /**
   * Writes rows of positions from {@code from} on until the buffers, [rows, pairs] both, are full.
   */
  public void fill(FloatBuffer cosines, FloatBuffer sines, long from) {
    for (long position = from; cosines.hasRemaining(); position++) {
      for (double frequency : frequencies) {
        double angle = position * frequency;
        cosines.put((float) (Math.cos(angle) * attentionFactor));
        sines.put((float) (Math.sin(angle) * attentionFactor));
      }
    }
  }
}
