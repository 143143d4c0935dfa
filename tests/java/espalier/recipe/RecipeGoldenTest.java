// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.Shared;
import espalier.internal.Json;
import espalier.recipe.Targets.Module;
import espalier.recipe.Targets.Resolution;
import espalier.report.EspalierException;
import espalier.report.Event;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/**
 * Every golden recipe: what is valid means what the reference says, what is invalid is refused at
 * the right line and field with the right suggestion.
 *
 * <p>Compared of valid ones: order, type and group of modifiers, the fields that are options of
 * ours, groups, cache schemes, module maps, attention schemes, unmatched entries, sparsity maps and
 * masked parameters. Not compared: pairs of SmoothQuant and AWQ resolved over a model and the
 * transforms of SpinQuant, which belong to the families, {@code offload_device} "chosen by model",
 * and observers of recipes verified with older versions only.
 */
final class RecipeGoldenTest {
  private static final Pattern ERROR =
      Pattern.compile("^(?<file>.+?):(?<line>[0-9]+): (?<field>\\S+): (?<why>.*)$", Pattern.DOTALL);

  @TestFactory
  Stream<DynamicTest> validRecipesMeanWhatTheReferenceSays() throws IOException {
    Map<String, List<Module>> models = models();
    return files("valid")
        .map(file -> DynamicTest.dynamicTest(name(file), () -> valid(file, models)));
  }

  @TestFactory
  Stream<DynamicTest> invalidRecipesAreRefusedAtTheirPlace() throws IOException {
    Map<String, List<Module>> models = models();
    return files("invalid")
        .map(file -> DynamicTest.dynamicTest(name(file), () -> invalid(file, models)));
  }

  private static void valid(Path file, Map<String, List<Module>> models) throws IOException {
    JsonNode expected = expected(file);
    Recipe recipe = Recipe.read(file, Registries.all());
    assertEquals(expected.get("stage").asText(), recipe.name());
    boolean older = expected.at("/verified/how").asText().contains("older version");
    List<Modifier> modifiers = recipe.modifiers();
    assertEquals(expected.get("modifiers").size(), modifiers.size());
    for (int i = 0; i < modifiers.size(); i++) {
      GoldenFields.check(expected.get("modifiers").get(i), modifiers.get(i), older);
    }
    for (Map.Entry<String, List<Module>> model : models.entrySet()) {
      JsonNode map = expected.at("/models").get(model.getKey());
      if (map == null) {
        continue;
      }
      Resolution resolution = Targets.resolve(recipe, model.getValue());
      checkModules(map, expected.get("schemes"), resolution, older);
      assertEquals(texts(map.get("unmatched_ignore")), resolution.unmatchedIgnores());
      assertEquals(texts(map.get("unmatched_targets")), resolution.unmatchedTargets());
      checkPruners(map, recipe, model.getValue());
    }
  }

  private static void checkModules(
      JsonNode map, JsonNode schemes, Resolution resolution, boolean older) {
    if (map.has("modules")) {
      map.get("modules")
          .properties()
          .forEach(
              entry -> {
                String module = entry.getKey();
                String status = entry.getValue().asText();
                if (status.equals("ignored")) {
                  assertTrue(resolution.ignored().contains(module), module);
                } else if (status.equals("untargeted")) {
                  assertTrue(resolution.untargeted().contains(module), module);
                } else {
                  assertTrue(resolution.assigned().containsKey(module), module);
                  SchemeGroup group = resolution.assigned().get(module).group();
                  GoldenFields.checkScheme(schemes.get(status), group, older);
                }
              });
      int modules =
          resolution.assigned().size()
              + resolution.ignored().size()
              + resolution.untargeted().size();
      assertEquals(map.get("modules").size(), modules);
    }
    int attention = map.has("attention") ? map.get("attention").size() : 0;
    assertEquals(attention, resolution.attention().size());
    resolution
        .attention()
        .forEach(
            (module, args) -> {
              String scheme = map.get("attention").get(module).asText();
              GoldenFields.checkArgs(schemes.get(scheme).get("input_activations"), args, older);
            });
  }

  private static void checkPruners(JsonNode map, Recipe recipe, List<Module> modules) {
    int sparse = 0;
    int masked = 0;
    for (Modifier modifier : recipe.modifiers()) {
      if (modifier instanceof Pruner pruner && map.path("sparsity").has(sparse)) {
        JsonNode expected = map.get("sparsity").get(sparse++);
        assertEquals(expected.get("mask_n").asInt(), pruner.options().maskN());
        assertEquals(expected.get("mask_m").asInt(), pruner.options().maskM());
        Map<String, Double> wanted = new LinkedHashMap<>();
        expected
            .get("modules")
            .properties()
            .forEach(entry -> wanted.put(entry.getKey(), entry.getValue().asDouble()));
        assertEquals(wanted, Targets.sparsities(recipe, pruner, modules));
      } else if (map.has("parameters") && modifier instanceof Reading) {
        List<String> pruned =
            Targets.pruned(modifier, modules).values().stream()
                .flatMap(List::stream)
                .distinct()
                .sorted()
                .toList();
        assertEquals(texts(map.get("parameters").get(masked++)), pruned);
      }
    }
  }

  private static void invalid(Path file, Map<String, List<Module>> models) throws IOException {
    JsonNode expected = expected(file);
    String alternative = expected.get("alternative").asText(null);
    List<String> said = new ArrayList<>();
    try {
      Recipe recipe = Recipe.read(file, Registries.all());
      recipe.notes().forEach(note -> said.add(note.where() + ": " + note.message()));
      for (List<Module> modules : models.values()) {
        Resolution resolution = Targets.resolve(recipe, modules);
        resolution.notes().stream()
            .filter(note -> note.severity() == Event.Severity.WARNING)
            .forEach(note -> said.add(note.where() + ": " + note.message()));
        resolution.check();
        for (Modifier modifier : recipe.modifiers()) {
          if (modifier instanceof Pruner pruner) {
            Targets.sparsities(recipe, pruner, modules);
          }
        }
      }
    } catch (EspalierException e) {
      assertEquals(EspalierException.Kind.USAGE, e.kind());
      checkPlace(expected, e.getMessage());
      return;
    }
    if (alternative == null) {
      fail("accepted: " + expected.get("why").asText());
    }
    if (alternative.contains("warning") || alternative.contains("note")) {
      assertTrue(!said.isEmpty(), "a note was wanted: " + alternative);
      checkPlace(expected, said.get(0));
    }
  }

  private static void checkPlace(JsonNode expected, String message) {
    Matcher error = ERROR.matcher(message);
    assertTrue(error.matches(), message);
    assertEquals(
        expected.get("line").asInt() + " " + expected.get("field").asText(),
        error.group("line") + " " + error.group("field"),
        message);
    if (expected.get("nearest").isNull()) {
      assertTrue(!message.contains("did you mean"), message);
    } else {
      assertTrue(error.group("why").contains(expected.get("nearest").asText()), message);
    }
  }

  private static JsonNode expected(Path file) throws IOException {
    String name = name(file).replace(".yaml", ".expected.json");
    return Json.STRICT.readTree(Files.readString(file.resolveSibling(name)));
  }

  private static String name(Path file) {
    return file.getFileName().toString();
  }

  private static List<String> texts(JsonNode list) {
    List<String> texts = new ArrayList<>();
    if (list != null) {
      list.forEach(text -> texts.add(text.asText()));
    }
    return texts;
  }

  private static Map<String, List<Module>> models() throws IOException {
    JsonNode layout = Json.STRICT.readTree(Files.readString(folder().resolve("layout.json")));
    Map<String, List<Module>> models = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> model : layout.get("models").properties()) {
      List<Module> modules = new ArrayList<>();
      for (JsonNode module : model.getValue().get("modules")) {
        JsonNode weight = module.get("weight");
        modules.add(
            new Module(
                module.get("name").asText(),
                module.get("class").asText(),
                texts(module.get("bases")),
                weight != null && weight.size() == 2 ? weight.get(1).asLong() : 0));
      }
      models.put(model.getKey(), modules);
    }
    return models;
  }

  private static Stream<Path> files(String kind) throws IOException {
    try (Stream<Path> files = Files.list(folder().resolve(kind))) {
      return files.filter(file -> name(file).endsWith(".yaml")).sorted().toList().stream();
    }
  }

  private static Path folder() {
    return Shared.path("golden/recipes");
  }
}
