// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.compress.Modifiers;
import espalier.model.TinyModels;
import espalier.recipe.Recipe;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** compress --sparsity and --prune-method, as typed. */
class PruneCommandTest {
  @TempDir Path folder;

  private CommandRun compress(String options) {
    Path model = folder.resolve("model");
    if (!Files.exists(model)) {
      TinyModels.llama().fill().write(model);
    }
    List<String> words = new ArrayList<>(List.of("compress", model.toString()));
    words.addAll(List.of(options.split(" ")));
    words.addAll(List.of("-o", folder.resolve("out").toString()));
    return CommandRun.of(words);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--sparsity 1.2 | a share lies between 0 and 1",
        "--sparsity 50 | did you mean 0.5?",
        "--sparsity 0 | a share lies between 0 and 1",
        "--sparsity -0.5 | a share lies between 0 and 1",
        "--sparsity NaN | a share lies between 0 and 1",
        "--sparsity half | neither a number nor n:m",
        "--sparsity 4:2 | did you mean 2:4?",
        "--sparsity 4:4 | would leave nothing",
        "--sparsity 0:4 | prunes nothing",
        "--sparsity 2:4:8 | n:m is two numbers",
        "--sparsity 2: | n:m is two numbers",
        "--sparsity 0.5 --prune-method sparsgpt | did you mean sparsegpt?",
        "--prune-method wanda | --prune-method is given without --sparsity",
        "--sparsity 0.5 --recipe w4a16-gptq | a recipe and --sparsity",
        "--sparsity 0.5 --method rtn | --method is given without --scheme",
        "--sparsity 0.5 --group-size 4 | --group-size is given without --scheme",
        "--sparsity 3:8 --prune-method magnitude | no whole number",
        "--sparsity 0.5 --scheme W9A16 | no preset scheme has that name"
      })
  void faultsAreNamedAndNothingIsWritten(String options, String message) {
    CommandRun run = compress(options);
    assertEquals(2, run.code(), run.err());
    assertTrue(run.err().contains(message), run.err());
    assertFalse(Files.exists(folder.resolve("out")));
    assertFalse(Files.exists(folder.resolve("out.partial")));
  }

  @ParameterizedTest
  @CsvSource({"--sparsity 0.5", "--sparsity 2:4 --prune-method wanda"})
  void withoutTextsTheWaysOutAreNamed(String options) {
    CommandRun run = compress(options);
    assertEquals(2, run.code(), run.err());
    assertTrue(run.err().contains("--data"), run.err());
    assertTrue(run.err().contains("--prune-method magnitude"), run.err());
  }

  @Test
  void magnitudeNeedsNoTexts() {
    CommandRun run =
        compress(
            "--sparsity 2:4 --prune-method magnitude --scheme W8A16 --method rtn"
                + " --group-size 4 --json");
    assertEquals(0, run.code(), run.err());
    assertEquals("magnitude+rtn", run.json().path("linears").path(0).path("method").asText());
    assertTrue(run.json().path("linears").path(0).path("density").asDouble() <= 0.5);
  }

  @ParameterizedTest
  @CsvSource({
    "--sparsity 0.5, SparseGPTModifier",
    "--sparsity 2:4 --prune-method WANDA, WandaPruningModifier",
    "--sparsity 4:8 --prune-method magnitude, MagnitudePruningModifier",
    "--sparsity 2:4 --scheme W4A16, SparseGPTQuantizationModifier",
    "--sparsity 2:4 --scheme W4A16 --method rtn, SparseGPTModifier QuantizationModifier",
    "--sparsity 0.5 --scheme W4A16 --prune-method wanda, WandaPruningModifier GPTQModifier",
    "--sparsity 0.5 --scheme W8A16 --prune-method magnitude --group-size 0,"
        + " MagnitudePruningModifier GPTQModifier"
  })
  void printRecipeShowsWhatTheOptionsStandForAndReadsBack(String options, String types) {
    CommandRun printed = compress(options + " --print-recipe");
    assertEquals(0, printed.code(), printed.err());
    Recipe recipe = Recipe.parse(printed.out(), "printed", Modifiers.REGISTRY);
    assertEquals(
        List.of(types.split(" ")), recipe.modifiers().stream().map(m -> m.type()).toList());
  }

  @Test
  void solversFollowTheDenseModelWherePrunedUnlessTold() {
    String follows = "follow_dense: true";
    assertTrue(printed("--sparsity 0.5").contains(follows));
    assertTrue(printed("--sparsity 0.5 --scheme W4A16").contains(follows));
    assertTrue(printed("--sparsity 0.5 --prune-method wanda --scheme W4A16").contains(follows));
    assertFalse(printed("--sparsity 0.5 --prune-method wanda").contains(follows));
    assertFalse(printed("--sparsity 0.5 --no-follow-dense").contains(follows));
    assertFalse(printed("--scheme W4A16").contains(follows));
    assertTrue(printed("--scheme W4A16 --follow-dense").contains(follows));
    CommandRun beside = compress("--recipe w4a16-gptq --follow-dense");
    assertEquals(2, beside.code());
    assertTrue(beside.err().contains("follow_dense: true"), beside.err());
    CommandRun idle = compress("--scheme W4A16 --group-size 4 --method rtn --follow-dense");
    assertEquals(0, idle.code(), idle.err());
    assertTrue(idle.err().contains("changes nothing"), idle.err());
  }

  private String printed(String options) {
    CommandRun run = compress(options + " --print-recipe");
    assertEquals(0, run.code(), run.err());
    return run.out();
  }

  @Test
  void aRecipeOfTheLibraryRunsAsItIs() throws Exception {
    Path recipe =
        Files.writeString(
            folder.resolve("recipe.yaml"),
            """
            sparsity_stage:
              run_type: oneshot
              sparsity_modifiers:
                SparseGPTModifier:
                  sparsity: 0.5
                  mask_structure: "2:4"
                  sequential_update: true
                  targets: ['re:model.layers.\\d+$']
                  block_size: 128
                  dampening_frac: 0.01
                  preserve_sparsity_mask: false
            """);
    Path data = Files.writeString(folder.resolve("t.jsonl"), "{\"input_ids\": [3, 4, 5, 9, 1]}\n");
    CommandRun run = compress("--recipe " + recipe + " --data " + data + " --json");
    assertEquals(0, run.code(), run.err());
    assertEquals("sparsegpt", run.json().path("linears").path(13).path("method").asText());
    assertEquals("none", run.json().path("linears").path(14).path("method").asText());
  }
}
