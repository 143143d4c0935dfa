// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import java.util.List;
import java.util.Map;

/**
 * The options that all quantizers share, resolved to groups, and those of GPTQ.
 *
 * @param type the modifier's name in recipes
 * @param group the key of the enclosing group without {@code _modifiers}
 * @param targets as written, {@code [Linear]} by default; plays no part when groups have their own
 * @param ignore entries that are spared, over all groups
 * @param schemes presets as written with the targets of each, in order; empty with config_groups
 * @param groups what to do, after presets, observers and the activation order are resolved; one
 *     group without weights if the recipe configures none
 * @param kvCache scheme of the key/value cache, or null
 * @param observers what replaced the observers of the groups: keys weights, input, output
 * @param bypassesDivisibility whether group sizes that do not divide the columns are let through
 * @param needsCalibration whether the modifier must see data
 * @param follows whether nothing is configured here, so that earlier schemes are worked on
 * @param solver the options of GPTQ, or null for a modifier that only rounds
 */
public record QuantizerOptions(
    String type,
    String group,
    List<String> targets,
    List<String> ignore,
    Map<String, List<String>> schemes,
    List<SchemeGroup> groups,
    QuantizationArgs kvCache,
    Map<String, String> observers,
    boolean bypassesDivisibility,
    boolean needsCalibration,
    boolean follows,
    Solver solver) {

  /**
   * The options of GPTQ.
   *
   * @param blockSize columns solved before the rest is updated; does not change the result
   * @param dampeningFrac share of the Hessian's mean diagonal added to it; null adds nothing
   * @param actorder order given at the level of the modifier, null for none; groups hold the
   *     resolved one
   * @param batched how many layers of one shape are solved together: {@code auto}, a number, or
   *     null
   */
  public record Solver(
      int blockSize, Double dampeningFrac, QuantizationArgs.Actorder actorder, String batched) {}

  /**
   * Reads all options of QuantizationModifier, or of GPTQModifier if {@code gptq}, and refuses
   * unknown ones. Throws a usage error that names file, line and field.
   */
  public static QuantizerOptions read(Options options, boolean gptq) {
    QuantizerReader reader = new QuantizerReader(options);
    Solver solver = gptq ? reader.solver() : null;
    QuantizerOptions read = reader.read(solver, gptq);
    options.finish();
    return read;
  }
}
