// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.Shared;
import espalier.checkpoint.Rewritten;
import espalier.checkpoint.Rewritten.Stored;
import espalier.model.PrunedModels;
import espalier.model.TinyModels;
import espalier.tensor.DType;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** Sparse checkpoints on the command line: the same answers as with zeros in place, or a reason. */
class SparseCommandsTest {
  private static final String QUERY = "model.layers.1.self_attn.q_proj";
  private static final int INPUT = 3;
  private static final int UNSUPPORTED = 4;

  @TempDir Path folder;
  private Path pairs;
  private Path mask;
  private String data;

  @BeforeEach
  void write() throws IOException {
    pairs =
        PrunedModels.structured(TinyModels.llama().stored(DType.BF16).fill(), 2, 4)
            .write(folder.resolve("pairs"));
    mask =
        PrunedModels.unstructured(TinyModels.llama().stored(DType.BF16).fill(), 0.7)
            .write(folder.resolve("mask"));
    Path file = folder.resolve("ids.jsonl");
    Files.writeString(file, "{\"input_ids\": [1, 2, 3, 4, 5, 6, 7, 8]}\n{\"input_ids\": [7, 3]}\n");
    data = file.toString();
  }

  private String sparse(Path source, String name, String... more) {
    List<String> words =
        new ArrayList<>(List.of("compress", source.toString(), "--format", "sparse", "-o"));
    words.add(folder.resolve(name).toString());
    words.addAll(List.of(more));
    CommandRun run = CommandRun.of(words);
    assertEquals(0, run.code(), run.err());
    return folder.resolve(name).toString();
  }

  private double nats(String model, String... more) {
    List<String> words = new ArrayList<>(List.of("eval", model, "--data", data, "--json"));
    words.addAll(List.of(more));
    CommandRun run = CommandRun.of(words);
    assertEquals(0, run.code(), run.err());
    return run.json().get("nats_per_token").doubleValue();
  }

  private static String ids(String model) {
    CommandRun run =
        CommandRun.of("generate", model, "--ids", "1,2,3", "--tokens", "12", "--greedy", "--json");
    assertEquals(0, run.code(), run.err());
    return run.json().get("ids").toString();
  }

  /** Prefill, decoding by recorded programs and evaluation, from every stored form. */
  @TestFactory
  Stream<DynamicTest> evalAndGenerateAreThoseOfTheModelWithZeros() {
    return Stream.of(pairs, mask)
        .flatMap(
            source ->
                Stream.of("", "W4A16", "W8A16")
                    .map(
                        scheme ->
                            DynamicTest.dynamicTest(
                                source.getFileName() + " " + scheme, () -> alike(source, scheme))));
  }

  private void alike(Path source, String scheme) {
    String name = source.getFileName() + scheme;
    String dense = source.toString();
    String sparse;
    if (scheme.isEmpty()) {
      sparse = sparse(source, name + "-sparse");
    } else {
      String[] how = {"--scheme", scheme, "--method", "rtn", "--group-size", "4"};
      sparse = sparse(source, name + "-sparse", how);
      dense = folder.resolve(name + "-packed").toString();
      List<String> words = new ArrayList<>(List.of("compress", source.toString(), "-o", dense));
      words.addAll(List.of(how));
      assertEquals(0, CommandRun.of(words).code());
    }
    assertEquals(nats(dense), nats(sparse), 1e-5);
    assertEquals(nats(sparse, "--threads", "1"), nats(sparse, "--threads", "2"));
    assertEquals(ids(dense), ids(sparse));
  }

  @Test
  void inspectShowsFormsAndOnDemandCounts() throws IOException {
    String sparse = sparse(pairs, "sparse");
    JsonNode query = linear(CommandRun.of("inspect", sparse, "--json").json());
    assertEquals("bf16 2:4", query.get("form").textValue());
    assertEquals(0.5, query.get("stored_share").doubleValue());
    assertEquals(9.0, query.get("bits_per_weight").doubleValue());
    assertFalse(query.has("density"));
    assertEquals(
        CommandRun.of("inspect", pairs.toString(), "--json").json().get("parameters"),
        CommandRun.of("inspect", sparse, "--json").json().get("parameters"));
    for (String model : List.of(sparse, pairs.toString())) {
      JsonNode counted = linear(CommandRun.of("inspect", model, "--density", "--json").json());
      assertTrue(counted.get("density").doubleValue() <= 0.5, counted.toString());
      assertEquals("2:4", counted.get("pattern").textValue());
      assertEquals(
          Math.round(24 * 16 * counted.get("density").doubleValue()),
          counted.get("nonzeros").longValue());
    }
    JsonNode unstructured =
        linear(CommandRun.of("inspect", mask.toString(), "--density", "--json").json());
    assertEquals("unstructured", unstructured.get("pattern").textValue());
    assertEquals(0.3, unstructured.get("density").doubleValue(), 0.01);
    CommandRun people = CommandRun.of("inspect", sparse, "--density");
    assertTrue(people.out().contains("all linears: "), people.out());
    assertTrue(people.out().contains("2:4  bf16 2:4"), people.out());
    assertEquals(2, CommandRun.of("inspect", sparse + "/model.safetensors", "--density").code());
  }

  private static JsonNode linear(JsonNode inspection) {
    for (JsonNode linear : inspection.get("linears")) {
      if (linear.get("name").textValue().equals(QUERY)) {
        return linear;
      }
    }
    throw new AssertionError(inspection.toString());
  }

  @Test
  void otherPatternsAreToldApart() {
    Path half =
        PrunedModels.structured(
                TinyModels.llama().with("hidden_size", 32).with("head_dim", 8).fill(), 4, 8)
            .write(folder.resolve("half"));
    JsonNode query =
        linear(CommandRun.of("inspect", half.toString(), "--density", "--json").json());
    assertEquals("4:8", query.get("pattern").textValue());
    Path whole = TinyModels.llama().fill().write(folder.resolve("whole"));
    query = linear(CommandRun.of("inspect", whole.toString(), "--density", "--json").json());
    assertEquals("dense", query.get("pattern").textValue());
  }

  @Test
  void theReportTellsDensityFormAndSpeed() throws IOException {
    String sparse =
        sparse(pairs, "sparse", "--scheme", "W8A16", "--method", "rtn", "--group-size", "4");
    JsonNode report = Shared.json(Path.of(sparse).resolve("espalier-report.json"));
    for (JsonNode row : report.get("linears")) {
      if (row.get("name").textValue().equals("lm_head")) {
        continue;
      }
      assertTrue(row.get("density").doubleValue() <= 0.5, row.toString());
      assertEquals("2:4", row.get("stored").textValue());
      assertEquals("2:4", row.get("pattern").textValue());
      assertTrue(row.get("token_microseconds").doubleValue() > 0);
      assertTrue(row.get("token_microseconds_dense").doubleValue() > 0);
    }
    String page = Files.readString(Path.of(sparse).resolve("espalier-report.html"));
    assertTrue(page.contains("with zeros"), "the page has no column of densities");
  }

  /** What is wrong with a file, done to a sound one, and a word its message must have. */
  private record Fault(String name, String word, int code, Consumer<Rewritten> change) {}

  private static Stored tensor(Rewritten files, String suffix) {
    return files.tensors().get(QUERY + suffix);
  }

  private static void cut(Rewritten files, String suffix) {
    Stored old = tensor(files, suffix);
    long[] shape = old.shape().clone();
    shape[0]--;
    int bytes = (int) (old.bytes().length / old.shape()[0] * shape[0]);
    files
        .tensors()
        .put(QUERY + suffix, new Stored(old.dtype(), shape, Arrays.copyOf(old.bytes(), bytes)));
  }

  private static ObjectNode block(Rewritten files) {
    return (ObjectNode) files.config().get("espalier_sparse");
  }

  private static ObjectNode module(Rewritten files) {
    return (ObjectNode) block(files).get("modules").get(QUERY);
  }

  private static List<Fault> ofBitmasks() {
    return List.of(
        new Fault(
            "a bit more than values",
            "values",
            INPUT,
            f -> {
              byte[] mask = tensor(f, ".bitmask").bytes();
              int last = mask.length - 1;
              mask[last] |= mask[last] == -1 ? 0 : Integer.lowestOneBit(~mask[last]);
            }),
        new Fault(
            "offsets that are no prefix sums",
            "row_offsets[5]",
            INPUT,
            f -> tensor(f, ".row_offsets").buffer().putLong(5 * 8, 1)),
        new Fault(
            "an offset far outside",
            "row_offsets[3]",
            INPUT,
            f -> tensor(f, ".row_offsets").buffer().putLong(3 * 8, Long.MAX_VALUE)),
        new Fault("a value too few", "values", INPUT, f -> cut(f, ".values")),
        new Fault(
            "a mask row too few",
            "config.json asks",
            INPUT,
            f -> {
              cut(f, ".bitmask");
              cut(f, ".row_offsets");
              Stored values = tensor(f, ".values");
              long kept = 0;
              for (byte b : tensor(f, ".bitmask").bytes()) {
                kept += Integer.bitCount(b & 0xFF);
              }
              f.tensors()
                  .put(
                      QUERY + ".values",
                      new Stored(
                          values.dtype(),
                          new long[] {kept},
                          Arrays.copyOf(values.bytes(), (int) kept * 2)));
            }),
        new Fault("a row of offsets too few", "row_offsets", INPUT, f -> cut(f, ".row_offsets")),
        new Fault("a mask of another shape", "bitmask", INPUT, f -> module(f).put("columns", 40)),
        new Fault(
            "bits past the last column",
            "past the last column",
            INPUT,
            f -> {
              module(f).put("columns", 12);
              Stored mask = tensor(f, ".bitmask");
              mask.bytes()[1] |= (byte) 0x80;
            }),
        new Fault("values of another type", "values", INPUT, f -> module(f).put("values", "f32")),
        new Fault("no mask", "bitmask", INPUT, f -> f.tensors().remove(QUERY + ".bitmask")),
        new Fault(
            "no offsets", "row_offsets", INPUT, f -> f.tensors().remove(QUERY + ".row_offsets")),
        new Fault(
            "a module that is not described",
            "does not name",
            INPUT,
            f -> ((ObjectNode) block(f).get("modules")).remove(QUERY)),
        new Fault("an unknown pattern", "pattern", INPUT, f -> module(f).put("pattern", "3:5")),
        new Fault("no columns", "columns", INPUT, f -> module(f).remove("columns")),
        new Fault(
            "a config without the block",
            "espalier_sparse",
            INPUT,
            f -> f.config().remove("espalier_sparse")),
        new Fault(
            "a config of another program",
            "quantization_config",
            INPUT,
            f -> f.config().putObject("quantization_config").put("quant_method", "gptq")),
        new Fault("a later version", "version is 2", UNSUPPORTED, f -> block(f).put("version", 2)),
        new Fault(
            "files of a later version",
            "espalier_sparse is 7",
            UNSUPPORTED,
            f -> f.metadata().put("espalier_sparse", "7")),
        new Fault(
            "a version that is none", "version is", INPUT, f -> block(f).put("version", "x")));
  }

  private static List<Fault> ofPairs() {
    return List.of(
        new Fault(
            "places out of order",
            "positions",
            INPUT,
            f -> tensor(f, ".positions").bytes()[3] = 0x41), // places 1, 0
        new Fault(
            "one place twice",
            "positions",
            INPUT,
            f -> tensor(f, ".positions").bytes()[0] = (byte) 0xF4),
        new Fault("a row of places too few", "", INPUT, f -> cut(f, ".positions")),
        new Fault("a row of values too few", "values", INPUT, f -> cut(f, ".values")),
        new Fault(
            "columns that are no fours", "positions", INPUT, f -> module(f).put("columns", 15)));
  }

  private static List<Fault> ofCodes() {
    return List.of(
        new Fault(
            "a scale that is no number",
            "weight_scale",
            INPUT,
            f -> tensor(f, ".weight_scale").buffer().putShort(4, (short) 0x7FC0)),
        new Fault("a row of scales too few", "weight_scale", INPUT, f -> cut(f, ".weight_scale")),
        new Fault(
            "groups that do not divide", "columns", INPUT, f -> module(f).put("group_size", 5)),
        new Fault("asymmetric codes", "bits", INPUT, f -> module(f).put("symmetric", false)),
        new Fault("codes that do not fit", "bits", INPUT, f -> module(f).put("bits", 5)));
  }

  @TestFactory
  Stream<DynamicTest> whatIsWrongIsNamedByInspectAndEval() {
    return Stream.of(
            faults(sparse(mask, "m"), ofBitmasks()),
            faults(sparse(pairs, "p"), ofPairs()),
            faults(
                sparse(pairs, "c", "--scheme", "W4A16", "--method", "rtn", "--group-size", "4"),
                ofCodes()))
        .flatMap(tests -> tests);
  }

  private Stream<DynamicTest> faults(String sound, List<Fault> faults) {
    return faults.stream()
        .map(fault -> DynamicTest.dynamicTest(fault.name(), () -> refused(sound, fault)));
  }

  private void refused(String sound, Fault fault) {
    Rewritten files = new Rewritten(Path.of(sound));
    fault.change().accept(files);
    Path broken = files.write(folder.resolve(fault.name().replace(' ', '-')));
    CommandRun eval = CommandRun.of("eval", broken.toString(), "--data", data);
    assertEquals(fault.code(), eval.code(), eval.err());
    assertTrue(eval.err().contains(fault.word()), eval.err());
    assertEquals("", eval.out());
    assertFalse(eval.err().contains("Exception"), eval.err());
    CommandRun inspect = CommandRun.of("inspect", broken.toString());
    if (fault.code() == INPUT) {
      assertEquals(INPUT, inspect.code(), inspect.err());
      assertTrue(inspect.err().contains(fault.word()), inspect.err());
    } else {
      assertEquals(0, inspect.code(), inspect.err());
      assertTrue(inspect.out().contains("cannot be run"), inspect.out());
      assertTrue(inspect.out().contains(fault.word()), inspect.out());
    }
  }
}
