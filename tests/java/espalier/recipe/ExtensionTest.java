// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.recipe.Targets.Module;
import espalier.recipe.Targets.Resolution;
import espalier.report.EspalierException;
import espalier.report.Event;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What a recipe may ask for beyond llm-compressor's grammar. */
final class ExtensionTest {
  private static final List<Module> MODEL = model();

  private static List<Module> model() {
    List<Module> modules = new ArrayList<>();
    for (int layer = 0; layer < 2; layer++) {
      modules.add(new Module("layers." + layer + ".q", "Linear", List.of(), 128));
      modules.add(new Module("layers." + layer + ".down", "Linear", List.of(), 256));
    }
    return modules;
  }

  private static Recipe recipe(String... lines) {
    String modifier = "q_stage:\n  q_modifiers:\n    GPTQModifier: {scheme: W4A16}\nespalier:\n  ";
    return Recipe.parse(modifier + String.join("\n  ", lines), "r.yaml", Registries.all());
  }

  private static int bits(Resolution resolution, String module) {
    return resolution.assigned().get(module).group().weights().numBits();
  }

  private static String refused(String... lines) {
    EspalierException error =
        assertThrows(
            EspalierException.class,
            () -> Targets.resolve(recipe(lines), MODEL).check(),
            String.join(" ", lines));
    return error.getMessage();
  }

  @Test
  void aTargetHasAWidthOfItsOwn() {
    Resolution resolution =
        Targets.resolve(recipe("bits:", "  're:.*down': 8", "  layers.1.down: 3"), MODEL);
    resolution.check();
    assertEquals(4, bits(resolution, "layers.0.q"));
    assertEquals(8, bits(resolution, "layers.0.down"));
    assertEquals(3, bits(resolution, "layers.1.down"));
    assertEquals(
        128, resolution.assigned().get("layers.0.down").group().weights().groupSize().intValue());
  }

  @Test
  void formatsAreKeptInOrder() {
    assertEquals(List.of("gptq", "dense"), recipe("formats: [gptq, dense]").extension().formats());
    assertEquals(List.of("gptq"), recipe("formats: gptq").extension().formats());
  }

  @Test
  void otherRecipesAskForNothing() {
    String text = "q_stage:\n  q_modifiers:\n    GPTQModifier: {scheme: W4A16}\n";
    assertEquals(Extension.NONE, Recipe.parse(text, "r.yaml", Registries.all()).extension());
  }

  @Test
  void faultsNameLineAndField() {
    assertStarts(
        "r.yaml:6: espalier.bits.layers.7.down: target ", refused("bits:", "  layers.7.down: 8"));
    assertStarts("r.yaml:6: espalier.bits.Linear: 2 to 8 bits", refused("bits:", "  Linear: 9"));
    assertStarts("r.yaml:6: espalier.bits.re:(: not a regular", refused("bits:", "  're:(': 8"));
    assertStarts("r.yaml:6: espalier.bits.Linear: ", refused("bits:", "  Linear: many"));
    String misspelt = refused("format: gptq");
    assertStarts("r.yaml:5: espalier.format: ", misspelt);
    assertTrue(misspelt.contains("formats"), misspelt);
  }

  @Test
  void aWidthThatReachesNothingIsRefused() {
    String shadowed =
        refused("bits:", "  Linear: 8", "  're:.*': 3"); // every class match is a pattern match too
    assertStarts(
        "r.yaml:6: espalier.bits.Linear: target Linear gives a width to nothing", shadowed);
  }

  @Test
  void twoPatternsForOneModuleAreTold() {
    Resolution resolution =
        Targets.resolve(recipe("bits:", "  're:.*1.*': 8", "  're:.*down': 3"), MODEL);
    resolution.check();
    assertEquals(8, bits(resolution, "layers.1.down"));
    assertEquals(3, bits(resolution, "layers.0.down"));
    assertEquals(
        List.of("overlapping-targets"), resolution.notes().stream().map(Event::kind).toList());
  }

  private static void assertStarts(String start, String message) {
    assertTrue(message.startsWith(start), message);
  }
}
