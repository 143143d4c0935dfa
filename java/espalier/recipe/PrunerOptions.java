// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import espalier.report.Event;
import java.math.BigDecimal;
import java.util.List;
import java.util.Objects;

/**
 * The options of SparseGPTModifier and WandaPruningModifier.
 *
 * @param type the modifier's name in recipes
 * @param group the key of the enclosing group without {@code _modifiers}
 * @param sparsity shares of weights that become zero, each in [0, 1)
 * @param perTarget whether there is one share per matched target, in model order, and not one in
 *     all
 * @param profile {@code owl} to spread sparsity by outliers, or null
 * @param owlM outliers are above this multiple of a layer's mean; null without a profile
 * @param owlLambda how far layers may depart from the mean sparsity; null without a profile
 * @param maskN zeros among {@code maskM} neighbours; 0 for no pattern
 * @param maskM see {@code maskN}
 * @param targets what is pruned; containers stand for the linears inside
 * @param ignore what is spared
 * @param blockSize columns solved before the rest is updated (SparseGPT)
 * @param dampeningFrac share of the Hessian's mean diagonal added to it, or null (SparseGPT)
 * @param preservesMask whether zeros that are there already stay (SparseGPT)
 */
public record PrunerOptions(
    String type,
    String group,
    List<Double> sparsity,
    boolean perTarget,
    String profile,
    Integer owlM,
    Double owlLambda,
    int maskN,
    int maskM,
    List<String> targets,
    List<String> ignore,
    int blockSize,
    Double dampeningFrac,
    boolean preservesMask) {

  /** Reads all options, those of SparseGPT too if {@code solver}; refuses unknown ones. */
  public static PrunerOptions read(Options options, boolean solver) {
    QuantizerReader.commonFields(options);
    boolean perTarget = options.isList("sparsity");
    List<Double> sparsity = sparsity(options, perTarget);
    String profile = options.word("sparsity_profile", null, true, "owl");
    Integer owlM = options.integerOrNull("owl_m", null);
    Double owlLambda = options.numberOrNull("owl_lmbda", null);
    checkOwl(options, profile, owlM != null, owlLambda != null);
    int[] mask = mask(options);
    if (options.given("sequential_update")) {
      options.flag("sequential_update", true);
      deprecated(options, "sequential_update", "layers are always updated in sequence");
    }
    if (options.given("sequential_targets")) {
      options.accept("sequential_targets");
      deprecated(options, "sequential_targets", "it changed speed and memory only");
    }
    Solver own = solver ? Solver.read(options) : Solver.STANDARD;
    PrunerOptions read =
        new PrunerOptions(
            options.type(),
            options.group(),
            sparsity,
            perTarget,
            profile,
            owlM,
            owlLambda,
            mask[0],
            mask[1],
            Selector.check(options, "targets", options.texts("targets", List.of("Linear"))),
            Selector.check(options, "ignore", options.list("ignore", List.of())),
            own.blockSize(),
            own.dampeningFrac(),
            own.preservesMask());
    options.finish();
    return read;
  }

  /**
   * Reads what a modifier that quantizes too says of pruning: one sparsity, a mask and the options
   * of the solver; leaves all others, targets too, to be read.
   */
  public static PrunerOptions readBeside(Options options) {
    if (options.isList("sparsity")) {
      throw options.error("sparsity", "one number is wanted here");
    }
    List<Double> sparsity = sparsity(options, false);
    int[] mask = mask(options);
    Solver own = Solver.read(options);
    return new PrunerOptions(
        options.type(),
        options.group(),
        sparsity,
        false,
        null,
        null,
        null,
        mask[0],
        mask[1],
        List.of(),
        List.of(),
        own.blockSize(),
        own.dampeningFrac(),
        own.preservesMask());
  }

  /** Returns what {@link #readBeside} reads as fields of a modifier, six columns in. */
  public String yamlBeside() {
    StringBuilder yaml = new StringBuilder();
    // YAML 1.1 takes a number with an exponent for text.
    String share = BigDecimal.valueOf(sparsity.get(0)).toPlainString();
    yaml.append("      sparsity: ").append(share).append('\n');
    if (maskM > 0) {
      yaml.append("      mask_structure: \"" + maskN + ":" + maskM + "\"\n");
    }
    if (blockSize != Solver.STANDARD.blockSize()) {
      yaml.append("      block_size: ").append(blockSize).append('\n');
    }
    if (!Objects.equals(dampeningFrac, Solver.STANDARD.dampeningFrac())) {
      String damping =
          dampeningFrac == null ? "null" : BigDecimal.valueOf(dampeningFrac).toPlainString();
      yaml.append("      dampening_frac: ").append(damping).append('\n');
    }
    if (preservesMask) {
      yaml.append("      preserve_sparsity_mask: true\n");
    }
    return yaml.toString();
  }

  /** The options of SparseGPT alone. */
  private record Solver(int blockSize, Double dampeningFrac, boolean preservesMask) {
    static final Solver STANDARD = new Solver(128, 0.01, false);

    static Solver read(Options options) {
      int blockSize = options.integer("block_size", STANDARD.blockSize);
      Double dampening = options.numberOrNull("dampening_frac", STANDARD.dampeningFrac);
      boolean preserves = options.flag("preserve_sparsity_mask", STANDARD.preservesMask);
      if (options.flag("offload_hessians", false)) {
        deprecated(options, "offload_hessians", "it changes speed and memory only");
      }
      if (blockSize < 1) {
        throw options.error("block_size", "a positive number of columns is wanted");
      }
      if (dampening != null && dampening < 0) {
        throw options.error("dampening_frac", "cannot be negative");
      }
      return new Solver(blockSize, dampening, preserves);
    }
  }

  private static List<Double> sparsity(Options options, boolean perTarget) {
    options.require("sparsity");
    if (!options.has("sparsity")) {
      return List.of(0.0);
    }
    List<Double> values =
        perTarget ? options.numbers("sparsity", List.of()) : List.of(options.number("sparsity", 0));
    for (int i = 0; i < values.size(); i++) {
      if (values.get(i) < 0 || values.get(i) >= 1) {
        throw options.error(
            perTarget ? "sparsity[" + i + "]" : "sparsity", "sparsity must lie in [0, 1)");
      }
    }
    return values;
  }

  private static void checkOwl(Options options, String profile, boolean hasM, boolean hasLambda) {
    if (profile == null && (hasM || hasLambda)) {
      String field = hasM ? "owl_m" : "owl_lmbda";
      throw options.error(field, field + " needs sparsity_profile: owl");
    }
    if (profile != null && !(hasM && hasLambda)) {
      throw options.missing(
          hasM ? "owl_lmbda" : "owl_m",
          "sparsity_profile",
          "sparsity_profile owl needs owl_m and owl_lmbda");
    }
  }

  /** Reads N:M from the text as written, because YAML 1.1 takes an unquoted 2:4 for base 60. */
  private static int[] mask(Options options) {
    String field = "mask_structure";
    if (!options.has(field)) {
      return new int[] {0, 0};
    }
    String text = options.written(field, "").strip();
    if (!text.matches("[0-9]{1,4}:[0-9]{1,4}")) {
      throw options.error(field, "N:M is wanted, such as \"2:4\"; 0:0 is no pattern");
    }
    int[] pattern = pattern(options, field, text);
    if (!options.isText(field)) {
      options.note(
          Event.Severity.INFO, "mask-unquoted", field, "read as the text " + text + "; quote it");
    }
    return pattern;
  }

  /** Splits N:M, whose form has been looked at, and refuses numbers that make no pattern. */
  static int[] pattern(Options options, String field, String text) {
    int n = Integer.parseInt(text.substring(0, text.indexOf(':')));
    int m = Integer.parseInt(text.substring(text.indexOf(':') + 1));
    if (n > m || n == 0 && m != 0) {
      String meant = n > m && m > 0 ? "; did you mean " + m + ":" + n + "?" : "";
      throw options.error(field, "N:M needs 1 <= N <= M, or 0:0 for no pattern" + meant);
    }
    if (n == m && m > 0) {
      throw options.error(field, n + ":" + m + " would leave nothing");
    }
    return new int[] {n, m};
  }

  private static void deprecated(Options options, String field, String reason) {
    options.note(Event.Severity.WARNING, "deprecated-field", field, "read and not used: " + reason);
  }
}
