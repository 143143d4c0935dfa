// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import espalier.recipe.Datum.Entry;
import espalier.recipe.Datum.Mapping;
import espalier.recipe.Datum.Scalar;
import espalier.recipe.Datum.Sequence;
import espalier.report.EspalierException;
import espalier.report.Event;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads stages, groups and modifiers. A key that looks like one of them and is not is refused: the
 * library that recipes are written for skips it without a word and leaves the model as it was.
 */
final class RecipeReader {
  private static final String STAGE = "_stage";
  private static final String GROUP = "_modifiers";
  private static final String TYPE = "Modifier";

  private final String source;
  private final Registry registry;
  private final List<Event> notes = new ArrayList<>();
  private final Places places;
  private Extension extension = Extension.NONE;

  /** What an error about a modifier as a whole needs. */
  private record Placed(Modifier modifier, String path, int line) {}

  private final List<Placed> all = new ArrayList<>();

  RecipeReader(String source, Registry registry) {
    this.source = source;
    this.registry = registry;
    this.places = new Places(source);
  }

  Recipe read(Mapping root) {
    List<Stage> stages = new ArrayList<>();
    for (Entry entry : root.entries().values()) {
      requireText(entry, entry.key());
      String key = entry.key();
      if (key.endsWith(STAGE) && key.length() > STAGE.length()) {
        String name = key.substring(0, key.length() - STAGE.length());
        stages.add(new Stage(name, stage(map(entry, key, "a stage"), key, name)));
      } else if (key.equals(Extension.KEY)) {
        Mapping fields = map(entry, key, "our own options");
        places.add(key, entry.keyLine(), fields);
        extension = Extension.read(source, fields, entry.keyLine(), notes);
      } else {
        refuseLostStage(entry);
      }
    }
    if (all.isEmpty()) {
      throw RecipeError.at(source, 1, RecipeError.FILE, "the recipe names no modifier");
    }
    checkOrder();
    String name = stages.get(stages.size() - 1).name();
    return new Recipe(name, stages, notes, extension, new Recipe.Origin(places));
  }

  private List<Modifier> stage(Mapping stage, String path, String stageName) {
    List<Modifier> modifiers = new ArrayList<>();
    for (Entry entry : stage.entries().values()) {
      String inner = Document.join(path, entry.key());
      requireText(entry, inner);
      String key = entry.key();
      if (key.endsWith(GROUP) && key.length() > GROUP.length()) {
        String name = key.substring(0, key.length() - GROUP.length());
        group(map(entry, inner, "a group from modifier name to options"), inner, name, modifiers);
      } else {
        refuseLostGroup(entry, inner, stageName);
        skipped(entry, inner);
      }
    }
    return modifiers;
  }

  private void group(Mapping group, String path, String name, List<Modifier> modifiers) {
    for (Entry entry : group.entries().values()) {
      String inner = Document.join(path, entry.key());
      requireText(entry, inner);
      if (entry.value() instanceof Scalar scalar && scalar.isNull()) {
        throw RecipeError.at(
            source,
            entry.keyLine(),
            inner,
            "the options are null; for none write " + entry.key() + ": {}");
      }
      ModifierType type = type(entry, inner);
      Mapping fields = map(entry, inner, "a map of options");
      Mapping quantizer = type.name().equals("AWQModifier") ? quantizerPart(fields) : null;
      if (quantizer == null) {
        modifiers.add(modifier(type, entry, inner, name, fields));
        continue;
      }
      notes.add(
          Event.warning(
              "awq-one-modifier",
              RecipeError.where(source, entry.keyLine()),
              inner
                  + ": read as AWQModifier followed by QuantizationModifier, as older versions"
                  + " meant it"));
      ModifierType rounding = find("QuantizationModifier", entry, inner);
      modifiers.add(modifier(type, entry, inner, name, without(fields, quantizer)));
      modifiers.add(modifier(rounding, entry, inner, name, quantizer));
    }
  }

  private ModifierType type(Entry entry, String path) {
    return find(entry.key(), entry, path);
  }

  private ModifierType find(String name, Entry entry, String path) {
    return registry
        .find(name)
        .orElseThrow(
            () ->
                RecipeError.at(
                    source,
                    entry.keyLine(),
                    path,
                    "no modifier is named "
                        + name
                        + RecipeError.didYouMean(registry.nearest(name))));
  }

  private Modifier modifier(
      ModifierType type, Entry entry, String path, String group, Mapping fields) {
    Options options = new Options(source, type.name(), group, path, entry.keyLine(), fields, notes);
    Modifier modifier = type.factory() == null ? null : type.factory().apply(options);
    if (type.notBuilt() != null) {
      String where = RecipeError.where(source, entry.keyLine());
      throw EspalierException.unsupported(
          where + ": " + path + ": " + type.name() + " is not built yet: " + type.notBuilt(),
          "Take the modifier out of the recipe.");
    }
    places.add(modifier, path, entry.keyLine(), fields);
    all.add(new Placed(modifier, path, entry.keyLine()));
    return modifier;
  }

  /** Returns the options by which AWQModifier quantized on its own, or null if it does not. */
  private static Mapping quantizerPart(Mapping fields) {
    Map<String, Entry> part = new LinkedHashMap<>(fields.entries());
    part.keySet().retainAll(QuantizerReader.SHARED_FIELDS);
    return part.isEmpty() ? null : new Mapping(Collections.unmodifiableMap(part), fields.line());
  }

  private static Mapping without(Mapping fields, Mapping part) {
    Map<String, Entry> rest = new LinkedHashMap<>(fields.entries());
    rest.keySet().removeAll(part.entries().keySet());
    return new Mapping(Collections.unmodifiableMap(rest), fields.line());
  }

  private void checkOrder() {
    boolean quantizes = false;
    for (Placed placed : all) {
      if (placed.modifier().follows() && !quantizes) {
        throw RecipeError.at(
            source,
            placed.line(),
            placed.path(),
            "nothing is configured here or by an earlier modifier; give a scheme");
      }
      quantizes |= !placed.modifier().groups().isEmpty();
    }
    quantizes = false;
    for (int i = all.size() - 1; i >= 0; i--) {
      Placed placed = all.get(i);
      if (placed.modifier().needsLaterQuantizer() && !quantizes) {
        throw RecipeError.at(
            source,
            placed.line(),
            placed.path(),
            placed.modifier().type() + " must be followed by a quantizing modifier");
      }
      quantizes |= !placed.modifier().groups().isEmpty();
    }
  }

  private void requireText(Entry entry, String path) {
    if (!entry.textKey()) {
      throw RecipeError.at(
          source,
          entry.keyLine(),
          path,
          "keys are text and this is none to YAML; did you mean \"" + entry.key() + "\"?");
    }
  }

  private Mapping map(Entry entry, String path, String wanted) {
    if (entry.value() instanceof Mapping map) {
      return map;
    }
    String given = entry.value().kindName();
    throw RecipeError.at(
        source,
        entry.value().line(),
        path,
        wanted + " is wanted, which is a map; " + given + " was given");
  }

  /** Refuses a top-level key that was meant as a stage; anything else is a note to its readers. */
  private void refuseLostStage(Entry entry) {
    String key = entry.key();
    String why = "a top-level key that does not end in _stage is not read";
    String meant;
    if (key.equals("modifiers") || key.endsWith(GROUP) || key.endsWith(TYPE)) {
      meant = "default_stage: default_modifiers:";
    } else if (key.matches(".+_stage_?[0-9]+")) {
      meant = key.replaceFirst("_?[0-9]+$", "");
    } else if (key.matches("(?i).*stages?") || holdsModifiers(entry.value())) {
      meant = key.replaceFirst("(?i)[_-]?stages?$", "");
      meant = (meant.isEmpty() ? "default" : meant) + STAGE;
    } else {
      return;
    }
    throw RecipeError.at(source, entry.keyLine(), key, why + "; did you mean " + meant + "?");
  }

  private void refuseLostGroup(Entry entry, String path, String stageName) {
    String key = entry.key();
    String meant;
    if (registry.find(key).isPresent() || key.endsWith(TYPE)) {
      meant = stageName + GROUP + ": " + key + ":";
    } else if (key.matches("(?i).*modifiers?(_?[0-9]+)?") || holdsTypes(entry.value())) {
      meant = key.replaceFirst("(?i)[_-]?modifiers?(_?[0-9]+)?$", "");
      meant = (meant.isEmpty() ? stageName : meant) + GROUP;
    } else {
      return;
    }
    throw RecipeError.at(
        source,
        entry.keyLine(),
        path,
        "a stage holds groups whose keys end in _modifiers, with something before it; did you"
            + " mean "
            + meant
            + "?");
  }

  private void skipped(Entry entry, String path) {
    notes.add(
        Event.info(
            "recipe-key-skipped",
            RecipeError.where(source, entry.keyLine()),
            path + ": has no effect"));
  }

  private static boolean holdsModifiers(Datum datum) {
    return holdsTypes(datum)
        || datum instanceof Mapping map
            && map.entries().keySet().stream().anyMatch(key -> key.endsWith("modifiers"));
  }

  private static boolean holdsTypes(Datum datum) {
    if (datum instanceof Sequence list) {
      return list.items().stream().anyMatch(RecipeReader::holdsTypes);
    }
    return datum instanceof Mapping map
        && map.entries().keySet().stream().anyMatch(key -> key.endsWith(TYPE));
  }
}
