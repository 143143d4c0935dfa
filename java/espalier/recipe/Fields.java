// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import espalier.report.Event;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BiFunction;

/** The table of a modifier's own fields, by which {@link Reading} is filled. Immutable. */
final class Fields {
  /** A field and how it is read. */
  record Field(String name, BiFunction<Options, String, Object> read) {}

  private final List<Field> fields;

  private Fields(List<Field> fields) {
    this.fields = fields;
  }

  static Fields none() {
    return new Fields(List.of());
  }

  Fields with(String name, BiFunction<Options, String, Object> read) {
    List<Field> more = new ArrayList<>(fields);
    more.add(new Field(name, read));
    return new Fields(List.copyOf(more));
  }

  /** An integer of at least {@code least}. */
  Fields integer(String name, int standard, int least) {
    return with(
        name,
        (options, field) -> {
          int value = options.integer(field, standard);
          if (value < least) {
            throw options.error(field, "at least " + least + " is wanted");
          }
          return value;
        });
  }

  Fields integerOrNull(String name) {
    return with(
        name,
        (options, field) -> {
          Integer value = options.integerOrNull(field, null);
          if (value != null && value < 1) {
            throw options.error(field, "a positive number is wanted");
          }
          return value;
        });
  }

  /** A share in [0, 1]; null as default makes the field mandatory. */
  Fields share(String name, Double standard) {
    return with(
        name,
        (options, field) -> {
          if (standard == null) {
            options.require(field);
          }
          if (standard == null && !options.has(field)) {
            return 0.0;
          }
          double value = options.number(field, standard == null ? 0 : standard);
          if (value < 0 || value > 1) {
            throw options.error(field, "must lie in [0, 1]");
          }
          return value;
        });
  }

  Fields numberOrNull(String name) {
    return with(name, (options, field) -> options.numberOrNull(field, null));
  }

  Fields flag(String name, boolean standard) {
    return with(name, (options, field) -> options.flag(field, standard));
  }

  /** A flag of which {@code true} was never implemented anywhere. */
  Fields never(String name) {
    return with(
        name,
        (options, field) -> {
          if (options.flag(field, false)) {
            throw options.error(field, "true is not implemented");
          }
          return false;
        });
  }

  Fields text(String name, String standard) {
    return with(name, (options, field) -> options.text(field, standard));
  }

  Fields word(String name, String standard, String... words) {
    return with(name, (options, field) -> options.word(field, standard, true, words));
  }

  Fields entries(String name, List<String> standard) {
    return with(
        name, (options, field) -> Selector.check(options, field, options.texts(field, standard)));
  }

  Fields plain(String name) {
    return with(name, Options::plain);
  }

  /** A field of older versions: read, remarked on, not kept. */
  Fields dropped(String name) {
    return with(
        name,
        (options, field) -> {
          if (options.given(field)) {
            options.note(
                Event.Severity.WARNING, "deprecated-field", field, "read and not used any more");
          }
          return null;
        });
  }

  /** Returns every field's value by name, in order. */
  Map<String, Object> read(Options options) {
    Map<String, Object> values = new LinkedHashMap<>();
    for (Field field : fields) {
      values.put(field.name(), field.read().apply(options, field.name()));
    }
    return values;
  }
}
