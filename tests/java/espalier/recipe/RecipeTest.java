// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.recipe.QuantizationArgs.Actorder;
import espalier.recipe.QuantizationArgs.Strategy;
import espalier.report.EspalierException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Reading of recipe text: grammar, coercion, inference, and every way of refusing. */
final class RecipeTest {
  @TempDir Path folder;

  private static Recipe parse(String... lines) {
    return Recipe.parse(String.join("\n", lines), "r.yaml", Registries.all());
  }

  private static String refusal(String... lines) {
    EspalierException e = assertThrows(EspalierException.class, () -> parse(lines));
    assertEquals(EspalierException.Kind.USAGE, e.kind());
    return e.getMessage();
  }

  /** Options of one GPTQModifier in a stage q and a group q, one line each from line 4. */
  private static String[] gptq(String... options) {
    StringBuilder text = new StringBuilder("q_stage:\n  q_modifiers:\n    GPTQModifier:");
    for (String option : options) {
      text.append("\n      ").append(option);
    }
    return text.toString().split("\n");
  }

  private static QuantizerOptions options(Recipe recipe) {
    return ((Quantizer) recipe.modifiers().get(0)).options();
  }

  @Test
  void defaultsOfGptqAreThoseOfTheReference() {
    QuantizerOptions options = options(parse(gptq("scheme: w4a16")));
    assertEquals(List.of("Linear"), options.targets());
    assertEquals(128, options.solver().blockSize());
    assertEquals(0.01, options.solver().dampeningFrac());
    assertEquals(Actorder.WEIGHT, options.groups().get(0).weights().actorder());
    assertEquals("group_0", options.groups().get(0).name());
    assertTrue(options.needsCalibration());
  }

  @Test
  void strategyFollowsTheGroupSize() {
    String line = "config_groups: {a: {targets: [x], weights: {num_bits: 4%s}}}";
    assertEquals(Strategy.TENSOR, strategy(line, ""));
    assertEquals(Strategy.GROUP, strategy(line, ", group_size: 0x40"));
    assertEquals(Strategy.CHANNEL, strategy(line, ", group_size: -1"));
  }

  private static Strategy strategy(String line, String extra) {
    Recipe recipe = parse(gptq(String.format(line, extra)));
    return options(recipe).groups().get(0).weights().strategy();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "dampening_fra: 1| 5|dampening_fra|did you mean dampening_frac?",
        "block_size: 1.5| 5|block_size|an integer is wanted",
        "block_size: [1]| 5|block_size|a list was given",
        "block_size: ~| 5|block_size|nothing was given",
        "block_size: 99999999999| 5|block_size|an integer is wanted",
        "dampening_frac: -0.1| 5|dampening_frac|negative",
        "dampening_frac: .nan| 5|dampening_frac|finite",
        "ignore: lm_head| 5|ignore|a list is wanted",
        "targets: [1]| 5|targets[0]|text is wanted",
        "targets: ['re:(']| 5|targets[0]|not a regular expression",
        "actorder: true| 5|actorder|true is no activation order",
        "bypass_divisibility_checks: 2| 5|bypass_divisibility_checks|a boolean is wanted",
        "scheme: W4A17| 4|scheme|given twice",
        "group: g| 5|group|cannot be given",
        "quantize: false| 5|quantize|only true",
      })
  void badOptionsAreNamedWithLineAndField(String option, int line, String field, String why) {
    String message = refusal(gptq("scheme: W4A16", option));
    String place = "r.yaml:" + (line == 4 ? 5 : line) + ": q_stage.q_modifiers.GPTQModifier.";
    assertTrue(message.startsWith(place + field + ": "), message);
    assertTrue(message.contains(why), message);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "num_bits: 9|num_bits",
        "num_bits: 5, type: float|num_bits",
        "strategy: group|group_size",
        "group_size: -2|group_size",
        "strategy: block|block_structure",
        "block_structure: [1, 2]|block_structure",
        "strategy: block, block_structure: 1y2|block_structure",
        "strategy: channel, dynamic: true|dynamic",
        "strategy: tensor, dynamic: local|dynamic",
        "strategy: grup|strategy",
        "type: real|type",
        "scale_dtype: uint9|scale_dtype",
        "actorder: Weight|actorder",
      })
  void argumentsThatDisagreeAreRefused(String arguments, String field) {
    String message =
        refusal(gptq("config_groups: {a: {targets: [x], weights: {" + arguments + "}}}"));
    String path = "r.yaml:4: q_stage.q_modifiers.GPTQModifier.config_groups.a.weights.";
    assertTrue(message.startsWith(path + field + ": "), message);
  }

  @Test
  void droppedFieldsAreReadWithANote() {
    Recipe recipe = parse(gptq("scheme: W4A16", "sequential_update: false"));
    assertEquals("deprecated-field", recipe.notes().get(0).kind());
    assertEquals("r.yaml:5", recipe.notes().get(0).where());
  }

  @Test
  void keysThatWouldLoseModifiersAreRefused() {
    String body = ": {q_modifiers: {QuantizationModifier: {scheme: W8A16}}}";
    assertTrue(refusal("q" + body).contains("did you mean q_stage?"));
    assertTrue(refusal("q_stages" + body).contains("did you mean q_stage?"));
    assertTrue(refusal("q_stage_0" + body).contains("did you mean q_stage?"));
    assertTrue(refusal("q_stage: []").contains("a list was given"));
    assertTrue(refusal("notes: 1").contains("names no modifier"));
    String stage = "q_stage: {%s: {QuantizationModifier: {scheme: W8A16}}}";
    assertTrue(refusal(String.format(stage, "q")).contains("did you mean q_modifiers?"));
    assertTrue(refusal(String.format(stage, "q_modifier")).contains("did you mean q_modifiers?"));
  }

  @Test
  void textThatIsNoYamlIsRefusedWithItsLine() {
    assertTrue(refusal("a_stage:", "  b: 'x").startsWith("r.yaml:2: "));
    assertTrue(refusal("a: *b").startsWith("r.yaml:1: a: "));
    assertTrue(refusal("a: \u0001").startsWith("r.yaml:1: (syntax): "));
    assertTrue(refusal("a: !!int x").startsWith("r.yaml:1: a: tagged"));
    assertTrue(refusal("a: !mine x").startsWith("r.yaml:1: a: tag"));
    assertTrue(refusal("[".repeat(5000)).startsWith("r.yaml:"));
    assertTrue(refusal("a: " + "[".repeat(80) + "]".repeat(80)).contains("nested deeper"));
    assertTrue(refusal("").contains("empty"));
    StringBuilder chain = new StringBuilder("n0: &n0 [x]\n");
    for (int i = 1; i < 80; i++) {
      chain.append(String.format("n%d: &n%d [*n%d]%n", i, i, i - 1));
    }
    assertTrue(refusal(chain.toString()).contains("nested deeper"));
  }

  @Test
  void jsonFilesAreStrictJson() throws Exception {
    Path file = folder.resolve("r.json");
    String json =
        "{\n\t\"a_stage\": {\"a_modifiers\":\n {\"GPTQModifier\": {\"scheme\": \"W4A16\","
            + "\n \"dampening_frac\": 1e-2, \"block_size\": %s}}}}";
    Files.writeString(file, String.format(json, "64"));
    assertEquals(64, options(Recipe.read(file, Registries.all())).solver().blockSize());
    Files.writeString(file, String.format(json, "\"x\""));
    assertTrue(failure(file).contains(":4: a_stage.a_modifiers.GPTQModifier.block_size: "));
    Files.writeString(file, String.format(json, "yes"));
    assertTrue(failure(file).contains(":4: (syntax): not valid JSON"));
  }

  @Test
  void frontMatterKeepsItsLines() throws Exception {
    Path file = folder.resolve("card.md");
    Files.writeString(file, "---\nx_stage:\n  y: {GPTQModifier: {}}\n---\n# Card\n");
    assertTrue(failure(file).contains(":3: x_stage.y: "));
    Files.writeString(file, "# Card\n");
    assertTrue(failure(file).contains("no front matter"));
  }

  @Test
  void missingFileIsAnInputError() {
    EspalierException e =
        assertThrows(
            EspalierException.class,
            () -> Recipe.read(folder.resolve("none.yaml"), Registries.all()));
    assertEquals(EspalierException.Kind.INPUT, e.kind());
  }

  @Test
  void modifiersThatAreNotBuiltAreValidatedThenRefusedByName() {
    Registry registry =
        new Registry(
            List.of(
                ModifierType.notBuilt("REAPPruningModifier", Pruners::experts, "no experts yet"),
                ModifierType.notBuilt("LegacyQuantizationModifier", "it belonged to SparseML")));
    String text = "a_stage: {a_modifiers: {REAPPruningModifier: {sparsity: %s}}}";
    EspalierException e =
        assertThrows(
            EspalierException.class,
            () -> Recipe.parse(String.format(text, "0.5"), "r.yaml", registry));
    assertEquals(EspalierException.Kind.UNSUPPORTED, e.kind());
    assertTrue(e.getMessage().contains("REAPPruningModifier is not built yet: no experts yet"));
    e =
        assertThrows(
            EspalierException.class,
            () -> Recipe.parse(String.format(text, "1.0"), "r.yaml", registry));
    assertEquals(EspalierException.Kind.USAGE, e.kind());
  }

  @Test
  void anyDamageIsReadOrRefusedButNeverCrashes() {
    String sound =
        String.join(
            "\n",
            "x: &a {num_bits: 4, group_size: 64}",
            "q_stage:",
            "  q_modifiers:",
            "    SmoothQuantModifier: {mappings: [[['re:.*q$'], 're:.*n$']]}",
            "    AWQModifier: {mappings: [{smooth_layer: a, balance_layers: [b]}]}",
            "    GPTQModifier:",
            "      config_groups: {g: {targets: ['re:.*[a-z]{2}$'], weights: {<<: *a}}}",
            "      observer: {weights: mse}",
            "      kv_cache_scheme: {type: float, strategy: attn_head}",
            "p_stage:",
            "  p_modifiers:",
            "    SparseGPTModifier: {sparsity: [0.5, 1e-1], mask_structure: '2:4'}",
            "");
    parse(sound);
    String alphabet = "{}[]:,'\"&*!|>%@-~ \t\n0x1.eabq\\#?<";
    Random random = new Random(20260101);
    for (int round = 0; round < 1000; round++) {
      StringBuilder text = new StringBuilder(sound);
      for (int edit = random.nextInt(3); edit >= 0; edit--) {
        int at = random.nextInt(text.length());
        char c = alphabet.charAt(random.nextInt(alphabet.length()));
        switch (random.nextInt(3)) {
          case 0 -> text.deleteCharAt(at);
          case 1 -> text.insert(at, c);
          default -> text.setCharAt(at, c);
        }
      }
      try {
        parse(text.toString());
      } catch (EspalierException refused) {
        assertTrue(refused.getMessage().startsWith("r.yaml:"), refused.getMessage());
      } catch (RuntimeException e) {
        throw new AssertionError("round " + round + ":\n" + text, e);
      }
    }
  }

  @Test
  void bytesThatAreNotUtf8AreRefused() throws Exception {
    Path file = folder.resolve("r.yaml");
    Files.write(file, "# ok\n# gr\u00f6\n".getBytes(StandardCharsets.ISO_8859_1));
    assertTrue(failure(file).contains(":2: (file): not UTF-8 (byte 0xf6 at offset 9)"));
  }

  private static String failure(Path file) {
    return assertThrows(EspalierException.class, () -> Recipe.read(file, Registries.all()))
        .getMessage();
  }
}
