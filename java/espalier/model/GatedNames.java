// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import java.util.ArrayList;
import java.util.List;

/** Names, shapes and couplings of one layer of the Llama-like families. */
record GatedNames(String layer) {
  static GatedNames of(int layer) {
    return new GatedNames("model.layers." + layer + ".");
  }

  String query() {
    return layer + "self_attn.q_proj";
  }

  String key() {
    return layer + "self_attn.k_proj";
  }

  String value() {
    return layer + "self_attn.v_proj";
  }

  String output() {
    return layer + "self_attn.o_proj";
  }

  String gate() {
    return layer + "mlp.gate_proj";
  }

  String up() {
    return layer + "mlp.up_proj";
  }

  String down() {
    return layer + "mlp.down_proj";
  }

  String attentionNorm() {
    return layer + "input_layernorm";
  }

  String feedForwardNorm() {
    return layer + "post_attention_layernorm";
  }

  String queryNorm() {
    return layer + "self_attn.q_norm";
  }

  String keyNorm() {
    return layer + "self_attn.k_norm";
  }

  List<LinearSpec> linears(ModelConfig c) {
    String hidden = "hidden_size";
    String queries = "num_attention_heads · head_dim";
    String keys = "num_key_value_heads · head_dim";
    String inner = "intermediate_size";
    long h = c.hiddenSize();
    long q = c.queryWidth();
    long k = c.keyWidth();
    long i = c.intermediateSize();
    boolean first = c.biases().queryKeyValue();
    boolean last = c.biases().feedForward();
    return List.of(
        new LinearSpec(query(), h, hidden, q, queries, first, false),
        new LinearSpec(key(), h, hidden, k, keys, first, false),
        new LinearSpec(value(), h, hidden, k, keys, first, false),
        new LinearSpec(output(), q, queries, h, hidden, c.biases().output(), false),
        new LinearSpec(gate(), h, hidden, i, inner, last, false),
        new LinearSpec(up(), h, hidden, i, inner, last, false),
        new LinearSpec(down(), i, inner, h, hidden, last, false));
  }

  List<VectorSpec> vectors(ModelConfig c) {
    List<VectorSpec> vectors = new ArrayList<>();
    vectors.add(new VectorSpec(attentionNorm() + ".weight", c.hiddenSize(), "hidden_size"));
    if (c.headNorms()) {
      vectors.add(new VectorSpec(queryNorm() + ".weight", c.headWidth(), "head_dim"));
      vectors.add(new VectorSpec(keyNorm() + ".weight", c.headWidth(), "head_dim"));
    }
    vectors.add(new VectorSpec(feedForwardNorm() + ".weight", c.hiddenSize(), "hidden_size"));
    return vectors;
  }

  List<Coupling> couplings(ModelConfig c) {
    return List.of(
        Coupling.plain(
            Coupling.Kind.NORM, attentionNorm(), c.hiddenSize(), List.of(query(), key(), value())),
        new Coupling(
            Coupling.Kind.VALUE,
            value(),
            0,
            c.keyWidth(),
            List.of(output()),
            List.of(),
            c.heads(),
            c.keyHeads()),
        new Coupling(
            Coupling.Kind.HEADS,
            query(),
            0,
            c.queryWidth(),
            List.of(output()),
            List.of(key(), value()),
            c.heads(),
            c.keyHeads()),
        Coupling.plain(
            Coupling.Kind.NORM, feedForwardNorm(), c.hiddenSize(), List.of(gate(), up())),
        new Coupling(
            Coupling.Kind.GATED,
            up(),
            0,
            c.intermediateSize(),
            List.of(down()),
            List.of(gate()),
            1,
            1));
  }
}
