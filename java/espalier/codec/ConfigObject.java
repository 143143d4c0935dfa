// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.report.EspalierException;

/**
 * A quantization config of a file, read field by field with errors that name the field.
 *
 * @param place what stands before a field's name in a message: file, and the key inside it
 * @param json the object
 */
record ConfigObject(String place, JsonNode json) {
  /** Returns the first of the fields that is there and not null, or null. */
  JsonNode first(String... names) {
    String name = name(names);
    return json.hasNonNull(name) ? json.get(name) : null;
  }

  /** Returns which of the spellings of a field is used; the first when none is. */
  private String name(String... names) {
    for (String name : names) {
      if (json.hasNonNull(name)) {
        return name;
      }
    }
    return names[0];
  }

  /**
   * Returns a whole number that the config must state.
   *
   * @throws EspalierException (INPUT) when it is missing or something else
   */
  int integer(String... names) {
    JsonNode value = first(names);
    if (value == null) {
      throw EspalierException.input(
          place + names[0] + " is missing", "State how the weights were quantized.");
    }
    if (!value.canConvertToInt() || !value.isIntegralNumber()) {
      throw EspalierException.input(
          place + name(names) + " is " + value + ", expected a whole number", "Correct the file.");
    }
    return value.intValue();
  }

  /** Returns a truth value, or the standard when the config is silent. */
  boolean flag(boolean standard, String... names) {
    JsonNode value = first(names);
    if (value == null) {
      return standard;
    }
    if (!value.isBoolean()) {
      throw EspalierException.input(
          place + name(names) + " is " + value + ", expected true or false", "Correct the file.");
    }
    return value.booleanValue();
  }

  /** Returns columns per scale from a field where −1 means the whole row: 0 then. */
  int groupSize(String... names) {
    int size = integer(names);
    if (size == 0 || size < -1) {
      throw EspalierException.input(
          place + name(names) + " is " + size + ", expected -1 or a positive number",
          "State the group_size the weights were packed with.");
    }
    return Math.max(0, size);
  }

  /** Returns the refusal of a field's value. */
  EspalierException unsupported(String... names) {
    return EspalierException.unsupported(
        place + name(names) + " " + first(names) + " cannot be read by this version",
        "Use a gptq, gptq_v2, AWQ GEMM or compressed-tensors checkpoint, or a dense one.");
  }

  /** Returns the fault that a module is packed and the config says it is not. */
  EspalierException contradicts(String field, String module) {
    return EspalierException.input(
        place + field + " leaves " + module + " unquantized, but it is packed",
        "Check that the config belongs to these weights.");
  }
}
