// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import espalier.report.EspalierException;
import espalier.report.Event;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;

/**
 * What to do to a model, as written in a recipe file: immutable data.
 *
 * @param name the name of the last stage
 * @param stages in file order
 * @param notes what was read leniently, ignored or is deprecated
 * @param extension what it asks for beyond llm-compressor's grammar
 */
public record Recipe(
    String name, List<Stage> stages, List<Event> notes, Extension extension, Origin origin) {
  /** Where the parts of a recipe stand in their file; known to this package only. */
  public static final class Origin {
    final Places places;

    Origin(Places places) {
      this.places = places;
    }

    @Override
    public boolean equals(Object other) {
      return other instanceof Origin; // two recipes are alike wherever they were written
    }

    @Override
    public int hashCode() {
      return 0;
    }

    @Override
    public String toString() {
      return "Origin";
    }
  }

  /** Copies the lists. */
  public Recipe {
    stages = List.copyOf(stages);
    notes = List.copyOf(notes);
    Objects.requireNonNull(extension);
    Objects.requireNonNull(origin);
  }

  /** Creates a recipe that comes from no file. */
  public Recipe(String name, List<Stage> stages, List<Event> notes) {
    this(name, stages, notes, Extension.NONE, new Origin(Places.NONE));
  }

  /**
   * Reads a recipe file: {@code .yaml} and {@code .yml} as YAML 1.1, {@code .json} as JSON, {@code
   * .md} its front matter, any other name as JSON or YAML. Throws a usage error that names line and
   * field, an input error if the file cannot be read, and an unsupported error for a modifier that
   * is not built.
   */
  public static Recipe read(Path file, Registry registry) {
    RecipeFile text = RecipeFile.read(file);
    return new RecipeReader(file.toString(), registry).read(text.root());
  }

  /** Reads recipe text, JSON or YAML; {@code sourceName} stands for the file in messages. */
  public static Recipe parse(String text, String sourceName, Registry registry) {
    return new RecipeReader(sourceName, registry).read(RecipeFile.parse(text, sourceName).root());
  }

  /** Returns every modifier in order of execution. */
  public List<Modifier> modifiers() {
    return stages.stream().flatMap(stage -> stage.modifiers().stream()).toList();
  }

  /** Returns whether any modifier must see calibration data. */
  public boolean needsCalibration() {
    return modifiers().stream().anyMatch(Modifier::needsCalibration);
  }

  /**
   * Returns the usage error that blames a field of a modifier, with file and line: for what only
   * shows when the model is known. {@code field} is relative to the modifier, empty for all of it.
   */
  public EspalierException error(Modifier modifier, String field, String why) {
    return origin.places.error(origin.places.of(modifier, field), why);
  }

  /** Returns the usage error that blames entry {@code index} of the output formats. */
  public EspalierException formatError(int index, String why) {
    return origin.places.error(origin.places.at(Extension.FORMATS + "[" + index + "]"), why);
  }
}
