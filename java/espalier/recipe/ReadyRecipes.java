// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import espalier.report.EspalierException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Locale;

/** The commented recipes that come with us, usable by name. */
public final class ReadyRecipes {
  private static final List<String> NAMES =
      List.of(
          "w4a16-gptq",
          "w4a16-g64-gptq",
          "w4a16-asym-gptq",
          "w4a16-rtn",
          "w4-w8-mixed-gptq",
          "w3a16-gptq",
          "w8a16-gptq",
          "w8a8-gptq",
          "w8a8-rtn",
          "sparsegpt-50",
          "sparsegpt-2of4",
          "sparsegpt-owl-70",
          "wanda-50",
          "wanda-2of4",
          "magnitude-50",
          "w4a16-2of4",
          "w4a16-50",
          "w8a16-2of4",
          "w4a16-2of4-rtn");

  private ReadyRecipes() {}

  /** Returns the names in the order of a list for people. */
  public static List<String> names() {
    return NAMES;
  }

  /**
   * Returns the text of a ready recipe, found in any case of letters.
   *
   * @throws EspalierException (USAGE) for an unknown name, with the nearest known one
   */
  public static String text(String name) {
    String known = name.toLowerCase(Locale.ROOT);
    if (!NAMES.contains(known)) {
      throw EspalierException.usage(
          "--recipe "
              + name
              + ": neither a file nor a ready recipe"
              + RecipeError.didYouMean(Nearest.of(known, NAMES)),
          "Ready recipes: " + String.join(", ", NAMES));
    }
    try (InputStream in =
        ReadyRecipes.class.getResourceAsStream("/espalier/recipes/" + known + ".yaml")) {
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new IllegalStateException("a recipe of ours cannot be read", e);
    }
  }
}
