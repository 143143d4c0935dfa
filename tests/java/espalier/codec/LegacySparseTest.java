// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.checkpoint.Rewritten;
import espalier.checkpoint.Rewritten.Stored;
import espalier.kernel.Eager;
import espalier.kernel.Sparse.Pattern;
import espalier.layer.Dense;
import espalier.layer.Linear;
import espalier.layer.Sparse;
import espalier.layer.SparseQuantized;
import espalier.model.Model;
import espalier.model.Past;
import espalier.model.PrunedModels;
import espalier.model.TinyModels;
import espalier.report.EspalierException;
import espalier.report.EspalierException.Kind;
import espalier.tensor.Context;
import espalier.tensor.DType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Whole models in the sparse formats of compressed-tensors up to 0.14, spelled here from the table
 * of their tensors: values, mask with the first column lowest, exclusive counts, shape.
 */
class LegacySparseTest {
  private static final String QUERY = "model.layers.1.self_attn.q_proj";
  private static final float SCALE = 1 / 256f;

  @TempDir Path folder;

  private static TinyModels model() {
    return PrunedModels.structured(TinyModels.llama().fill(), 2, 4);
  }

  /** Spells every linear of a folder of a dense model in F32. */
  private Path spelled(String format, boolean codes) {
    Path dense = model().write(folder.resolve("dense"));
    Rewritten files = new Rewritten(dense);
    for (String name : List.copyOf(files.tensors().keySet())) {
      if (name.contains(".layers.") && files.tensors().get(name).shape().length == 2) {
        String module = name.substring(0, name.length() - ".weight".length());
        spell(files.tensors(), module, format, codes);
      }
    }
    ObjectNode quantization = files.config().putObject("quantization_config");
    quantization.put("quant_method", "compressed-tensors").put("format", "dense");
    ObjectNode groups = quantization.putObject("config_groups");
    if (codes) {
      quantization.put("format", "int-quantized");
      ObjectNode group = groups.putObject("group_0");
      group.putArray("targets").add("Linear");
      group.putObject("weights").put("num_bits", 8).put("strategy", "channel").put("type", "int");
    }
    quantization
        .putObject("sparsity_config")
        .put("format", format)
        .putArray("targets")
        .add("Linear");
    return files.write(folder.resolve(format + codes));
  }

  private static void spell(
      Map<String, Stored> tensors, String module, String format, boolean codes) {
    Stored weight = tensors.remove(module + ".weight");
    int rows = (int) weight.shape()[0];
    int columns = (int) weight.shape()[1];
    boolean pairs = format.equals("sparse-24-bitmask");
    byte[] mask = new byte[rows * ((columns + 7) / 8)];
    ByteBuffer values = little(rows * columns * 4);
    ByteBuffer offsets = little(rows * 8);
    int kept = 0;
    for (int row = 0; row < rows; row++) {
      offsets.putLong(kept);
      for (int column = 0; column < columns; column++) {
        float value = weight.buffer().getFloat(4 * (row * columns + column));
        if (pairs ? isAmongTwo(weight.buffer(), row * columns + column) : value != 0) {
          mask[row * ((columns + 7) / 8) + column / 8] |= (byte) (1 << column % 8);
          if (codes) {
            values.put((byte) Math.round(value / SCALE));
          } else {
            values.putFloat(value);
          }
          kept++;
        }
      }
    }
    byte[] bytes = java.util.Arrays.copyOf(values.array(), values.position());
    DType type = codes ? DType.I8 : DType.F32;
    long[] shape = pairs ? new long[] {rows, columns / 2} : new long[] {kept};
    tensors.put(module + ".compressed", new Stored(type, shape, bytes));
    tensors.put(
        module + ".bitmask", new Stored(DType.U8, new long[] {rows, (columns + 7) / 8}, mask));
    if (!pairs) {
      tensors.put(
          module + ".row_offsets", new Stored(DType.I64, new long[] {rows}, offsets.array()));
    }
    tensors.put(
        module + ".shape",
        new Stored(
            DType.I64,
            pairs ? new long[] {2, 1} : new long[] {2},
            little(16).putLong(rows).putLong(columns).array()));
    if (codes) {
      ByteBuffer scales = little(4 * rows);
      for (int row = 0; row < rows; row++) {
        scales.putFloat(SCALE);
      }
      tensors.put(
          module + ".weight_scale", new Stored(DType.F32, new long[] {rows, 1}, scales.array()));
    }
  }

  /** The two largest of four, the later one at ties: any two that hold what is not 0 will do. */
  private static boolean isAmongTwo(ByteBuffer weight, int at) {
    float own = Math.abs(weight.getFloat(4 * at));
    int before = 0;
    for (int i = at / 4 * 4; i < at / 4 * 4 + 4; i++) {
      float other = Math.abs(weight.getFloat(4 * i));
      before += other > own || (other == own && i > at) ? 1 : 0;
    }
    return before < 2;
  }

  private static ByteBuffer little(int bytes) {
    return ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  private static float[] logits(Context context, Model model) {
    return model
        .forward(new Eager(context), context.ints(new int[] {3, 1, 4, 1, 5}, 5), Past.NONE)
        .toFloats();
  }

  @ParameterizedTest
  @ValueSource(strings = {"sparse-bitmask", "sparse-24-bitmask"})
  void wholeModelsComputeAsTheirDenseOnes(String format) {
    Path legacy = spelled(format, false);
    try (Context context = Context.cpu(2);
        Model dense = Model.open(folder.resolve("dense"), context);
        Model sparse = Model.open(legacy, context)) {
      assertEquals(List.of(), sparse.unknownTensors());
      Map<String, Linear> linears = new TreeMap<>(sparse.linears());
      assertInstanceOf(Dense.class, linears.remove("lm_head"));
      linears.forEach(
          (name, linear) -> {
            Sparse found = assertInstanceOf(Sparse.class, linear, name);
            assertEquals(
                format.equals("sparse-bitmask") ? Pattern.BITMASK : Pattern.TWO_OF_FOUR,
                found.matrix().pattern());
            assertArrayEquals(
                dense.linears().get(name).weight(context).toFloats(),
                linear.weight(context).toFloats());
          });
      assertArrayEquals(logits(context, dense), logits(context, sparse), 1e-5f);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"sparse-bitmask", "sparse-24-bitmask"})
  void codesUnderneathAreReadWithTheirScales(String format) {
    Path legacy = spelled(format, true);
    try (Context context = Context.cpu(1);
        Model sparse = Model.open(legacy, context);
        Model dense = Model.open(folder.resolve("dense"), context)) {
      SparseQuantized query = assertInstanceOf(SparseQuantized.class, sparse.linears().get(QUERY));
      assertEquals(8, query.scheme().bits());
      float[] expected = dense.linears().get(QUERY).weight(context).toFloats();
      for (int i = 0; i < expected.length; i++) {
        expected[i] = Math.round(expected[i] / SCALE) * SCALE;
      }
      assertArrayEquals(expected, query.weight(context).toFloats());
    }
  }

  /** A pruned dense checkpoint of those days says so, and is dense all the same. */
  @Test
  void aDenseModelThatSaysItIsPrunedIsDense() {
    Rewritten files = new Rewritten(model().write(folder.resolve("dense")));
    ObjectNode quantization = files.config().putObject("quantization_config");
    quantization.put("quant_method", "compressed-tensors").put("format", "dense");
    quantization.putObject("config_groups");
    quantization
        .putObject("sparsity_config")
        .put("format", "dense")
        .put("sparsity_structure", "2:4");
    try (Context context = Context.cpu(1);
        Model opened = Model.open(files.write(folder.resolve("says")), context)) {
      assertFalse(opened.codecs().quantized());
    }
  }

  @Test
  void damageIsNamed() {
    Path mask = spelled("sparse-bitmask", false);
    refused(mask, "row_offsets[2]", f -> f.get(QUERY + ".row_offsets").buffer().putLong(16, 3));
    refused(
        mask,
        "compressed",
        f -> {
          byte[] bits = f.get(QUERY + ".bitmask").bytes();
          bits[bits.length - 1] ^= 1;
        });
    refused(mask, "shape", f -> f.get(QUERY + ".shape").buffer().putLong(0, -24));
    refused(mask, "bitmask", f -> f.get(QUERY + ".shape").buffer().putLong(8, 1L << 40));
    refused(mask, "shape", f -> f.get(QUERY + ".shape").buffer().putLong(8, Long.MAX_VALUE));
    refused(mask, "shape", f -> f.remove(QUERY + ".shape"));
    Path pairs = spelled("sparse-24-bitmask", false);
    refused(pairs, "bitmask[0, 0]", f -> f.get(QUERY + ".bitmask").bytes()[0] = 0x37);
    refused(pairs, "bitmask[0, 1]", f -> f.get(QUERY + ".bitmask").bytes()[1] = 0x13);
    refused(pairs, "compressed", f -> f.get(QUERY + ".shape").buffer().putLong(8, 20));
    refused(pairs, "shape", f -> f.get(QUERY + ".shape").buffer().putLong(8, 18));
    Path codes = spelled("sparse-bitmask", true);
    refused(codes, "weight_scale", f -> f.remove(QUERY + ".weight_scale"));
    refused(
        codes,
        "weight_scale",
        f -> f.get(QUERY + ".weight_scale").buffer().putFloat(0, Float.POSITIVE_INFINITY));
  }

  private void refused(Path sound, String word, Consumer<Map<String, Stored>> change) {
    Rewritten files = new Rewritten(sound);
    change.accept(files.tensors());
    Path broken = files.write(folder.resolve("broken" + System.nanoTime()));
    try (Context context = Context.cpu(1)) {
      EspalierException fault =
          assertThrows(EspalierException.class, () -> Model.open(broken, context), word);
      assertEquals(Kind.INPUT, fault.kind());
      assertTrue(fault.getMessage().contains(word), fault.getMessage());
      assertTrue(fault.getMessage().contains(QUERY), fault.getMessage());
    }
  }

  @Test
  void formatsNobodyReadsAreRefusedByName() {
    Rewritten files = new Rewritten(spelled("sparse-bitmask", false));
    ((ObjectNode) files.config().at("/quantization_config/sparsity_config"))
        .put("format", "marlin-24");
    Path marlin = files.write(folder.resolve("marlin"));
    try (Context context = Context.cpu(1)) {
      EspalierException fault =
          assertThrows(EspalierException.class, () -> Model.open(marlin, context));
      assertEquals(Kind.UNSUPPORTED, fault.kind());
      assertTrue(fault.getMessage().contains("marlin-24"), fault.getMessage());
    }
  }
}
