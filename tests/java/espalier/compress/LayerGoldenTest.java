// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.Shared;
import espalier.checkpoint.Safetensors;
import espalier.internal.Json;
import espalier.kernel.Quantize;
import espalier.layer.Quantized;
import espalier.layer.Scheme;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.io.IOException;
import java.nio.DoubleBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/**
 * RTN and GPTQ on real layers against float64 reference results. Inside a row one rounding that
 * falls the other way changes everything after it, so a row is judged by its first difference: the
 * reference's own distance from the rounding boundary must be tiny there (README-layers-quality.md,
 * "How to compare").
 */
class LayerGoldenTest {
  /** Steps: a first difference farther from its rounding boundary than this is a fault. */
  private static final double MARGIN = 1e-3;

  /** Margin codes from here on (8e-6 steps) are ties and do not count. */
  private static final int TIE = 128;

  @TestFactory
  Stream<DynamicTest> everyVariantOfEveryLayerAgrees() throws IOException {
    Path folder = Shared.root().resolve("golden/layers");
    List<DynamicTest> tests = new ArrayList<>();
    if (!Files.isDirectory(folder)) {
      return Stream.of(dynamicTest("layers", () -> Shared.path("golden/layers")));
    }
    JsonNode index = Json.STRICT.readTree(folder.resolve("index.json").toFile());
    for (JsonNode layer : index.path("layers")) {
      for (JsonNode tensor : layer.path("tensors")) {
        String name = tensor.asText();
        if (name.endsWith(".codes") && (name.startsWith("gptq.") || name.startsWith("rtn."))) {
          String key = name.substring(0, name.length() - ".codes".length());
          tests.add(
              dynamicTest(
                  layer.path("layer").asText() + " " + key, () -> agrees(folder, layer, key)));
        }
      }
    }
    return tests.stream();
  }

  private static void agrees(Path folder, JsonNode layer, String key) {
    String[] parts = key.split("\\.");
    int bits = Integer.parseInt(parts[1].substring(1));
    boolean symmetric = parts[2].equals("sym");
    int group = Integer.parseInt(parts[3].substring(1));
    boolean actOrder = parts.length > 4;
    try (Context context = Context.cpu(2);
        Safetensors golden = Safetensors.open(folder.resolve(layer.path("file").asText()))) {
      Tensor weight = golden.find("weight").orElseThrow();
      LinearInput input =
          new LinearInput(
              key,
              weight,
              null,
              new Scheme(bits, symmetric, group),
              Quantize.Range.MIN_MAX,
              DType.F32,
              statistics(context, golden.find("hessian").orElseThrow()));
      boolean gptq = parts[0].equals("gptq");
      LinearMethod method = gptq ? new Gptq(Gptq.DEFAULT_DAMPING, actOrder) : new Rtn();
      LinearResult result = method.apply(input, context);
      int[] order =
          actOrder
              ? golden.find("act_order").orElseThrow().toInts()
              : identity(weight.dimension(1));
      Rows rows = new Rows(context, golden, key, result.quantized(), gptq, weight, group);
      int different = 0;
      for (int row = 0; row < weight.dimension(0); row++) {
        different += rows.differs(row, order) ? 1 : 0;
      }
      long allowed = Math.max(2, weight.dimension(0) * 4 / 100);
      assertTrue(different <= allowed, different + " rows differ, allowed " + allowed);
      double expected = layer.path("relative_errors").path(key).asDouble(Double.NaN);
      if (!Double.isNaN(expected)) {
        assertEquals(expected, result.relativeError(), 0.01 * expected, "relative layer error");
      }
    }
  }

  private static int[] identity(long columns) {
    return java.util.stream.IntStream.range(0, (int) columns).toArray();
  }

  /** H as stored is (2/n) Σxxᵀ; two "tokens" make the factor 1. */
  static Statistics statistics(Context context, Tensor hessian) {
    Tensor gram = context.allocate(DType.F64, hessian.shape().toArray());
    DoubleBuffer to = gram.buffer().asDoubleBuffer();
    for (float value : hessian.toFloats()) {
      to.put(value);
    }
    return new Statistics(context, gram, 2);
  }

  /** A result and its golden, row by row. */
  private static final class Rows {
    private final boolean gptq;
    private final byte[] codes;
    private final byte[] expected;
    private final byte[] margin;
    private final float[] scales;
    private final float[] expectedScales;
    private final byte[] zeros;
    private final byte[] expectedZeros;
    private final byte[] zeroMargin;
    private final float[] weight;
    private final int columns;
    private final int group;

    Rows(
        Context context,
        Safetensors golden,
        String key,
        Quantized result,
        boolean gptq,
        Tensor weight,
        int group) {
      this.gptq = gptq;
      this.columns = (int) weight.dimension(1);
      this.group = group == 0 ? columns : group;
      this.codes =
          Quantize.unpack(context, result.codes(), result.scheme().bits(), columns).toBytes();
      this.expected = golden.find(key + ".codes").orElseThrow().toBytes();
      this.margin = golden.find(key + ".margin").map(Tensor::toBytes).orElse(null);
      this.scales = result.scales().toFloats();
      this.expectedScales = golden.find(key + ".scales").orElseThrow().toFloats();
      this.zeros = result.zeros() == null ? null : result.zeros().toBytes();
      this.expectedZeros = golden.find(key + ".zeros").map(Tensor::toBytes).orElse(null);
      this.zeroMargin = golden.find(key + ".zero_margin").map(Tensor::toBytes).orElse(null);
      this.weight = weight.toFloats();
    }

    /** Returns whether the row has a difference that counts; fails on one that is a fault. */
    boolean differs(int row, int[] order) {
      int groups = columns / group;
      boolean found = false;
      java.util.Set<Integer> checked = new java.util.HashSet<>();
      java.util.Set<Integer> excused = new java.util.HashSet<>();
      for (int column : order) {
        int at = row * groups + column / group;
        if (checked.add(at)) {
          double relative = Math.abs(scales[at] - expectedScales[at]) / expectedScales[at];
          assertTrue(relative <= 1e-5, "scale " + at + " of row " + row + ": " + scales[at]);
          if (zeros != null && zeros[at] != expectedZeros[at]) {
            assertTrue(
                zeroMargin != null && steps(zeroMargin[at]) < 1e-4,
                "zero of row " + row + " column " + column);
            if (gptq) {
              return false; // everything after it follows from the zero
            }
            excused.add(at);
          }
        }
        int code = row * columns + column;
        if (codes[code] != expected[code] && !excused.contains(at)) {
          double distance = margin == null ? distance(code, at) : steps(margin[code]);
          assertTrue(
              distance < MARGIN, "row " + row + " column " + column + " differs by " + distance);
          boolean tie = margin == null ? distance < 8e-6 : (margin[code] & 0xff) >= TIE;
          if (gptq) {
            return !tie;
          }
          found |= !tie;
        }
      }
      return found;
    }

    private static double steps(byte code) {
      int c = code & 0xff;
      return c == 255 ? 0 : Math.pow(2, -1 - c / 8.0);
    }

    /** The distance of a plain quotient from its rounding boundary. */
    private double distance(int code, int at) {
      double quotient = weight[code] / (double) expectedScales[at];
      return Math.abs(quotient - Math.floor(quotient) - 0.5);
    }
  }
}
