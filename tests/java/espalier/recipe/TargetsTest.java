// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.recipe.Targets.Module;
import espalier.recipe.Targets.Resolution;
import espalier.report.EspalierException;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Which modifier gets which module of a small model. */
final class TargetsTest {
  private static final List<Module> MODEL = model();

  private static List<Module> model() {
    List<Module> modules = new ArrayList<>();
    modules.add(new Module("embed", "Embedding", List.of()));
    for (int layer = 0; layer < 2; layer++) {
      String at = "layers." + layer;
      modules.add(new Module(at, "Layer", List.of()));
      modules.add(new Module(at + ".self_attn", "Attention", List.of()));
      modules.add(new Module(at + ".self_attn.q", "Linear", List.of(), 96));
      modules.add(new Module(at + ".mlp", "Mlp", List.of()));
      modules.add(new Module(at + ".mlp.up", "OddLinear", List.of("Linear"), 128));
      modules.add(new Module(at + ".mlp.norm", "Norm", List.of()));
    }
    modules.add(new Module("lm_head", "Linear", List.of(), 96));
    return modules;
  }

  private static Recipe recipe(String... lines) {
    String text = "q_stage:\n  q_modifiers:\n    " + String.join("\n    ", lines);
    return Recipe.parse(text, "r.yaml", Registries.all());
  }

  private static Resolution resolve(String... lines) {
    return Targets.resolve(recipe(lines), MODEL);
  }

  private static int bits(Resolution resolution, String module) {
    return resolution.assigned().get(module).group().weights().numBits();
  }

  @Test
  void nameBeatsPatternBeatsClass() {
    Resolution resolution =
        resolve(
            "GPTQModifier:",
            "  ignore: [lm_head]",
            "  config_groups:",
            "    a: {targets: [Linear], weights: {num_bits: 8}}",
            "    b: {targets: ['re:layers.1'], weights: {num_bits: 6}}",
            "    c: {targets: [layers.1.mlp.up], weights: {num_bits: 4}}");
    assertEquals(8, bits(resolution, "layers.0.mlp.up"));
    assertEquals(6, bits(resolution, "layers.1.self_attn.q"));
    assertEquals(4, bits(resolution, "layers.1.mlp.up"));
    assertEquals(List.of("lm_head"), resolution.ignored());
    assertEquals(List.of("embed"), resolution.untargeted());
    resolution.check();
  }

  @Test
  void laterModifierWinsAndItsIgnoreLeavesEarlierSchemes() {
    Recipe recipe =
        Recipe.parse(
            "a_stage:\n  a_modifiers: {QuantizationModifier: {scheme: W8A16}}\n"
                + "b_stage:\n  b_modifiers: {GPTQModifier: {scheme: W4A16, "
                + "ignore: ['re:.*q$', embed]}}\n",
            "r.yaml",
            Registries.all());
    Resolution resolution = Targets.resolve(recipe, MODEL);
    assertEquals(8, bits(resolution, "layers.0.self_attn.q"));
    assertEquals(4, bits(resolution, "layers.0.mlp.up"));
    assertEquals("GPTQModifier", resolution.assigned().get("lm_head").modifier().type());
  }

  @Test
  void followerWorksOnEarlierSchemes() {
    Resolution resolution =
        resolve("QuantizationModifier: {scheme: W4A16, ignore: [lm_head]}", "GPTQModifier: {}");
    assertEquals("GPTQModifier", resolution.assigned().get("layers.0.mlp.up").modifier().type());
    assertEquals(4, bits(resolution, "layers.0.mlp.up"));
    assertThrows(EspalierException.class, () -> recipe("GPTQModifier: {}"));
  }

  @Test
  void entriesThatNameNothingAreFoundWithTheirPlace() {
    Resolution resolution =
        resolve("GPTQModifier:", "  scheme: W8A8", "  targets:", "  - up", "  - '*up'");
    assertEquals(List.of("up", "*up"), resolution.unmatchedTargets());
    String first = assertThrows(EspalierException.class, resolution::check).getMessage();
    assertTrue(first.startsWith("r.yaml:6: q_stage.q_modifiers.GPTQModifier.targets[0]: "), first);
    assertTrue(first.contains("did you mean re:.*up$?"), first);
    assertTrue(resolution.errors().get(1).getMessage().contains("did you mean re:.*up?"));
  }

  @Test
  void containersAndUnmatchedIgnoresAreRemarkedOn() {
    Resolution resolution = resolve("GPTQModifier: {scheme: W8A8, ignore: [Mlp, lm_hed]}");
    assertEquals(List.of("lm_hed"), resolution.unmatchedIgnores());
    assertEquals("ignore-without-effect", resolution.notes().get(0).kind());
    assertTrue(resolution.notes().get(1).message().contains("did you mean lm_head?"));
  }

  @Test
  void columnsMustBeMultiplesOfTheGroupSize() {
    String options =
        "GPTQModifier: {config_groups: {g: {targets: [Linear], weights: "
            + "{num_bits: 4, group_size: 64}}}%s}";
    String message =
        assertThrows(EspalierException.class, () -> resolve(String.format(options, "")).check())
            .getMessage();
    assertTrue(message.contains("config_groups.g.weights.group_size: "), message);
    assertTrue(message.contains("layers.0.self_attn.q (96)"), message);
    resolve(String.format(options, ", bypass_divisibility_checks: on")).check();
  }

  @Test
  void attentionIsTargetedOnlyByItself() {
    String group =
        "QuantizationModifier: {config_groups: {g: {targets: ['%s'], "
            + "input_activations: {num_bits: 8}}}}";
    assertEquals(2, resolve(String.format(group, "re:.*self_attn$")).attention().size());
    assertEquals(0, resolve(String.format(group, "re:.*self_attn.*")).attention().size());
  }

  @Test
  void overlappingPatternsAreNoted() {
    Resolution resolution =
        resolve(
            "QuantizationModifier: {config_groups: {a: {targets: ['re:.*up'], weights: {}},"
                + " b: {targets: ['re:.*mlp.*'], weights: {num_bits: 4}}}}");
    assertEquals(4, bits(resolution, "layers.0.mlp.up"));
    assertEquals("overlapping-targets", resolution.notes().get(0).kind());
  }

  @Test
  void listOfSparsitiesFollowsTheMatchedTargets() {
    Recipe recipe =
        recipe("WandaPruningModifier: {sparsity: [0.2, 0.4], targets: [Layer], ignore: [embed]}");
    Pruner pruner = (Pruner) recipe.modifiers().get(0);
    assertEquals(
        "{layers.0.self_attn.q=0.2, layers.0.mlp.up=0.2, layers.1.self_attn.q=0.4,"
            + " layers.1.mlp.up=0.4}",
        Targets.sparsities(recipe, pruner, MODEL).toString());
  }

  @Test
  void patternsThatBacktrackForEverAreStopped() {
    Recipe recipe = recipe("GPTQModifier: {scheme: W8A8, targets: ['re:(.|.)*(.|.)*\\2!']}");
    assertThrows(EspalierException.class, () -> Targets.resolve(recipe, MODEL));
  }
}
