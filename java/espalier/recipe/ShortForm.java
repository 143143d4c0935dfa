// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import espalier.recipe.QuantizationArgs.Type;
import espalier.report.EspalierException;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * The recipe behind a scheme, a sparsity, or both, named on the command line: all linears but the
 * head. Both are solved in one pass where there is a solver for both, else one after the other.
 *
 * <p>What the scheme's name leaves open for GPTQ was chosen by measurement, on texts that neither
 * calibrate nor evaluate: columns by importance with static groups, and ranges of 4 bits and fewer
 * searched for the least error of the weights instead of taken from the extremes. Symmetric stays
 * symmetric, since the name says so: {@code W4A16_ASYM} is the other one.
 *
 * @param yaml the recipe as text, to print or to keep
 * @param recipe the same, parsed
 */
public record ShortForm(String yaml, Recipe recipe) {
  /** The name that stands for a file in messages about a recipe made here. */
  public static final String SOURCE = "--scheme";

  private static final List<String> METHODS = List.of("gptq", "rtn");
  private static final String HEAD = "default_stage:\n  default_modifiers:\n";

  /** What pruning loses in one layer is more than rounding does, and the next can make up for. */
  private static final String FOLLOW = new Extension(List.of(), Map.of(), true).yaml();

  /** Codes of more bits than this cover their extremes at no cost; cutting them off loses. */
  private static final int SEARCHED_BITS = 4;

  /**
   * Makes and parses the recipe.
   *
   * @param scheme a preset, in any case of letters
   * @param method {@code gptq}, {@code rtn} (round to nearest), or null for gptq where weights are
   *     integers and rtn where they are floats
   * @param groupSize null for the preset's own; 0 or -1 for one scale per row
   * @throws EspalierException of kind USAGE for an unknown scheme or method, or a group size where
   *     the scheme fixes its own
   */
  public static ShortForm of(String scheme, String method, Integer groupSize, Registry registry) {
    String yaml = yaml(scheme, method, groupSize);
    return new ShortForm(yaml, Recipe.parse(yaml, SOURCE, registry));
  }

  /**
   * Makes and parses the recipe of a pruning, with or without a scheme.
   *
   * @param scheme a preset, or null to leave what stays as it is
   */
  public static ShortForm of(
      PruneForm pruning, String scheme, String method, Integer groupSize, Registry registry) {
    String yaml = yaml(pruning, scheme, method, groupSize);
    return new ShortForm(yaml, Recipe.parse(yaml, "--sparsity", registry));
  }

  /** Returns the same with or without solving for the dense model's outputs. */
  public ShortForm followingDense(boolean follow, Registry registry) {
    String plain = yaml.replace(FOLLOW, "");
    String text = follow ? plain + FOLLOW : plain;
    return new ShortForm(text, Recipe.parse(text, SOURCE, registry));
  }

  /** Returns the text alone; see {@link #of}. */
  public static String yaml(String scheme, String method, Integer groupSize) {
    return HEAD + quantizer(null, scheme, method, groupSize);
  }

  private static String yaml(PruneForm pruning, String scheme, String method, Integer groupSize) {
    if (scheme != null) {
      boolean follows = pruning.isSolver() || isGptq(preset(scheme), method);
      return HEAD + quantizer(pruning, scheme, method, groupSize) + (follows ? FOLLOW : "");
    }
    if (method != null || groupSize != null) {
      throw EspalierException.usage(
          (method != null ? "--method" : "--group-size") + " is given without --scheme",
          "Name a scheme such as W4A16, or leave it out; --prune-method says how to prune.");
    }
    return HEAD + pruning.yaml() + (pruning.isSolver() ? FOLLOW : "");
  }

  private static String quantizer(
      PruneForm pruning, String scheme, String method, Integer groupSize) {
    SchemeGroup preset = preset(scheme);
    boolean gptq = isGptq(preset, method);
    boolean joint = pruning != null && pruning.isSolver() && gptq;
    // The joint solve goes from left to right, and finds its ranges on what is left to round.
    String solver = gptq && !joint ? solver(preset) : "";
    String name = scheme.toUpperCase(Locale.ROOT);
    StringBuilder yaml = new StringBuilder();
    if (joint) {
      yaml.append("    SparseGPTQuantizationModifier:\n").append(pruning.fields());
    } else {
      yaml.append(pruning == null ? "" : pruning.yaml());
      yaml.append(gptq ? "    GPTQModifier:\n" : "    QuantizationModifier:\n");
    }
    if (groupSize == null) {
      yaml.append("      scheme: ").append(name).append('\n');
      yaml.append("      targets: [Linear]\n");
      yaml.append("      ignore: [lm_head]\n");
      return yaml.append(solver).toString();
    }
    QuantizationArgs weights = weights(preset, name, groupSize);
    yaml.append("      ignore: [lm_head]\n");
    yaml.append(solver);
    yaml.append("      config_groups:\n");
    yaml.append("        group_0:  # ").append(name).append(" with another group size\n");
    yaml.append("          targets: [Linear]\n");
    yaml.append("          weights: ").append(weights.flow()).append('\n');
    if (preset.inputs() != null) {
      yaml.append("          input_activations: ").append(preset.inputs().flow()).append('\n');
    }
    return yaml.toString();
  }

  private static SchemeGroup preset(String scheme) {
    return Presets.find(scheme, "group_0", List.of("Linear"))
        .orElseThrow(
            () ->
                EspalierException.usage(
                    "--scheme "
                        + scheme
                        + ": no preset scheme has that name"
                        + RecipeError.didYouMean(Presets.nearest(scheme)),
                    "Schemes: " + String.join(", ", Presets.names())));
  }

  private static String solver(SchemeGroup preset) {
    QuantizationArgs weights = preset.weights();
    boolean searched =
        weights != null && weights.type() == Type.INT && weights.numBits() <= SEARCHED_BITS;
    return "      actorder: static\n"
        + (searched ? "      weight_observer: " + Observers.SEARCHING + "\n" : "");
  }

  private static boolean isGptq(SchemeGroup preset, String method) {
    if (method == null) {
      return preset.weights() != null && preset.weights().type() == Type.INT;
    }
    if (!METHODS.contains(method)) {
      throw EspalierException.usage(
          "--method " + method + ": no such method" + nearestMethod(method),
          "Methods: " + String.join(", ", METHODS));
    }
    return method.equals("gptq");
  }

  private static String nearestMethod(String method) {
    return RecipeError.didYouMean(Nearest.of(method, METHODS));
  }

  private static QuantizationArgs weights(SchemeGroup preset, String name, int groupSize) {
    QuantizationArgs weights = preset.weights();
    if (weights == null || weights.type() != Type.INT) {
      throw EspalierException.usage(
          "--group-size: scheme " + name + " fixes its own",
          "A group size goes with the schemes of integer weights, such as W4A16.");
    }
    if (groupSize < -1) {
      throw EspalierException.usage(
          "--group-size " + groupSize + ": a positive number is wanted, or 0 for one scale per row",
          "Common sizes: 32, 64, 128.");
    }
    return weights.withGroupSize(groupSize);
  }
}
