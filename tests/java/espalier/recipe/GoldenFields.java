// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import espalier.recipe.Reading.Coupling;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Compares what was read of one modifier with its golden description. */
final class GoldenFields {
  /** Fields of the reference that are no options of ours, or compared in another place. */
  private static final Set<String> ELSEWHERE =
      Set.of(
          "requires_calibration_data",
          "sequential_update",
          "sequential_targets",
          "offload_hessians",
          "offload_device");

  private static final ObjectMapper PLAIN = new ObjectMapper();

  private GoldenFields() {}

  static void check(JsonNode expected, Modifier modifier, boolean older) {
    assertEquals(expected.get("type").asText(), modifier.type());
    assertEquals(expected.get("group").asText(), modifier.group());
    JsonNode fields = expected.get("fields");
    if (fields.has("requires_calibration_data")) {
      assertEquals(
          fields.get("requires_calibration_data").asBoolean(), modifier.needsCalibration());
    }
    Map<String, Object> read = fields(modifier);
    fields
        .properties()
        .forEach(
            field -> {
              if (!ELSEWHERE.contains(field.getKey()) && read.containsKey(field.getKey())) {
                Object wanted = normal(PLAIN.convertValue(field.getValue(), Object.class));
                assertEquals(wanted, normal(read.get(field.getKey())), field.getKey());
              } else if (!ELSEWHERE.contains(field.getKey())) {
                throw new AssertionError("field not read: " + field.getKey());
              }
            });
    if (expected.has("config_groups")) {
      checkGroups(expected, modifier, older);
    }
  }

  private static void checkGroups(JsonNode expected, Modifier modifier, boolean older) {
    List<String> names = new ArrayList<>();
    expected.get("config_groups").fieldNames().forEachRemaining(names::add);
    assertEquals(names, modifier.groups().stream().map(SchemeGroup::name).toList());
    for (SchemeGroup group : modifier.groups()) {
      JsonNode wanted = expected.get("config_groups").get(group.name());
      assertEquals(PLAIN.convertValue(wanted.get("targets"), List.class), group.targets());
      checkScheme(wanted, group, older);
    }
    checkArgs(expected.get("kv_cache_scheme"), modifier.cache().orElse(null), older);
  }

  static void checkScheme(JsonNode wanted, SchemeGroup group, boolean older) {
    checkArgs(wanted.get("weights"), group.weights(), older);
    checkArgs(wanted.get("input_activations"), group.inputs(), older);
    checkArgs(wanted.get("output_activations"), group.outputs(), older);
  }

  static void checkArgs(JsonNode wanted, QuantizationArgs args, boolean older) {
    if (wanted == null || wanted.isNull()) {
      assertNull(args);
      return;
    }
    Map<String, Object> read = new LinkedHashMap<>();
    read.put("num_bits", args.numBits());
    read.put("type", args.type().text());
    read.put("symmetric", args.symmetric());
    read.put("strategy", args.strategy().text());
    read.put("group_size", args.groupSize());
    read.put(
        "dynamic",
        switch (args.dynamic()) {
          case NO -> false;
          case YES -> true;
          case LOCAL -> "local";
        });
    read.put("actorder", args.actorder() == null ? null : args.actorder().text());
    read.put("block_structure", args.blockStructure());
    read.put("scale_dtype", args.scaleDtype());
    read.put("zp_dtype", args.zeroPointDtype());
    read.put("observer", args.observer());
    read.put("observer_kwargs", args.observerOptions().isEmpty() ? null : args.observerOptions());
    Map<String, Object> all = new LinkedHashMap<>();
    read.keySet().forEach(key -> all.put(key, null));
    wanted
        .properties()
        .forEach(
            field -> all.put(field.getKey(), PLAIN.convertValue(field.getValue(), Object.class)));
    if (older) {
      all.remove("observer");
      read.remove("observer");
    }
    assertEquals(normal(all), normal(read));
  }

  private static Map<String, Object> fields(Modifier modifier) {
    Map<String, Object> read = new LinkedHashMap<>();
    if (modifier instanceof Quantizer quantizer) {
      QuantizerOptions options = quantizer.options();
      shared(read, options);
      if (options.solver() != null) {
        QuantizationArgs.Actorder order = options.solver().actorder();
        read.put("block_size", options.solver().blockSize());
        read.put("dampening_frac", options.solver().dampeningFrac());
        read.put("actorder", order == null ? null : order.text());
        read.put("batched_quantization", options.solver().batched());
      }
    } else if (modifier instanceof Pruner pruner) {
      PrunerOptions options = pruner.options();
      read.put("sparsity", options.perTarget() ? options.sparsity() : options.sparsity().get(0));
      read.put("sparsity_profile", options.profile());
      read.put("mask_structure", options.maskN() + ":" + options.maskM());
      read.put("owl_m", options.owlM());
      read.put("owl_lmbda", options.owlLambda());
      read.put("targets", options.targets());
      read.put("ignore", options.ignore());
      read.put("block_size", options.blockSize());
      read.put("dampening_frac", options.dampeningFrac());
      read.put("preserve_sparsity_mask", options.preservesMask());
    } else {
      Reading reading = (Reading) modifier;
      read.putAll(reading.options());
      if (!reading.groups().isEmpty()) {
        read.put("targets", reading.targets());
        read.put("ignore", reading.ignore());
        for (String rest :
            List.of(
                "scheme",
                "weight_observer",
                "input_observer",
                "output_observer",
                "observer",
                "bypass_divisibility_checks")) {
          read.put(rest, rest.equals("scheme") ? "W3A16" : rest.startsWith("b") ? false : null);
        }
      }
    }
    return read;
  }

  private static void shared(Map<String, Object> read, QuantizerOptions options) {
    Map<String, List<String>> schemes = options.schemes();
    boolean single =
        schemes.size() == 1 && schemes.values().iterator().next().equals(options.targets());
    Object scheme = schemes.isEmpty() ? null : schemes;
    read.put("scheme", single ? schemes.keySet().iterator().next() : scheme);
    read.put("targets", options.targets());
    read.put("ignore", options.ignore());
    Map<String, String> observers = options.observers();
    boolean map = observers.size() > 1; // the reference has one file of each form
    read.put("observer", map ? observers : null);
    read.put("weight_observer", map ? null : observers.get("weights"));
    read.put("input_observer", map ? null : observers.get("input"));
    read.put("output_observer", map ? null : observers.get("output"));
    read.put("bypass_divisibility_checks", options.bypassesDivisibility());
  }

  /** Numbers as doubles, couplings as the lists or maps of the reference, one text as a list. */
  private static Object normal(Object value) {
    if (value instanceof Number number) {
      return number.doubleValue();
    }
    if (value instanceof Coupling coupling) {
      return "coupling " + coupling.balance() + " <- " + coupling.smooth();
    }
    if (value instanceof List<?> list) {
      if (list.size() == 2
          && list.get(0) instanceof List<?> balance
          && list.get(1) instanceof String) {
        return "coupling " + balance + " <- " + list.get(1);
      }
      return list.size() == 1 && list.get(0) instanceof String
          ? list.get(0)
          : list.isEmpty() ? null : list.stream().map(GoldenFields::normal).toList();
    }
    if (value instanceof Map<?, ?> map) {
      if (map.containsKey("smooth_layer")) {
        return "coupling " + map.get("balance_layers") + " <- " + map.get("smooth_layer");
      }
      Map<Object, Object> copy = new LinkedHashMap<>();
      map.forEach((key, inner) -> copy.put(key, normal(inner)));
      return copy;
    }
    return "static".equals(value) ? "weight" : value;
  }
}
