// SPDX-License-Identifier: Apache-2.0
package espalier;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.networknt.schema.Schema;
import com.networknt.schema.SchemaRegistry;
import com.networknt.schema.SpecificationVersion;
import espalier.cli.CommandRun;
import espalier.model.TinyModels;
import espalier.report.EspalierException;
import espalier.report.Listener;
import espalier.runtime.Passages;
import espalier.runtime.Protocol;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import java.util.function.Consumer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The report of a real run: its schema, and figures that other ways of asking confirm. */
class ReportTest {
  @TempDir Path folder;
  private Path model;
  private Path texts;
  private Path out;

  @BeforeEach
  void write() throws IOException {
    Random random = new Random(5);
    StringBuilder lines = new StringBuilder();
    for (int text = 0; text < 12; text++) {
      lines.append("{\"input_ids\": " + random.ints(14, 0, 24).boxed().toList() + "}\n");
    }
    texts = Files.writeString(folder.resolve("texts.jsonl"), lines);
    model = TinyModels.llama().fill().write(folder.resolve("model"));
    out = folder.resolve("out");
  }

  private CompressionJob job() {
    return Espalier.compress(model)
        .scheme("W4A16")
        .groupSize(0)
        .data(texts)
        .samples(12)
        .output(out);
  }

  private static Schema schema() throws IOException {
    try (InputStream in = Espalier.class.getResourceAsStream("/espalier/report.schema.json")) {
      String text = new String(in.readAllBytes(), StandardCharsets.UTF_8);
      return SchemaRegistry.withDefaultDialect(SpecificationVersion.DRAFT_2020_12).getSchema(text);
    }
  }

  private JsonNode written() {
    return Shared.json(out.resolve("espalier-report.json"));
  }

  @Test
  void aWrittenReportFollowsItsSchema() throws IOException {
    job().evaluate(texts, 0).run();
    // As numbers of the plain mapper: the schema compares values, not spellings.
    assertEquals("[]", schema().validate(written()).toString());
    JsonNode row = written().get("linears").get(0);
    assertTrue(row.get("variant").textValue().startsWith("gptq_columns/"), row.toString());
    assertEquals(24 * 16, row.get("parameters").intValue());
  }

  @Test
  void aRunWithoutCalibrationFollowsItToo() throws IOException {
    Espalier.compress(model).scheme("W8A16").method("rtn").groupSize(0).output(out).run();
    assertEquals("[]", schema().validate(written()).toString());
    assertFalse(written().has("quality"));
  }

  @Test
  void theSchemaRefusesWhatIsNotAReport() throws IOException {
    job().run();
    refuses(root -> root.remove("linears"));
    refuses(root -> root.put("schema", 2));
    refuses(root -> ((ObjectNode) root.get("linears").get(0)).put("eror", 1));
    refuses(root -> ((ObjectNode) root.get("linears").get(0)).remove("relative_error"));
    refuses(root -> ((ObjectNode) root.at("/time/phases")).put("coffee", 1.0));
    refuses(root -> root.withArray("events").addObject().put("severity", "fatal"));
  }

  private void refuses(Consumer<ObjectNode> change) throws IOException {
    ObjectNode root = written().deepCopy();
    change.accept(root);
    assertFalse(schema().validate(root).isEmpty());
  }

  @Test
  void qualityIsWhatEvalMeasures() {
    job().evaluate(texts, 5).run();
    JsonNode quality = written().get("quality");
    assertEquals(5, quality.get("passages").intValue());
    Passages.Choice choice = new Passages.Choice(Protocol.DOCS, 0, 5);
    try (Espalier dense = Espalier.open(model, 1);
        Espalier packed = Espalier.open(out, 1)) {
      Passages passages = dense.passages(texts, choice);
      assertEquals(passages.tokenStreamSha256(), quality.get("token_sha256").textValue());
      assertEquals(
          dense.perplexity(passages, Listener.NONE).perplexity(),
          quality.get("perplexity_before").doubleValue());
      assertEquals(
          packed.perplexity(passages, Listener.NONE).perplexity(),
          quality.get("perplexity_after").doubleValue());
    }
    assertTrue(quality.get("kl").doubleValue() > 0);
  }

  @Test
  void sizesAreThoseOfTheFiles() throws IOException {
    job().run();
    JsonNode size = written().get("size");
    assertEquals(
        Files.size(model.resolve("model.safetensors")), size.get("before_bytes").longValue());
    assertEquals(Files.size(out.resolve("model.safetensors")), size.get("after_bytes").longValue());
    long before = 0;
    for (JsonNode part : size.get("parts")) {
      before += part.get("before_bytes").longValue();
    }
    // A safetensors file is 8 bytes, a header of the length they tell, and the tensors.
    byte[] head = Files.readAllBytes(model.resolve("model.safetensors"));
    long header = java.nio.ByteBuffer.wrap(head).order(java.nio.ByteOrder.LITTLE_ENDIAN).getLong();
    assertEquals(size.get("before_bytes").longValue() - 8 - header, before);
  }

  @Test
  void phasesDoNotOverlap() {
    job().evaluate(texts, 0).run();
    JsonNode time = written().get("time");
    double sum = 0;
    for (JsonNode seconds : time.get("phases")) {
      sum += seconds.doubleValue();
    }
    // Each of nine is rounded to a microsecond.
    assertTrue(sum <= time.get("total_seconds").doubleValue() + 1e-5, time.toString());
    assertEquals("model.layers.0", time.at("/blocks/0/block").textValue());
    assertTrue(time.at("/blocks/1/forward").isNumber() && time.at("/blocks/1/hessian").isNumber());
  }

  @Test
  void thePageLiesBesideTheWeights() throws IOException {
    job().evaluate(texts, 0).run();
    String page = Files.readString(out.resolve("espalier-report.html"));
    for (JsonNode row : written().get("linears")) {
      assertTrue(page.contains(row.get("name").textValue()));
    }
    assertTrue(page.contains("KL divergence"));
  }

  @Test
  void anEvaluationThatCannotBeMadeStopsTheRunBeforeItBegins() throws IOException {
    Path bad = Files.writeString(folder.resolve("bad.jsonl"), "{\"input_ids\": [999]}\n");
    assertThrows(EspalierException.class, () -> job().evaluate(bad, 0).run());
    assertFalse(Files.exists(out));
    CommandRun run =
        CommandRun.of("compress", model.toString(), "-o", out.toString(), "--eval-limit", "3");
    assertEquals(2, run.code(), run.err());
    assertTrue(run.err().contains("--eval"), run.err());
  }
}
