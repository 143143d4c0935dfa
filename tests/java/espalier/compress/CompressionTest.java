// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.CompressionJob;
import espalier.Espalier;
import espalier.internal.Json;
import espalier.kernel.Eager;
import espalier.layer.Quantized;
import espalier.model.Model;
import espalier.model.Past;
import espalier.model.TinyModels;
import espalier.report.EspalierException;
import espalier.report.EspalierException.Kind;
import espalier.report.Event;
import espalier.report.Listener;
import espalier.report.Report;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The whole job on models this project makes itself: what is written is what was computed. */
class CompressionTest {
  @TempDir Path folder;
  private Path data;

  @BeforeEach
  void writeTexts() throws IOException {
    Random random = new Random(11);
    StringBuilder lines = new StringBuilder();
    for (int text = 0; text < 12; text++) {
      lines
          .append("{\"input_ids\": ")
          .append(random.ints(14, 0, 24).boxed().toList())
          .append("}\n");
    }
    data = Files.writeString(folder.resolve("texts.jsonl"), lines);
  }

  private CompressionJob job(TinyModels model, String name) {
    return Espalier.compress(model.fill().write(folder.resolve(name)))
        .data(data)
        .samples(12)
        .threads(2)
        .output(folder.resolve(name + "-out"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"llama", "mistral", "qwen2", "qwen3", "gpt2"})
  void everyFamilyIsCompressedAndReadBack(String family) {
    TinyModels model =
        switch (family) {
          case "llama" -> TinyModels.llama();
          case "mistral" -> TinyModels.mistral();
          case "qwen2" -> TinyModels.qwen2();
          case "qwen3" -> TinyModels.qwen3();
          default -> TinyModels.gpt2();
        };
    Report report = job(model, family).scheme("W4A16").groupSize(0).run();
    assertEquals(0.0, report.facts().get("reopened_logits_max_difference"));
    assertTrue(report.meanRelativeError() > 0 && report.meanRelativeError() < 0.1);
    try (Context context = Context.cpu(1);
        Model reopened = Model.open(folder.resolve(family + "-out"), context)) {
      long packed =
          reopened.linears().values().stream().filter(Quantized.class::isInstance).count();
      assertEquals(family.equals("gpt2") ? 8 : 14, packed);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3, 4, 5, 6, 7, 8})
  void gptqIsNoWorseThanRoundingInTheNormItMinimises(int bits) {
    Report report =
        job(TinyModels.llama(), "w" + bits).scheme("W" + bits + "A16").groupSize(0).run();
    report
        .rows()
        .forEach(
            row -> {
              if (row.method().equals("gptq")) {
                assertTrue(
                    row.relativeError() <= row.nearestError() * 1.0001, row.name() + " " + row);
              }
            });
  }

  @Test
  void oneAndThreeThreadsGiveTheSameBytes() throws IOException {
    TinyModels model = TinyModels.qwen2();
    job(model, "one").scheme("W4A16_ASYM").groupSize(4).threads(1).run();
    Path again = folder.resolve("three-out");
    Espalier.compress(folder.resolve("one"))
        .data(data)
        .samples(12)
        .scheme("W4A16_ASYM")
        .groupSize(4)
        .threads(3)
        .output(again)
        .run();
    for (String file : List.of("model.safetensors", "config.json", "README.md")) {
      assertArrayEquals(
          Files.readAllBytes(folder.resolve("one-out").resolve(file)),
          Files.readAllBytes(again.resolve(file)),
          file);
    }
  }

  @Test
  void scalesTakeTheTypeOfTheWeights() {
    job(TinyModels.llama().stored(DType.BF16), "bf16").scheme("W8A16").groupSize(4).run();
    try (Context context = Context.cpu(1);
        Model reopened = Model.open(folder.resolve("bf16-out"), context)) {
      Quantized linear =
          assertInstanceOf(Quantized.class, reopened.linears().get("model.layers.1.mlp.down_proj"));
      assertEquals(DType.BF16, linear.scaleType());
    }
  }

  @Test
  void denseOutputHoldsTheQuantizedValues() {
    job(TinyModels.gpt2(), "packed").scheme("W4A16").groupSize(4).run();
    Espalier.compress(folder.resolve("packed"))
        .data(data)
        .samples(12)
        .scheme("W4A16")
        .groupSize(4)
        .format(OutputFormat.DENSE)
        .output(folder.resolve("dense-out"))
        .run();
    try (Context context = Context.cpu(1);
        Model packed = Model.open(folder.resolve("packed-out"), context);
        Model dense = Model.open(folder.resolve("dense-out"), context)) {
      assertFalse(dense.codecs().quantized());
      Tensor ids = context.ints(new int[] {3, 1, 4, 1, 5, 9}, 6);
      float[] expected = packed.forward(new Eager(context), ids, Past.NONE).toFloats();
      float[] found = dense.forward(new Eager(context), ids, Past.NONE).toFloats();
      assertArrayEquals(expected, found, 1e-5f);
    }
  }

  @Test
  void aRecipeMayTreatLayersDifferently() throws IOException {
    Path recipe =
        Files.writeString(
            folder.resolve("recipe.yaml"),
            """
            quant_stage:
              quant_modifiers:
                GPTQModifier:
                  ignore: [lm_head, 're:.*layers.0.self_attn.k_proj$']
                  actorder: null
                  config_groups:
                    fine:
                      targets: ['re:.*down_proj$']
                      weights: {num_bits: 8, strategy: channel, symmetric: false}
                    rest:
                      targets: [Linear]
                      weights: {num_bits: 4, strategy: group, group_size: 8, observer: mse}
            """);
    Report report = job(TinyModels.llama(), "mixed").recipe(recipe).run();
    assertEquals(13L, report.facts().get("linears_compressed"));
    JsonNode config = Json.STRICT.readTree(folder.resolve("mixed-out/config.json").toFile());
    assertEquals(2, config.at("/quantization_config/config_groups").size());
    assertEquals(
        "[\"model.layers.0.self_attn.k_proj\",\"lm_head\"]",
        config.at("/quantization_config/ignore").toString());
    try (Context context = Context.cpu(1);
        Model reopened = Model.open(folder.resolve("mixed-out"), context)) {
      Quantized down = (Quantized) reopened.linears().get("model.layers.0.mlp.down_proj");
      assertEquals(8, down.scheme().bits());
      assertFalse(down.scheme().symmetric());
    }
  }

  @Test
  void theHeadIsCompressedWhenARecipeTargetsIt() throws IOException {
    Path recipe =
        Files.writeString(
            folder.resolve("head.yaml"),
            """
            s_stage:
              m_modifiers:
                GPTQModifier:
                  config_groups:
                    g: {targets: [lm_head], weights: {num_bits: 8, strategy: channel}}
            """);
    Report report = job(TinyModels.llama(), "head").recipe(recipe).run();
    assertEquals(1L, report.facts().get("linears_compressed"));
    try (Context context = Context.cpu(1);
        Model reopened = Model.open(folder.resolve("head-out"), context)) {
      assertInstanceOf(Quantized.class, reopened.head());
    }
  }

  @Test
  void shardsAreReadBack() throws IOException {
    job(TinyModels.llama(), "shards")
        .scheme("W4A16")
        .groupSize(4)
        .method("rtn")
        .data(null)
        .shardBytes(4000)
        .run();
    assertTrue(Files.exists(folder.resolve("shards-out/model.safetensors.index.json")));
  }

  @Test
  void cancellingKeepsWhatIsDoneForTheNextRun() {
    Listener impatient =
        new Listener() {
          private int heard;

          @Override
          public void progress(String stage, long done, long total, String detail) {
            heard++;
          }

          @Override
          public boolean cancelled() {
            return heard >= 3;
          }
        };
    CompressionJob job = job(TinyModels.llama(), "stopped").scheme("W4A16").groupSize(4);
    EspalierException stopped = fails(Kind.INTERRUPTED, job.listener(impatient));
    assertTrue(stopped.advice().contains("same command"), stopped.advice());
    assertFalse(Files.exists(folder.resolve("stopped-out")));
    assertTrue(Files.exists(folder.resolve("stopped-out.partial")));
  }

  @Test
  void strictTurnsAWarningIntoAnError() throws IOException {
    CompressionJob job =
        job(TinyModels.llama(), "strict").scheme("W4A16").groupSize(4).samples(50).strict(true);
    assertTrue(fails(Kind.FAILED, job).getMessage().contains("50"));
    assertNothingAt("strict-out");
  }

  @Test
  void nanInAnyTensorIsNamed() throws IOException {
    TinyModels model = TinyModels.llama().fill();
    model.tensors().get("model.layers.1.mlp.up_proj.weight").values()[17] = Float.NaN;
    CompressionJob job =
        Espalier.compress(model.write(folder.resolve("nan")))
            .scheme("W4A16")
            .method("rtn")
            .groupSize(4)
            .output(folder.resolve("nan-out"));
    String message = fails(Kind.INPUT, job).getMessage();
    assertTrue(message.contains("model.layers.1.mlp.up_proj.weight"), message);
    assertTrue(message.contains("row 1, column 1"), message);
    assertNothingAt("nan-out");
  }

  @Test
  void deadChannelsAreCountedAndTheResultIsFinite() {
    TinyModels model = TinyModels.llama().fill();
    float[] norm = model.tensors().get("model.layers.0.input_layernorm.weight").values();
    norm[3] = 0;
    norm[5] = 0;
    Report report =
        Espalier.compress(model.write(folder.resolve("dead")))
            .data(data)
            .samples(12)
            .scheme("W4A16")
            .groupSize(4)
            .output(folder.resolve("dead-out"))
            .run();
    Event event =
        report.events().stream()
            .filter(e -> e.kind().equals("dead-columns"))
            .findFirst()
            .orElseThrow();
    assertEquals("model.layers.0.self_attn.q_proj", event.where());
    assertTrue(event.message().startsWith("2 of 16"), event.message());
  }

  @Test
  void wrongRequestsAreRefusedBeforeAnythingIsWritten() throws IOException {
    assertTrue(
        fails(Kind.USAGE, job(TinyModels.llama(), "a").scheme("W4A16").groupSize(3))
            .getMessage()
            .contains("model.layers.0.self_attn.q_proj (16 inputs)"));
    assertTrue(
        fails(Kind.USAGE, job(TinyModels.llama(), "b").scheme("W4A17"))
            .getMessage()
            .contains("W4A16"));
    EspalierException noData =
        fails(Kind.USAGE, job(TinyModels.llama(), "c").scheme("W4A16").groupSize(4).data(null));
    assertTrue(noData.advice().contains("--data") && noData.advice().contains("--method rtn"));
    fails(Kind.UNSUPPORTED, job(TinyModels.llama(), "d").scheme("FP8_DYNAMIC"));
    fails(Kind.USAGE, job(TinyModels.llama(), "e"));
    Files.createDirectory(folder.resolve("f-out"));
    fails(Kind.USAGE, job(TinyModels.llama(), "f").scheme("W4A16").groupSize(4));
    Path empty = Files.writeString(folder.resolve("empty.jsonl"), "");
    fails(Kind.INPUT, job(TinyModels.llama(), "g").scheme("W4A16").groupSize(4).data(empty));
    for (String name : List.of("a", "b", "c", "d", "e", "g")) {
      assertNothingAt(name + "-out");
    }
  }

  @Test
  void aQuantizedCheckpointIsNotQuantizedAgain() {
    job(TinyModels.llama(), "once").scheme("W4A16").groupSize(4).run();
    CompressionJob again =
        Espalier.compress(folder.resolve("once-out"))
            .scheme("W4A16")
            .method("rtn")
            .groupSize(4)
            .output(folder.resolve("twice"));
    assertTrue(fails(Kind.INPUT, again).getMessage().contains("already quantized"));
  }

  @Test
  void everyLinearIsInTheReport() throws IOException {
    job(TinyModels.gpt2(), "report").scheme("W4A16").groupSize(8).run();
    JsonNode report =
        Json.STRICT.readTree(folder.resolve("report-out/espalier-report.json").toFile());
    assertEquals(1, report.path("schema").asInt());
    assertEquals(8, report.path("linears").size());
    for (JsonNode linear : report.path("linears")) {
      assertTrue(linear.path("relative_error").asDouble() > 0);
      assertTrue(linear.path("bits_per_weight").asDouble() > 4);
    }
    String card = Files.readString(folder.resolve("report-out/README.md"));
    assertTrue(card.contains("GPTQModifier") && card.contains("base_model: report"), card);
  }

  private static EspalierException fails(Kind kind, CompressionJob job) {
    EspalierException failure = assertThrows(EspalierException.class, job::run);
    assertEquals(kind, failure.kind(), failure.getMessage());
    return failure;
  }

  private void assertNothingAt(String name) throws IOException {
    try (Stream<Path> left = Files.list(folder)) {
      assertEquals(
          List.of(), left.filter(p -> p.getFileName().toString().startsWith(name)).toList());
    }
  }

  @Test
  void cancellationIsAskedForBetweenBatches() throws IOException {
    // Tensors and linears alone make fewer than 50 questions, and a single batch 18 more.
    int most = 80;
    AtomicInteger asked = new AtomicInteger();
    Listener impatient =
        new Listener() {
          @Override
          public boolean cancelled() {
            return asked.incrementAndGet() > most;
          }
        };
    // Four batches of a model 20 wide.
    String text = "{\"input_ids\": " + Collections.nCopies(64, 3) + "}\n";
    Path many = Files.writeString(folder.resolve("many.jsonl"), text.repeat(1300));
    CompressionJob job =
        job(TinyModels.llama(), "cancelled").scheme("W4A16").groupSize(0).data(many).samples(1300);
    EspalierException stopped =
        assertThrows(EspalierException.class, () -> job.listener(impatient).run());
    assertEquals(Kind.INTERRUPTED, stopped.kind());
    assertEquals(most + 1, asked.get());
    assertFalse(Files.exists(folder.resolve("cancelled-out")));
  }
}
