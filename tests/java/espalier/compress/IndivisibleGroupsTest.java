// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.CompressionJob;
import espalier.Espalier;
import espalier.model.TinyModels;
import espalier.recipe.PrunerOptions;
import espalier.recipe.QuantizationArgs;
import espalier.recipe.Recipe;
import espalier.recipe.SchemeGroup;
import espalier.recipe.ShortForm;
import espalier.report.EspalierException;
import espalier.report.Report;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Groups of 8 over 20 inputs: refused with the recipe that works. */
final class IndivisibleGroupsTest {
  @TempDir private Path folder;
  private Path model;

  @BeforeEach
  void write() {
    TinyModels tiny = TinyModels.llama().with("head_dim", 4); // o_proj reads 16, down_proj 20
    model = tiny.fill().write(folder.resolve("model"));
  }

  private CompressionJob job() {
    return Espalier.compress(model).output(folder.resolve("out")).threads(1);
  }

  @Test
  void theRecipeInTheRefusalCompressesTheModel() throws IOException {
    EspalierException fault =
        assertThrows(
            EspalierException.class, job().scheme("W4A16").method("rtn").groupSize(8)::run);
    assertEquals(EspalierException.Kind.USAGE, fault.kind());
    assertTrue(fault.getMessage().contains("2 layers: model.layers.0.mlp.down_proj (20 inputs)"));
    String hint = fault.advice();
    Path recipe = folder.resolve("recipe.yaml");
    Files.writeString(recipe, hint.substring(hint.indexOf("default_stage:")));
    Report report = job().recipe(recipe).run();
    report.rows().stream()
        .filter(row -> !row.method().equals("none"))
        .forEach(
            row -> {
              boolean whole = row.name().endsWith("down_proj");
              assertTrue(row.scheme().endsWith(whole ? "per channel" : "group 8"), row.toString());
            });
  }

  @Test
  void theRecipeInTheRefusalKeepsWhatTheSchemeChooses() {
    GptqModifier printed = printed(job().scheme("W4A16").groupSize(8));
    ShortForm form = ShortForm.of("W4A16", null, 8, Modifiers.REGISTRY);
    GptqModifier asked = (GptqModifier) form.recipe().modifiers().get(0);
    assertEquals(asked.groups(), printed.groups().subList(0, 1));
    QuantizationArgs grouped = asked.groups().get(0).weights();
    assertEquals(grouped.withGroupSize(0), printed.groups().get(1).weights());
    assertEquals(asked.options().solver(), printed.options().solver());
  }

  @Test
  void theRecipeInTheRefusalKeepsTheSolver() throws IOException {
    Path recipe = folder.resolve("recipe.yaml");
    Files.writeString(
        recipe,
        "default_stage:\n  default_modifiers:\n    GPTQModifier: {actorder: null,"
            + " dampening_frac: 0.05, ignore: [lm_head], config_groups: {g: {targets: [Linear],"
            + " weights: {num_bits: 3, strategy: group, group_size: 8, observer: mse,"
            + " observer_kwargs: {grid: 20}}}}}\n");
    GptqModifier printed = printed(job().recipe(recipe));
    assertEquals(0.05, printed.options().solver().dampeningFrac());
    for (SchemeGroup group : printed.groups()) {
      assertNull(group.weights().actorder());
      assertEquals("mse", group.weights().observer());
      assertEquals("{grid=20}", group.weights().observerOptions().toString());
    }
  }

  @Test
  void theRecipeInTheRefusalPrunesAsAsked() throws IOException {
    Recipe short24 = hinted(job().scheme("W4A16").sparsity("2:4").groupSize(8));
    PrunerOptions asked = ((JointModifier) short24.modifiers().get(0)).pruning();
    assertEquals(2, asked.maskN());
    assertEquals(4, asked.maskM());
    assertTrue(short24.extension().followDense());
    String text =
        "espalier: {formats: [dense], bits: {'re:.*v_proj': 8}}\n"
            + "default_stage:\n  default_modifiers:\n    SparseGPTQuantizationModifier: {sparsity:"
            + " 0.6, block_size: 64, dampening_frac: 0.00001, preserve_sparsity_mask: true, ignore:"
            + " [lm_head], config_groups: {g: {targets: [Linear], weights: {num_bits: 4, strategy:"
            + " group, group_size: 8}}}}\n";
    Path file = Files.writeString(folder.resolve("joint.yaml"), text);
    Recipe written = Recipe.parse(text, "joint", Modifiers.REGISTRY);
    Recipe hinted = hinted(job().recipe(file));
    assertEquals(written.extension(), hinted.extension());
    PrunerOptions wanted = ((JointModifier) written.modifiers().get(0)).pruning();
    assertEquals(wanted, ((JointModifier) hinted.modifiers().get(0)).pruning());
  }

  private GptqModifier printed(CompressionJob refused) {
    return (GptqModifier) hinted(refused).modifiers().get(0);
  }

  private static Recipe hinted(CompressionJob refused) {
    String hint = assertThrows(EspalierException.class, refused::run).advice();
    String yaml = hint.substring(hint.indexOf("default_stage:"));
    return Recipe.parse(yaml, "hint", Modifiers.REGISTRY);
  }

  @Test
  void aRecipeOfSeveralModifiersIsToldTheGroupToAdd() throws IOException {
    Path recipe = folder.resolve("recipe.yaml");
    String modifier =
        "{ignore: [lm_head], config_groups: {g: {targets: [%s], weights: {num_bits: 4,"
            + " strategy: group, group_size: 8}}}}\n";
    Files.writeString(
        recipe,
        "default_stage:\n  default_modifiers:\n    QuantizationModifier: "
            + String.format(modifier, "'re:.*attn.*'")
            + "  mlp_modifiers:\n    QuantizationModifier: "
            + String.format(modifier, "'re:.*mlp.*'"));
    EspalierException fault = assertThrows(EspalierException.class, job().recipe(recipe)::run);
    assertTrue(fault.advice().contains("add this to config_groups"), fault.advice());
    assertTrue(fault.advice().contains("targets: ['re:.*\\.down_proj$']"), fault.advice());
  }
}
