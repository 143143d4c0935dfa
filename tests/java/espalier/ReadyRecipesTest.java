// SPDX-License-Identifier: Apache-2.0
package espalier;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.cli.CommandRun;
import espalier.compress.Modifiers;
import espalier.model.TinyModels;
import espalier.recipe.ReadyRecipes;
import espalier.recipe.Recipe;
import espalier.report.EspalierException;
import espalier.report.LinearRow;
import espalier.report.Report;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Every recipe that comes with us does what it says on a model, and is found by name. */
final class ReadyRecipesTest {
  @TempDir private Path folder;

  static Stream<String> names() {
    return ReadyRecipes.names().stream();
  }

  private CompressionJob job() throws IOException {
    Path data = folder.resolve("ids.jsonl");
    StringBuilder lines = new StringBuilder();
    for (int text = 0; text < 8; text++) {
      lines.append("{\"input_ids\": [");
      for (int i = 0; i < 24; i++) {
        lines.append(i == 0 ? "" : ",").append((text * 7 + i * i * 5 + 3) % 24);
      }
      lines.append("]}\n");
    }
    Files.writeString(data, lines);
    TinyModels model =
        TinyModels.llama()
            .with("hidden_size", 128)
            .with("head_dim", 32)
            .with("intermediate_size", 256);
    return Espalier.compress(model.fill().write(folder.resolve("model"))).data(data);
  }

  @ParameterizedTest
  @MethodSource("names")
  void everyRecipeCompressesEveryLayerButTheHead(String name) throws IOException {
    Report report = job().readyRecipe(name).output(folder.resolve("out")).threads(1).run();
    long compressed = report.rows().stream().filter(r -> !r.method().equals("none")).count();
    assertEquals(2 * 7, compressed);
    assertEquals(0.0, report.facts().get("reopened_logits_max_difference"));
    report.rows().stream()
        .filter(row -> !row.method().equals("none"))
        .filter(row -> !row.name().endsWith("down_proj"))
        .forEach(row -> assertSaidByItsName(name, row));
  }

  /** The name says method, bits and zeros; scales come on top (32-bit ones: the model is fp32). */
  private static void assertSaidByItsName(String name, LinearRow row) {
    List<String> words = List.of(name.split("-"));
    boolean quantized = words.get(0).startsWith("w") && !words.get(0).equals("wanda");
    int bits = quantized ? Integer.parseInt(name.substring(1, 2)) : 32;
    assertEquals(bits, (int) row.bitsPerWeight(), row.name());
    String zeros = words.stream().filter(w -> w.matches("50|70|2of4")).findFirst().orElse(null);
    String method =
        zeros == null
            ? words.get(words.size() - 1)
            : !quantized ? words.get(0) : words.contains("rtn") ? "sparsegpt+rtn" : "sparsegpt";
    assertEquals(method, row.method());
    if (zeros != null) {
      double share = zeros.equals("70") ? 0.7 : 0.5;
      double slack = words.contains("owl") ? 0.17 : 0.01; // twice lambda
      // Rounding adds zeros of its own.
      assertTrue(1 - row.density() > share - slack, row.toString());
      assertTrue(1 - row.density() < share + slack + (quantized ? 0.15 : 0), row.toString());
    }
  }

  @ParameterizedTest
  @MethodSource("names")
  void everyRecipeSaysWhatItIsForAndIsReadable(String name) {
    String text = ReadyRecipes.text(name);
    assertTrue(text.startsWith("# "), "a recipe begins with what it is for");
    assertFalse(Recipe.parse(text, name, Modifiers.REGISTRY).modifiers().isEmpty());
  }

  @Test
  void anUnknownNameIsAnsweredWithTheNearest() {
    EspalierException fault =
        assertThrows(EspalierException.class, () -> ReadyRecipes.text("w4a16-gpqt"));
    assertEquals(EspalierException.Kind.USAGE, fault.kind());
    assertTrue(fault.getMessage().contains("did you mean w4a16-gptq"), fault.getMessage());
  }

  @Test
  void printRecipeShowsWhatAShortFormStandsForAndReadsBack() {
    List<String> words =
        List.of("compress", "nowhere", "--scheme", "W4A16", "--group-size", "64", "--print-recipe");
    CommandRun printed = CommandRun.of(words);
    assertEquals(0, printed.code(), printed.err());
    Recipe recipe = Recipe.parse(printed.out(), "printed", Modifiers.REGISTRY);
    assertEquals("GPTQModifier", recipe.modifiers().get(0).type());
    assertTrue(printed.out().contains("group_size: 64"), printed.out());
  }

  @Test
  void helpNamesEveryReadyRecipe() {
    String help = CommandRun.of("compress", "--help").out().replaceAll("\\s+", " ");
    ReadyRecipes.names().forEach(name -> assertTrue(help.contains(name), name));
  }
}
