// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import java.io.IOException;
import java.nio.file.Files;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Pruning runs that are interrupted and begun again end with the files of those that were not. */
class PrunedResumeTest extends InterruptedRuns {
  private static String recipe(String kind) {
    String quantizer =
        "config_groups: {g: {targets: [Linear], weights: {num_bits: 4, strategy: group, group_size:"
            + " 4}}}}\n";
    return "s_stage:\n  s_modifiers:\n"
        + switch (kind) {
          case "pruned" -> "    SparseGPTModifier: {sparsity: 0.5, ignore: [lm_head]}\n";
          case "owl" ->
              "    WandaPruningModifier: {sparsity: 0.5, sparsity_profile: owl, owl_m: 2, owl_lmbda:"
                  + " 0.1}\n";
          case "joint" ->
              "    SparseGPTQuantizationModifier: {sparsity: 0.5, mask_structure: '2:4', "
                  + quantizer;
          default ->
              "    SparseGPTModifier: {sparsity: 0.5, mask_structure: '2:4'}\n    GPTQModifier: {"
                  + quantizer;
        };
  }

  @ParameterizedTest
  @ValueSource(strings = {"pruned", "owl", "joint", "sequence"})
  void everyMomentOfARunCanBeGoneOnFrom(String kind) throws IOException {
    Files.writeString(recipe, recipe(kind));
    goesOnFrom(List.of(0, 7, 13, 20));
  }
}
