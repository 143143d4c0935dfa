// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import espalier.report.EspalierException;
import java.math.BigDecimal;
import java.util.List;
import java.util.Locale;

/**
 * The part of a recipe behind {@code --sparsity} and {@code --prune-method}.
 *
 * @param method {@code sparsegpt}, {@code wanda} or {@code magnitude}
 * @param sparsity share of zeros, in (0, 1)
 * @param pattern n:m, or null for zeros anywhere
 */
public record PruneForm(String method, double sparsity, String pattern) {
  private static final List<String> METHODS = List.of("sparsegpt", "wanda", "magnitude");
  private static final String FORMS =
      "Give a share such as 0.5, or n:m such as 2:4 (n zeros in every m columns).";

  /**
   * Reads the two options.
   *
   * @param sparsity a share, or n:m
   * @param method null for sparsegpt
   * @throws EspalierException of kind USAGE for what makes no share, no pattern, or no method
   */
  public static PruneForm of(String sparsity, String method) {
    String known = method == null ? METHODS.get(0) : method.toLowerCase(Locale.ROOT);
    if (!METHODS.contains(known)) {
      throw EspalierException.usage(
          "--prune-method "
              + method
              + ": no such method"
              + RecipeError.didYouMean(Nearest.of(known, METHODS)),
          "Methods: " + String.join(", ", METHODS));
    }
    String text = sparsity.strip();
    return text.contains(":") ? pattern(known, text) : new PruneForm(known, share(text), null);
  }

  private static double share(String text) {
    double share;
    try {
      share = Double.parseDouble(text);
    } catch (NumberFormatException e) {
      throw fault(text, "neither a number nor n:m");
    }
    if (!(share > 0 && share < 1)) {
      String meant =
          share > 1 && share < 100
              ? "; did you mean " + String.format(Locale.ROOT, "%s", share / 100) + "?"
              : "";
      throw fault(text, "a share lies between 0 and 1" + meant);
    }
    return share;
  }

  private static PruneForm pattern(String method, String text) {
    if (!text.matches("[0-9]{1,3}:[0-9]{1,3}")) {
      throw fault(text, "n:m is two numbers");
    }
    int n = Integer.parseInt(text.substring(0, text.indexOf(':')));
    int m = Integer.parseInt(text.substring(text.indexOf(':') + 1));
    if (n > m) {
      throw fault(text, "n zeros do not fit into m columns; did you mean " + m + ":" + n + "?");
    }
    if (n == 0 || n == m) {
      throw fault(text, n == 0 ? "prunes nothing" : "would leave nothing");
    }
    return new PruneForm(method, (double) n / m, n + ":" + m);
  }

  private static EspalierException fault(String text, String why) {
    return EspalierException.usage("--sparsity " + text + ": " + why, FORMS);
  }

  /** Returns the modifier that prunes all linears but the head, six columns in. */
  String yaml() {
    StringBuilder yaml = new StringBuilder();
    if (method.equals("magnitude")) {
      yaml.append("    MagnitudePruningModifier:\n");
      yaml.append("      init_sparsity: 0.0\n");
      yaml.append("      final_sparsity: ").append(share()).append('\n');
      yaml.append("      mask_structure: ")
          .append(pattern == null ? "unstructured" : '"' + pattern + '"')
          .append('\n');
      // It has no ignore list: everything inside the blocks is meant.
      yaml.append("      targets: ['re:(?!lm_head).*']\n");
      return yaml.toString();
    }
    yaml.append(
        method.equals("wanda") ? "    WandaPruningModifier:\n" : "    SparseGPTModifier:\n");
    yaml.append(fields());
    yaml.append("      targets: [Linear]\n");
    yaml.append("      ignore: [lm_head]\n");
    return yaml.toString();
  }

  /** Returns the fields that say how much, for a modifier that solves. */
  String fields() {
    String mask = pattern == null ? "" : "      mask_structure: \"" + pattern + "\"\n";
    return "      sparsity: " + share() + "\n" + mask;
  }

  /** YAML 1.1 takes a number with an exponent for text. */
  private String share() {
    return BigDecimal.valueOf(sparsity).toPlainString();
  }

  /** Returns whether quantizing by {@code gptq} can be solved together with this. */
  boolean isSolver() {
    return method.equals("sparsegpt");
  }
}
