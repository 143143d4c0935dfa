// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.kernel.Convert;
import espalier.kernel.Eager;
import espalier.kernel.Ops;
import espalier.kernel.Tapped;
import espalier.layer.Dense;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Whole models against {@link ReferenceForward}; logits are of size 1, so 1e-5 is a wide margin.
 */
class ForwardTest {
  private static final int[] IDS = {3, 17, 0, 23, 5, 5, 11, 9, 20, 1, 7};
  private static final List<Integer> ALL = List.of(0, 0);
  private static final double TOLERANCE = 1e-5;

  @TempDir Path temp;

  private void check(TinyModels tiny, List<Integer> windows) {
    check(tiny, tiny, windows);
  }

  private void check(TinyModels tiny, TinyModels reference, List<Integer> windows) {
    compare(tiny, new ReferenceForward(reference).logits(IDS, windows));
  }

  private void compare(TinyModels tiny, double[][] expected) {
    try (Context context = Context.cpu(1);
        Model model = Model.open(tiny.write(temp.resolve("model")), context)) {
      Ops ops = new Eager(context);
      float[] logits = model.forward(ops, context.ints(IDS, IDS.length), Past.NONE).toFloats();
      int vocabulary = Math.toIntExact(model.vocabulary());
      assertEquals(IDS.length * vocabulary, logits.length);
      for (int i = 0; i < logits.length; i++) {
        assertEquals(expected[i / vocabulary][i % vocabulary], logits[i], TOLERANCE, "logit " + i);
      }
    }
  }

  @Test
  void llamaIsItsFormula() {
    check(TinyModels.llama().fill(), ALL);
  }

  @Test
  void everyStoredTypeGivesTheSameLogits() {
    for (DType type : List.of(DType.F16, DType.BF16, DType.F64)) {
      check(TinyModels.llama().fill().stored(type), ALL);
      check(TinyModels.gpt2().fill().stored(type), ALL);
    }
  }

  @Test
  void absentKeyHeadsAreCountedInTheKeyProjection() {
    TinyModels tiny = TinyModels.qwen2().fill().without("num_key_value_heads");
    check(tiny, ALL);
  }

  @Test
  void biasesWhereTheConfigPutsThem() {
    check(TinyModels.llama().with("attention_bias", true).with("mlp_bias", true).fill(), ALL);
    check(TinyModels.qwen2().fill(), ALL);
    check(TinyModels.qwen3().with("attention_bias", true).fill(), ALL);
  }

  @Test
  void tiedHeadIsTheEmbedding() {
    check(TinyModels.llama().with("tie_word_embeddings", true).fill(), ALL);
    check(TinyModels.gpt2().with("tie_word_embeddings", false).fill(), ALL);
  }

  @Test
  void headsOfQwen3AreNormalised() {
    check(TinyModels.qwen3().fill(), ALL);
  }

  @Test
  void windowsCountTheTokenItself() {
    check(TinyModels.mistral().fill(), List.of(3, 3));
    check(TinyModels.mistral().with("sliding_window", null).fill(), ALL);
    TinyModels qwen =
        TinyModels.qwen2().with("sliding_window", 3).with("max_window_layers", 1).fill();
    check(qwen, ALL);
    check(qwen.with("use_sliding_window", true), List.of(0, 3));
    check(qwen.with("layer_types", List.of("sliding_attention", "full_attention")), List.of(3, 0));
  }

  @Test
  void activationsByTheirNames() {
    for (String name :
        List.of("silu", "swish", "gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "relu")) {
      check(TinyModels.llama().with("hidden_act", name).fill(), ALL);
      check(TinyModels.gpt2().with("activation_function", name).fill(), ALL);
    }
  }

  @Test
  void gpt2IsItsFormula() {
    check(TinyModels.gpt2().fill(), ALL);
    check(TinyModels.gpt2().with("n_inner", 20).fill(), ALL);
  }

  @Test
  void namesWithoutPrefixAreTheSameModel() {
    check(TinyModels.gpt2().fill().bare("transformer."), TinyModels.gpt2().fill(), ALL);
    check(TinyModels.llama().fill().bare("model."), TinyModels.llama().fill(), ALL);
  }

  @Test
  void linearRopeInBothStyles() {
    TinyModels plain = TinyModels.llama().fill();
    double[] halved = new double[3];
    for (int i = 0; i < 3; i++) {
      halved[i] = Math.pow(100, -2.0 * i / 6) / 2;
    }
    double[][] expected = new ReferenceForward(plain, halved, 1).logits(IDS, ALL);
    compare(
        TinyModels.llama().with("rope_scaling", Map.of("type", "linear", "factor", 2)).fill(),
        expected);
    compare(
        TinyModels.llama()
            .without("rope_theta")
            .with("rope_parameters", Map.of("rope_type", "linear", "factor", 2, "rope_theta", 100))
            .fill(),
        expected);
  }

  /** A past that keeps copies, as simple as can be. */
  private static final class Kept implements Past {
    private final Context context;
    private final Map<Integer, KeysValues> layers = new HashMap<>();
    private long position;

    Kept(Context context) {
      this.context = context;
    }

    @Override
    public long position() {
      return position;
    }

    @Override
    public KeysValues append(int layer, Tensor keys, Tensor values) {
      KeysValues before = layers.get(layer);
      KeysValues all =
          new KeysValues(
              joined(before == null ? null : before.keys(), keys),
              joined(before == null ? null : before.values(), values));
      layers.put(layer, all);
      return all;
    }

    private Tensor joined(Tensor before, Tensor more) {
      long rows = (before == null ? 0 : before.dimension(0)) + more.dimension(0);
      Context.Scope scope = context.scope();
      Tensor result = scope.release(context.allocate(DType.F32, rows, more.dimension(1)));
      scope.close();
      ByteBuffer to = result.buffer();
      if (before != null) {
        to.put(before.buffer());
      }
      to.put(more.buffer());
      return result;
    }
  }

  @Test
  void aPastContinuesTheSequence() {
    for (TinyModels tiny : List.of(TinyModels.mistral(), TinyModels.gpt2())) {
      try (Context context = Context.cpu(1);
          Model model = Model.open(tiny.fill().write(temp.resolve("model")), context)) {
        Ops ops = new Eager(context);
        float[] whole = model.forward(ops, context.ints(IDS, IDS.length), Past.NONE).toFloats();
        Kept past = new Kept(context);
        List<Float> pieces = new ArrayList<>();
        for (int[] cut : new int[][] {{0, 5}, {5, 6}, {6, IDS.length}}) {
          int[] ids = java.util.Arrays.copyOfRange(IDS, cut[0], cut[1]);
          for (float f : model.forward(ops, context.ints(ids, ids.length), past).toFloats()) {
            pieces.add(f);
          }
          past.position = cut[1];
        }
        for (int i = 0; i < whole.length; i++) {
          assertEquals(whole[i], pieces.get(i), TOLERANCE);
        }
      }
    }
  }

  @Test
  void forwardLeavesOnlyItsResultInTheScope() {
    TinyModels tiny = TinyModels.gpt2().fill();
    try (Context context = Context.cpu(1);
        Model model = Model.open(tiny.write(temp.resolve("model")), context)) {
      Tensor ids = context.ints(IDS, IDS.length);
      try (Context.Scope scope = context.scope()) {
        Tensor logits = model.forward(new Eager(context), ids, Past.NONE);
        var left = scope.releaseAll();
        assertEquals(List.of(logits.storage()), left);
        left.forEach(storage -> storage.close());
      }
    }
  }

  @Test
  void retainingOpsKeepEveryResult() {
    TinyModels tiny = TinyModels.llama().fill();
    try (Context context = Context.cpu(1);
        Model model = Model.open(tiny.write(temp.resolve("model")), context)) {
      Eager eager = new Eager(context);
      Ops retaining =
          (Ops)
              Proxy.newProxyInstance(
                  Ops.class.getClassLoader(),
                  new Class<?>[] {Ops.class},
                  (proxy, method, arguments) ->
                      method.getName().equals("retains")
                          ? (Object) true
                          : method.invoke(eager, arguments));
      Tensor ids = context.ints(IDS, IDS.length);
      float[] expected = model.forward(eager, ids, Past.NONE).toFloats();
      try (Context.Scope scope = context.scope()) {
        assertArrayEquals(expected, model.forward(retaining, ids, Past.NONE).toFloats());
        var left = scope.releaseAll();
        assertTrue(left.size() > 2 * 7, left.size() + " results"); // a result for every linear
        left.forEach(storage -> storage.close());
      }
    }
  }

  @Test
  void positionsPastTheContextRotateOn() {
    TinyModels tiny = TinyModels.llama().with("max_position_embeddings", 4).fill();
    check(tiny, ALL);
  }

  @Test
  void tappedSeesEveryLinearOnceInOrder() {
    for (TinyModels tiny : List.of(TinyModels.qwen3(), TinyModels.gpt2())) {
      try (Context context = Context.cpu(1);
          Model model = Model.open(tiny.fill().write(temp.resolve("model")), context)) {
        List<String> seen = new ArrayList<>();
        Ops ops =
            new Tapped(
                new Eager(context),
                (name, x) -> {
                  seen.add(name);
                  var linear = model.linears().get(name);
                  assertTrue(linear == null || linear.inFeatures() == x.dimension(1), name);
                });
        model.forward(ops, context.ints(IDS, IDS.length), Past.NONE);
        List<String> expected = new ArrayList<>();
        model.blocks().forEach(block -> expected.addAll(block.linears().keySet()));
        expected.add("lm_head");
        assertEquals(expected, seen);
      }
    }
  }

  @Test
  void aSwappedLinearIsTheOneThatRuns() {
    TinyModels tiny = TinyModels.llama().fill();
    try (Context context = Context.cpu(1);
        Model model = Model.open(tiny.write(temp.resolve("model")), context)) {
      Ops ops = new Eager(context);
      Tensor ids = context.ints(IDS, IDS.length);
      float[] before = model.forward(ops, ids, Past.NONE).toFloats();
      String name = "model.layers.1.mlp.down_proj";
      Dense zero = new Dense(context.allocate(DType.F32, 16, 20), null);
      Dense present = (Dense) model.blocks().get(1).linears().get(name);
      model.blocks().get(1).swap(name, zero);
      assertTrue(!java.util.Arrays.equals(before, model.forward(ops, ids, Past.NONE).toFloats()));
      model.blocks().get(1).swap(name, new Dense(Convert.toFloat(context, present.matrix()), null));
      assertArrayEquals(before, model.forward(ops, ids, Past.NONE).toFloats());
    }
  }
}
