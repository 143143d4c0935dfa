// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.recipe.QuantizationArgs.Strategy;
import espalier.report.EspalierException;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The recipe behind {@code --scheme}. */
final class ShortFormTest {
  private static Quantizer only(String scheme, String method, Integer groupSize) {
    ShortForm made = ShortForm.of(scheme, method, groupSize, Registries.all());
    return (Quantizer) made.recipe().modifiers().get(0);
  }

  @Test
  void everyPresetMakesARecipeOfItsOwnScheme() {
    for (String preset : Presets.names()) {
      Quantizer quantizer = only(preset, "rtn", null);
      SchemeGroup scheme = Presets.find(preset, "group_0", List.of("Linear")).orElseThrow();
      assertEquals(List.of(scheme), quantizer.groups());
      assertEquals(List.of("lm_head"), quantizer.ignore());
    }
  }

  @Test
  void methodFollowsTheWeights() {
    assertEquals("GPTQModifier", only("w4a16", null, null).type());
    assertEquals("QuantizationModifier", only("FP8_DYNAMIC", null, null).type());
    assertEquals("QuantizationModifier", only("W4A16", "rtn", null).type());
  }

  @Test
  void gptqSearchesTheRangesOfFewBitsAndVisitsColumnsByImportance() {
    for (Integer groupSize : new Integer[] {null, 64, 0}) {
      for (String few : List.of("W2A16", "W3A16", "W4A16", "W4A16_ASYM", "W4A8")) {
        QuantizationArgs weights = only(few, null, groupSize).groups().get(0).weights();
        assertEquals("memoryless_mse", weights.observer(), few);
        assertEquals(QuantizationArgs.Actorder.WEIGHT, weights.actorder(), few);
        assertEquals(!few.endsWith("ASYM"), weights.symmetric(), few);
      }
      for (String many : List.of("W8A16", "W8A8")) {
        QuantizationArgs weights = only(many, null, groupSize).groups().get(0).weights();
        assertEquals("memoryless_minmax", weights.observer(), many);
        assertEquals(QuantizationArgs.Actorder.WEIGHT, weights.actorder(), many);
      }
    }
    QuantizationArgs rounded = only("W4A16", "rtn", 64).groups().get(0).weights();
    assertEquals("memoryless_minmax", rounded.observer());
  }

  @Test
  void anotherGroupSizeIsWrittenOut() {
    SchemeGroup group = only("W4A16_ASYM", null, 64).groups().get(0);
    assertEquals(64, group.weights().groupSize());
    assertTrue(!group.weights().symmetric());
    for (int rows : List.of(0, -1)) {
      assertEquals(Strategy.CHANNEL, only("W4A8", null, rows).groups().get(0).weights().strategy());
    }
    SchemeGroup sameAsPreset = only("W4A8", "rtn", 128).groups().get(0);
    assertEquals(Presets.find("W4A8", "group_0", List.of("Linear")).orElseThrow(), sameAsPreset);
  }

  @Test
  void unknownWordsNameTheNearest() {
    EspalierException e =
        assertThrows(EspalierException.class, () -> ShortForm.yaml("W4A61", null, null));
    assertTrue(e.getMessage().contains("did you mean W4A16?"));
    assertTrue(e.advice().contains("NVFP4"));
    e = assertThrows(EspalierException.class, () -> ShortForm.yaml("W4A16", "gtpq", null));
    assertTrue(e.getMessage().contains("did you mean gptq?"));
    assertThrows(EspalierException.class, () -> ShortForm.yaml("NVFP4", null, 32));
    assertThrows(EspalierException.class, () -> ShortForm.yaml("W4A16", null, -2));
  }
}
