// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.report.EspalierException;
import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Typed access to one object of a config file. A field that is null counts as absent. Every fault
 * is an {@link EspalierException} that names the file, the field and the value.
 */
public final class ConfigFields {
  /** No real model comes near this many of anything that is counted field by field. */
  private static final int LARGEST = 1 << 30;

  private final String file;
  private final String prefix;
  private final ObjectNode node;

  /** Creates a view; {@code file} is how messages call the file. */
  public ConfigFields(String file, ObjectNode node) {
    this(file, "", node);
  }

  private ConfigFields(String file, String prefix, ObjectNode node) {
    this.file = file;
    this.prefix = prefix;
    this.node = node;
  }

  /** Returns whether the field is there, even as null. */
  public boolean mentions(String field) {
    return node.has(field);
  }

  /** Returns whether the field is there and not null. */
  public boolean has(String field) {
    return node.hasNonNull(field);
  }

  /** Returns the first of these names that is there and not null, or the first name. */
  public String spelling(String... names) {
    for (String name : names) {
      if (has(name)) {
        return name;
      }
    }
    return names[0];
  }

  /** Returns a nested object, or empty when it is absent, null or {}. */
  public Optional<ConfigFields> object(String field) {
    if (!has(field)) {
      return Optional.empty();
    }
    if (!(node.get(field) instanceof ObjectNode object)) {
      throw wrong(field, "an object");
    }
    return object.isEmpty()
        ? Optional.empty()
        : Optional.of(new ConfigFields(file, prefix + field + ".", object));
  }

  /** Returns a whole number ≥ 1 that must be there. */
  public int count(String field) {
    if (!has(field)) {
      throw EspalierException.input(
          file + ": " + prefix + field + " is missing",
          "Check that this is the model's config.json.");
    }
    JsonNode value = node.get(field);
    if (!value.isNumber() || !value.canConvertToExactIntegral() || !value.canConvertToInt()) {
      throw wrong(field, "a whole number");
    }
    if (value.intValue() < 1 || value.intValue() > LARGEST) {
      throw wrong(field, "1 to " + LARGEST);
    }
    return value.intValue();
  }

  /** Returns a whole number ≥ 1, or the default when absent. */
  public int count(String field, int absent) {
    return has(field) ? count(field) : absent;
  }

  /** Returns a finite number, or the default when absent. */
  public double number(String field, double absent) {
    return has(field) ? number(field) : absent;
  }

  /** Returns a finite number that must be there. */
  public double number(String field) {
    if (!has(field)) {
      throw EspalierException.input(
          file + ": " + prefix + field + " is missing", "Add it to the file.");
    }
    JsonNode value = node.get(field);
    if (!value.isNumber() || !Double.isFinite(value.doubleValue())) {
      throw wrong(field, "a number");
    }
    return value.doubleValue();
  }

  /** Returns a finite number > 0, or the default when absent. */
  public double positive(String field, double absent) {
    double value = number(field, absent);
    if (value <= 0) {
      throw wrong(field, "a number above 0");
    }
    return value;
  }

  /** Returns true or false, or the default when absent. */
  public boolean flag(String field, boolean absent) {
    if (!has(field)) {
      return absent;
    }
    if (!node.get(field).isBoolean()) {
      throw wrong(field, "true or false");
    }
    return node.get(field).booleanValue();
  }

  /** Returns a string, or the default when absent. */
  public String text(String field, String absent) {
    if (!has(field)) {
      return absent;
    }
    if (!node.get(field).isTextual()) {
      throw wrong(field, "a string");
    }
    return node.get(field).textValue();
  }

  /** Returns a list of strings, empty when absent. */
  public List<String> texts(String field) {
    List<String> texts = new ArrayList<>();
    for (JsonNode element : list(field)) {
      if (!element.isTextual()) {
        throw wrong(field, "a list of strings");
      }
      texts.add(element.textValue());
    }
    return texts;
  }

  /** Returns one whole number or a list of them, empty when absent; negative ids mean none. */
  public List<Integer> ids(String field) {
    List<Integer> ids = new ArrayList<>();
    Iterable<JsonNode> elements =
        has(field) && !node.get(field).isArray() ? List.of(node.get(field)) : list(field);
    for (JsonNode element : elements) {
      if (!element.isNumber()
          || !element.canConvertToExactIntegral()
          || !element.canConvertToInt()) {
        throw wrong(field, "a token id or a list of them");
      }
      if (element.intValue() >= 0) {
        ids.add(element.intValue());
      }
    }
    return ids;
  }

  /** Returns whether any value of this object is an object itself. */
  public boolean nested() {
    for (JsonNode value : node) {
      if (value.isObject()) {
        return true;
      }
    }
    return false;
  }

  /**
   * Refuses the model unless the field is absent, null, false, or this number: any other value asks
   * for arithmetic that the family's block does not do.
   */
  public void neutral(String field, double neutral) {
    if (!has(field)) {
      return;
    }
    JsonNode value = node.get(field);
    boolean unchanged =
        value.isNumber()
            ? value.decimalValue().compareTo(BigDecimal.valueOf(neutral)) == 0
            : value.isBoolean() && !value.booleanValue();
    if (!unchanged) {
      throw refused(field);
    }
  }

  /** Refuses the model unless the field is absent, null or false. */
  public void unset(String field) {
    if (has(field) && !(node.get(field).isBoolean() && !node.get(field).booleanValue())) {
      throw refused(field);
    }
  }

  /** Returns the exception for a value that this version cannot handle. */
  public EspalierException refused(String field) {
    return EspalierException.unsupported(
        file + ": " + prefix + field + " " + shown(field) + " is not supported by this version",
        "Use another model, or look for a newer version.");
  }

  /** Returns the exception for a malformed value. */
  public EspalierException wrong(String field, String expected) {
    return EspalierException.input(
        file + ": " + prefix + field + " is " + shown(field) + ", expected " + expected,
        "Correct the file.");
  }

  /** Returns "file: field", the start of a message of one's own. */
  public String where(String field) {
    return file + ": " + prefix + field;
  }

  private Iterable<JsonNode> list(String field) {
    if (!has(field)) {
      return List.of();
    }
    if (!node.get(field).isArray()) {
      throw wrong(field, "a list");
    }
    return node.get(field);
  }

  private String shown(String field) {
    String value = String.valueOf(node.get(field));
    return value.length() > 80 ? value.substring(0, 80) + "…" : value;
  }
}
