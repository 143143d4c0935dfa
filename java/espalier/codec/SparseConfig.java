// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.checkpoint.Checkpoint;
import espalier.internal.Json;
import espalier.kernel.Sparse.Pattern;
import espalier.layer.Activations;
import espalier.layer.Scheme;
import espalier.layer.SparseKind;
import espalier.report.EspalierException;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;

/**
 * {@code espalier_sparse} of config.json: which modules are stored in our compact format.
 *
 * <pre>
 * espalier_sparse = {"version": 1, "modules": {stored module name: module …}}
 * module = {"pattern": "bitmask" | "2:4", "columns": K, "values": "bf16" | "f16" | "f32"}
 *        | {"pattern": "bitmask" | "2:4", "columns": K, "values": "int8" | "int4", codes}
 *        | {"pattern": "dense", "format": "pack-quantized" | "int-quantized", codes}
 * codes  = "bits": b, "group_size": g (0 for one scale a row), "symmetric": true or false
 *          ["input_activations": "int8-per-token"]
 * </pre>
 *
 * A module that is not listed is a plain matrix. There is no {@code quantization_config} beside it:
 * what this block describes, no other program reads.
 */
public final class SparseConfig {
  /** The version that is written, and the newest that is read. */
  public static final int VERSION = 1;

  /** Where it stands in config.json, and the version in the metadata of weight files. */
  public static final String KEY = "espalier_sparse";

  private static final String PER_TOKEN = "int8-per-token";

  /**
   * How one module is stored.
   *
   * @param pattern null for codes of every weight
   * @param columns in features, 0 where the pattern is null
   * @param kind of values, null where the pattern is null
   * @param scheme of codes, null for floating-point values
   * @param format of the codec where the pattern is null
   */
  record Module(Pattern pattern, long columns, SparseKind kind, Scheme scheme, String format) {}

  private final String place;
  private final Map<String, Module> modules = new LinkedHashMap<>();

  private SparseConfig(String place, JsonNode json) {
    this.place = place;
    requireVersion(place + "version", json.path("version"));
    for (Map.Entry<String, JsonNode> entry : json.path("modules").properties()) {
      ConfigObject module =
          new ConfigObject(place + "modules." + entry.getKey() + ".", entry.getValue());
      modules.put(entry.getKey(), read(module));
    }
  }

  /**
   * Reads the block, if there is one.
   *
   * @throws EspalierException (UNSUPPORTED) when it is of a later version; (INPUT) when it is
   *     malformed, or weight files speak of it and config.json does not
   */
  static Optional<SparseConfig> of(Checkpoint checkpoint, ObjectNode config) {
    requireReadable(checkpoint);
    JsonNode block = config.path(KEY);
    String place = checkpoint.folder().resolve("config.json") + ": " + KEY + ".";
    if (block.isMissingNode() || block.isNull()) {
      if (checkpoint.metadata().containsKey(KEY)) {
        throw EspalierException.input(
            checkpoint.folder()
                + ": the weight files are in the sparse format, and config.json has no "
                + KEY,
            "Restore the config.json that was written with them.");
      }
      return Optional.empty();
    }
    if (config.hasNonNull("quantization_config")) {
      throw EspalierException.input(
          place + "modules stands beside a quantization_config; only one can be true",
          "Restore the config.json that was written with these weights.");
    }
    return Optional.of(new SparseConfig(place, block));
  }

  /**
   * Checks the version in the metadata of the weight files, if they are sparse.
   *
   * @throws EspalierException (UNSUPPORTED) when it is a later one
   */
  public static void requireReadable(Checkpoint checkpoint) {
    String stated = checkpoint.metadata().get(KEY);
    if (stated != null) {
      requireVersion(checkpoint.folder() + ": metadata " + KEY, Json.STRICT.valueToTree(stated));
    }
  }

  private static void requireVersion(String where, JsonNode stated) {
    int version = stated.asInt(0);
    if (version < 1) {
      throw EspalierException.input(
          where + " is " + stated + ", expected a number from 1 on", "Correct the file.");
    }
    if (version > VERSION) {
      throw EspalierException.unsupported(
          where
              + " is "
              + version
              + ": a later layout of sparse weights than version "
              + VERSION
              + ", the newest this program reads",
          "Use a later version of this program.");
    }
  }

  private static Module read(ConfigObject module) {
    String pattern = module.json().path("pattern").asText("");
    if (pattern.equals("dense")) {
      String format = module.json().path("format").asText("");
      if (Codecs.named(format).isEmpty()) {
        throw module.unsupported("format");
      }
      return new Module(null, 0, null, scheme(module), format);
    }
    Pattern known =
        Arrays.stream(Pattern.values())
            .filter(p -> text(p).equals(pattern))
            .findFirst()
            .orElseThrow(() -> unknown(module, "pattern", "bitmask, 2:4 or dense"));
    String values = module.json().path("values").asText("");
    SparseKind kind =
        Arrays.stream(SparseKind.values())
            .filter(k -> k.text().equals(values))
            .findFirst()
            .orElseThrow(
                () ->
                    unknown(
                        module,
                        "values",
                        "one of "
                            + Arrays.stream(SparseKind.values())
                                .map(SparseKind::text)
                                .collect(Collectors.joining(", "))));
    int columns = module.integer("columns");
    Scheme scheme = kind.isCode() ? scheme(module) : null;
    if (columns < 1 || (scheme != null && !scheme.divides(columns))) {
      throw unknown(module, "columns", "1 or more, in whole groups");
    }
    if (scheme != null && (!scheme.symmetric() || scheme.bits() > kind.bits())) {
      throw unknown(module, "bits", "symmetric codes of at most " + kind.bits() + " bits");
    }
    return new Module(known, columns, kind, scheme, null);
  }

  private static EspalierException unknown(ConfigObject module, String field, String expected) {
    return EspalierException.input(
        module.place() + field + " is " + module.json().path(field) + ", expected " + expected,
        "Restore the config.json that was written with these weights.");
  }

  private static Scheme scheme(ConfigObject module) {
    int bits = module.integer("bits");
    int group = module.integer("group_size");
    if (bits < 2 || bits > 8 || group < 0) {
      throw unknown(
          module, bits < 2 || bits > 8 ? "bits" : "group_size", "2..8 bits, 0 or more columns");
    }
    String inputs = module.json().path("input_activations").asText("");
    if (!inputs.isEmpty() && !inputs.equals(PER_TOKEN)) {
      throw module.unsupported("input_activations");
    }
    return new Scheme(
        bits,
        module.flag(true, "symmetric"),
        group,
        inputs.isEmpty() ? Activations.FLOAT : Activations.INT8_PER_TOKEN);
  }

  /**
   * Returns how a module is stored.
   *
   * @throws EspalierException (INPUT) when the block does not name it
   */
  Module module(String name) {
    Module module = modules.get(name);
    if (module == null) {
      throw EspalierException.input(
          place + "modules does not name " + name + ", which is stored compressed",
          "Restore the config.json that was written with these weights.");
    }
    return module;
  }

  /** Returns the name of a pattern in configs and reports. */
  public static String text(Pattern pattern) {
    return pattern == Pattern.BITMASK ? "bitmask" : "2:4";
  }

  /** Returns an empty block to be filled by {@link #put}. */
  public static ObjectNode empty() {
    ObjectNode root = Json.STRICT.createObjectNode();
    root.putObject("modules");
    root.put("version", VERSION);
    return root;
  }

  /** Adds a module in a sparse layout; the scheme is null for floating-point values. */
  public static void put(ObjectNode block, String module, SparseLayout layout, Scheme scheme) {
    ObjectNode node = ((ObjectNode) block.get("modules")).putObject(module);
    node.put("pattern", text(layout.pattern()));
    node.put("columns", layout.in());
    node.put("values", layout.kind().text());
    if (scheme != null) {
      put(node, scheme);
    }
  }

  /** Adds a module that keeps a code for every weight. */
  public static void put(ObjectNode block, String module, LinearCodec codec, Scheme scheme) {
    ObjectNode node = ((ObjectNode) block.get("modules")).putObject(module);
    node.put("pattern", "dense");
    node.put("format", codec.format());
    put(node, scheme);
  }

  private static void put(ObjectNode node, Scheme scheme) {
    node.put("bits", scheme.bits());
    node.put("group_size", scheme.groupSize());
    node.put("symmetric", scheme.symmetric());
    if (scheme.activations() == Activations.INT8_PER_TOKEN) {
      node.put("input_activations", PER_TOKEN);
    }
  }
}
