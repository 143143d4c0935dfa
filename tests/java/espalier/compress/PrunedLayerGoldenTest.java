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
import espalier.layer.Dense;
import espalier.layer.Quantized;
import espalier.layer.Scheme;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/**
 * Magnitude, Wanda and SparseGPT, alone and joint with rounding, on real layers against float64
 * reference results, by the rules of README-layers-quality.md ("How to compare"): a first
 * difference of a mask must be a score next to its cut, a first difference of a code next to its
 * boundary.
 */
class PrunedLayerGoldenTest {
  /** A first difference farther from its cut than this share, or from its boundary, is a fault. */
  private static final double CLOSE = 1e-3;

  private static final int TIE = 127;

  private static final List<String> METHODS = List.of("magnitude.", "wanda.", "sparsegpt.");

  @TestFactory
  Stream<DynamicTest> everyMaskAndWeightOfEveryLayerAgrees() throws IOException {
    Path folder = Shared.root().resolve("golden/layers");
    if (!Files.isDirectory(folder)) {
      return Stream.of(dynamicTest("layers", () -> Shared.path("golden/layers")));
    }
    List<DynamicTest> tests = new ArrayList<>();
    JsonNode index = Json.STRICT.readTree(folder.resolve("index.json").toFile());
    for (JsonNode layer : index.path("layers")) {
      String title = layer.path("layer").asText();
      for (JsonNode tensor : layer.path("tensors")) {
        String name = tensor.asText();
        if (name.endsWith(".mask") && METHODS.stream().anyMatch(name::startsWith)) {
          String key = name.substring(0, name.length() - ".mask".length());
          tests.add(dynamicTest(title + " " + key, () -> masksAgree(folder, layer, key)));
        } else if (name.startsWith("joint.") && name.endsWith(".codes")) {
          String key = name.substring(0, name.length() - ".codes".length());
          tests.add(dynamicTest(title + " " + key, () -> codesAgree(folder, layer, key)));
        }
      }
    }
    return tests.stream();
  }

  /** Returns the pattern of a tag such as 50 or 2of4. */
  static Pattern pattern(String tag) {
    String[] parts = tag.split("of");
    return parts.length == 2
        ? Pattern.of(Integer.parseInt(parts[0]), Integer.parseInt(parts[1]))
        : Pattern.of(Integer.parseInt(tag) / 100.0);
  }

  private static LinearMethod method(String name, Pattern pattern) {
    return switch (name) {
      case "magnitude" -> new Magnitude(pattern, false);
      case "wanda" -> new Wanda(pattern);
      default -> new SparseGpt(pattern);
    };
  }

  private static LinearInput input(Context context, Safetensors golden, String key, Scheme scheme) {
    Tensor hessian = golden.find("hessian").orElseThrow();
    return new LinearInput(
        key,
        golden.find("weight").orElseThrow(),
        null,
        scheme,
        scheme == null ? null : Quantize.Range.MIN_MAX,
        DType.F32,
        LayerGoldenTest.statistics(context, hessian));
  }

  private static void errorAgrees(JsonNode layer, String key, LinearResult result) {
    double expected = layer.path("relative_errors").path(key).asDouble(Double.NaN);
    if (!Double.isNaN(expected)) {
      assertEquals(expected, result.relativeError(), 0.01 * expected, "relative layer error");
    }
  }

  private static void masksAgree(Path folder, JsonNode layer, String key) {
    String[] parts = key.split("\\.");
    Pattern pattern = pattern(parts[1]);
    try (Context context = Context.cpu(2);
        Safetensors golden = Safetensors.open(folder.resolve(layer.path("file").asText()))) {
      LinearInput input = input(context, golden, key, null);
      LinearResult result = method(parts[0], pattern).apply(input, context);
      float[] found = ((Dense) result.linear()).matrix().toFloats();
      byte[] mask = golden.find(key + ".mask").orElseThrow().toBytes();
      int columns = (int) input.weight().dimension(1);
      int rows = mask.length / columns;
      boolean[] parted = new boolean[rows];
      // Weights compete in blocks of 128 columns of all rows, or, in patterns, within their row.
      boolean together = parts[0].equals("sparsegpt") && pattern.isUnstructured();
      int different = 0;
      boolean first = true;
      for (int begin = 0; begin < columns; begin += together ? 128 : columns) {
        int end = together ? Math.min(columns, begin + 128) : columns;
        for (int row = 0; row < rows; row++) {
          first = together ? first : true;
          for (int column = begin; column < end; column++) {
            int at = row * columns + column;
            if ((found[at] != 0) == (mask[at] > 0)) {
              continue;
            }
            different++;
            parted[row] = true;
            boolean tie = Math.abs(mask[at]) == TIE;
            double gap = tie ? 0 : Math.pow(2, -(Math.abs(mask[at]) - 1) / 4.0);
            assertTrue(!first || gap < CLOSE, "row " + row + " column " + column + ": gap " + gap);
            first = tie ? first : false;
          }
        }
      }
      // Equal scores may fall either way: they are stated to be ties.
      int allowed = Math.max(2, mask.length / 1000);
      assertTrue(different <= allowed || ties(mask, found) >= different, different + " differ");
      golden.find(key + ".weight").ifPresent(w -> weightsAgree(w.toFloats(), found, parted));
      errorAgrees(layer, key, result);
    }
  }

  private static int ties(byte[] mask, float[] found) {
    int ties = 0;
    for (int i = 0; i < mask.length; i++) {
      ties += (found[i] != 0) != (mask[i] > 0) && Math.abs(mask[i]) == TIE ? 1 : 0;
    }
    return ties;
  }

  private static void weightsAgree(float[] expected, float[] found, boolean[] parted) {
    float largest = 0;
    for (float weight : expected) {
      largest = Math.max(largest, Math.abs(weight));
    }
    int columns = expected.length / parted.length;
    for (int i = 0; i < expected.length; i++) {
      if (!parted[i / columns]) {
        assertEquals(expected[i], found[i], 1e-4f * largest, "weight " + i);
      }
    }
  }

  private static void codesAgree(Path folder, JsonNode layer, String key) {
    String[] parts = key.split("\\.");
    int bits = Integer.parseInt(parts[2].substring(1));
    try (Context context = Context.cpu(2);
        Safetensors golden = Safetensors.open(folder.resolve(layer.path("file").asText()))) {
      LinearInput input = input(context, golden, key, new Scheme(bits, true, 0));
      LinearResult result = new SparseGpt(pattern(parts[1])).apply(input, context);
      Quantized quantized = result.quantized();
      int columns = (int) input.weight().dimension(1);
      byte[] codes = Quantize.unpack(context, quantized.codes(), bits, columns).toBytes();
      byte[] expected = golden.find(key + ".codes").orElseThrow().toBytes();
      byte[] margin = golden.find(key + ".margin").orElseThrow().toBytes();
      byte[] mask = golden.find(key + ".mask").orElseThrow().toBytes();
      float[] scales = quantized.scales().toFloats();
      float[] expectedScales = golden.find(key + ".scales").orElseThrow().toFloats();
      int rows = codes.length / columns;
      int parted = 0;
      for (int row = 0; row < rows; row++) {
        assertEquals(1, scales[row] / expectedScales[row], 1e-5, "scale of row " + row);
        int at = row * columns;
        int end = at + columns;
        while (at < end && codes[at] == expected[at]) {
          at++;
        }
        if (at == end) {
          continue;
        }
        int m = margin[at] & 0xff;
        double steps = m == 255 ? 0 : Math.pow(2, -1 - m / 8.0);
        double gap = Math.pow(2, -(Math.abs(mask[at]) - 1) / 4.0);
        assertTrue(
            steps < CLOSE || gap < CLOSE,
            "row " + row + " column " + (at - row * columns) + ": " + steps + " steps, gap " + gap);
        parted += m >= 128 ? 0 : 1;
      }
      assertTrue(parted <= Math.max(2, rows * 4 / 100), parted + " rows differ");
      errorAgrees(layer, key, result);
    }
  }
}
