// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.CompressionJob;
import espalier.Espalier;
import espalier.model.Model;
import espalier.model.TinyModels;
import espalier.recipe.ShortForm;
import espalier.report.EspalierException;
import espalier.report.EspalierException.Kind;
import espalier.report.Listener;
import espalier.report.Report;
import espalier.shapes.ShapedCheckpoint;
import espalier.tensor.Context;
import espalier.tensor.DType;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalLong;
import java.util.Random;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A budget changes where things lie and when they go, never a byte of the output. */
class MemoryPlanTest {
  private static final Pattern NAMED = Pattern.compile("works here is ([\\d.]+)(MB|GB)\\.");

  @TempDir Path folder;

  private static List<int[]> texts() {
    Random random = new Random(5);
    return IntStream.range(0, 9).mapToObj(i -> random.ints(12 + i % 3, 0, 24).toArray()).toList();
  }

  private Report run(Path model, String scheme, int group, boolean frugal, Path out) {
    try (Context context = Context.cpu(2);
        Model opened = Model.open(model, context)) {
      String method = scheme.startsWith("W8") ? "rtn" : "gptq";
      ShortForm form = ShortForm.of(scheme, method, group, Modifiers.REGISTRY);
      Plan plan =
          Plan.of(opened, form.recipe(), List.of(OutputFormat.COMPRESSED_TENSORS), form.yaml());
      List<int[]> texts = plan.needsCalibration() ? texts() : List.of();
      Workload work = Workload.of(texts);
      MemoryPlan memory =
          frugal
              ? MemoryPlan.frugal(opened, plan, work, 5)
              : MemoryPlan.of(opened, plan, work, 2, OptionalLong.empty());
      assertEquals(frugal && !texts.isEmpty(), memory.spilled());
      return new CompressionRun(context, opened, plan, new Report(Listener.NONE), Listener.NONE)
          .within(memory)
          .to(out, CompressionJob.DEFAULT_SHARD_BYTES, texts);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "llama, BF16, W4A16, 4",
    "qwen2, F32, W4A16_ASYM, 0",
    "gpt2, F32, W3A16, 4",
    "qwen3, BF16, W8A16, 0"
  })
  void spilledStatesReleasedBlocksAndPanelsGiveTheSameBytes(
      String family, DType type, String scheme, int group) throws IOException {
    TinyModels model =
        switch (family) {
          case "llama" -> TinyModels.llama();
          case "qwen2" -> TinyModels.qwen2();
          case "qwen3" -> TinyModels.qwen3();
          default -> TinyModels.gpt2();
        };
    Path source = model.fill().stored(type).write(folder.resolve("model"));
    Path wide = folder.resolve("wide");
    Path frugal = folder.resolve("frugal");
    Report expected = run(source, scheme, group, false, wide);
    Report found = run(source, scheme, group, true, frugal);
    assertEquals(0.0, found.facts().get("reopened_logits_max_difference"));
    for (String file : List.of("model.safetensors", "config.json", "README.md")) {
      assertEquals(-1, Files.mismatch(wide.resolve(file), frugal.resolve(file)), file);
    }
    for (int i = 0; i < expected.rows().size(); i++) {
      double error = expected.rows().get(i).relativeError();
      assertEquals(error, found.rows().get(i).relativeError(), 1e-12 + error * 1e-6);
    }
    try (Stream<Path> left = Files.list(frugal)) {
      assertTrue(left.noneMatch(p -> p.getFileName().toString().startsWith(".")), "a file is left");
    }
  }

  @Test
  void theSmallestBudgetNamedIsOneThatWorksAndIsNotFarOff() {
    Path model = TinyModels.llama().fill().write(folder.resolve("model"));
    try (Context context = Context.cpu(1);
        Model opened = Model.open(model, context)) {
      ShortForm form = ShortForm.of("W4A16", "gptq", 4, Modifiers.REGISTRY);
      Plan plan =
          Plan.of(opened, form.recipe(), List.of(OutputFormat.COMPRESSED_TENSORS), form.yaml());
      Workload work = Workload.of(texts());
      long base = 300_000_000;
      EspalierException refused =
          assertThrows(
              EspalierException.class,
              () -> MemoryPlan.above(base, opened, plan, work, OptionalLong.of(1_000_000)));
      assertEquals(Kind.USAGE, refused.kind());
      Matcher named = NAMED.matcher(refused.advice());
      assertTrue(named.find(), refused.advice());
      double unit = named.group(2).equals("GB") ? 1e9 : 1e6;
      long smallest = Math.round(Double.parseDouble(named.group(1)) * unit);
      MemoryPlan works = MemoryPlan.above(base, opened, plan, work, OptionalLong.of(smallest));
      assertTrue(works.peakBytes() <= smallest);
      assertTrue(smallest <= base + 60_000_000, refused.advice());
    }
  }

  @Test
  void sacrificesAreMadeInOrderAndOnlyWhenNeeded() throws IOException {
    Path model = folder.resolve("1b");
    ShapedCheckpoint.LLAMA_1B.cut(2).write(model, true);
    try (Context context = Context.cpu(1);
        Model opened = Model.outline(model, context)) {
      ShortForm form = ShortForm.of("W4A16", "gptq", null, Modifiers.REGISTRY);
      Plan plan =
          Plan.of(opened, form.recipe(), List.of(OutputFormat.COMPRESSED_TENSORS), form.yaml());
      Workload work = Workload.atMost(64, 512);
      MemoryPlan free = MemoryPlan.above(0, opened, plan, work, OptionalLong.empty());
      assertFalse(free.spilled() || free.panelRows() > 0 || free.released());
      // 32768 tokens in bf16: the residual of 2048 and the input of down_proj of 8192 channels.
      long states = 32768L * 2 * (2048 + 8192);
      long least = free.peakBytes() - states / 2;
      MemoryPlan spilled = MemoryPlan.above(0, opened, plan, work, OptionalLong.of(least));
      assertTrue(spilled.spilled() && spilled.released() && spilled.panelRows() == 0);
      assertEquals(states, spilled.spilledBytes());
      assertEquals(1, spilled.events().size());
      MemoryPlan panels =
          MemoryPlan.above(
              0, opened, plan, work, OptionalLong.of(spilled.peakBytes() - 100_000_000));
      assertTrue(panels.spilled() && panels.panelRows() > 0 && panels.panelRows() % 64 == 0);
      assertEquals(2, panels.events().size());
      // Σxxᵀ and its factor, both triangles of 8192² in fp64, are there together ...
      long triangle = 8192L * 8192 * 8 / 2;
      assertTrue(panels.peakBytes() > 2 * triangle);
      MemoryPlan aside =
          MemoryPlan.above(0, opened, plan, work, OptionalLong.of(2 * triangle + 80_000_000));
      // ... unless one of them waits in a file: only for inputs of that width.
      assertEquals(List.of(true, false), List.of(aside.laysAside(8192), aside.laysAside(2048)));
      assertTrue(aside.peakBytes() > triangle && aside.peakBytes() <= 2 * triangle + 80_000_000);
      assertTrue(aside.spilledBytes() >= states + triangle);
      assertEquals(3, aside.events().size());
    }
  }

  @Test
  void aBudgetTooSmallStopsTheJobBeforeAnythingIsWritten() throws IOException {
    Path model = TinyModels.llama().fill().write(folder.resolve("model"));
    Path out = folder.resolve("out");
    CompressionJob job =
        Espalier.compress(model).scheme("W8A16").method("rtn").groupSize(0).output(out);
    EspalierException refused =
        assertThrows(EspalierException.class, () -> job.memoryBudget(5_000_000).run());
    assertTrue(refused.getMessage().contains("5.0 MB is too small"), refused.getMessage());
    try (Stream<Path> left = Files.list(folder)) {
      assertEquals(List.of(model), left.toList());
    }
  }

  @Test
  void theReportTellsWhatTheKernelCounted() {
    Path model = TinyModels.llama().fill().write(folder.resolve("model"));
    Report report =
        Espalier.compress(model)
            .scheme("W8A16")
            .method("rtn")
            .groupSize(0)
            .output(folder.resolve("out"))
            .memoryBudget(64_000_000_000L)
            .run();
    long peak = (Long) report.facts().get("peak_resident_bytes");
    assertTrue(peak > 10_000_000 && peak <= Resident.peakBytes(), "peak " + peak);
    assertEquals(64_000_000_000L, report.facts().get("memory_budget_bytes"));
    assertTrue((Long) report.facts().get("predicted_peak_bytes") > 0);
  }
}
