// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import espalier.report.EspalierException;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.function.ToLongFunction;

/**
 * What the families of {@link GatedBlock} share. A family states its differences: biases, norms on
 * heads, windows, and the defaults of its config class in transformers 5.24.
 */
interface GatedFamily extends ModelFamily {
  /** Returns {@code max_position_embeddings} when absent. */
  int defaultContext();

  /** Returns which linears have a bias. */
  ModelConfig.Biases biases(ConfigFields fields);

  /** Returns whether query and key heads are normalised. */
  boolean headNorms();

  /** Returns {@code head_dim} when absent; hidden / heads unless a family has its own. */
  default int defaultHeadWidth(ConfigFields fields, int hidden, int heads) {
    if (hidden % heads != 0) {
      throw EspalierException.input(
          fields.where("head_dim")
              + " is absent and num_attention_heads "
              + heads
              + " does not divide hidden_size "
              + hidden,
          "State head_dim in the file.");
    }
    return hidden / heads;
  }

  /** Returns the keys a query sees in every layer, 0 for all. */
  default List<Integer> windows(ConfigFields fields, int layers) {
    if (fields.texts("layer_types").stream().anyMatch(type -> !type.equals("full_attention"))) {
      throw fields.refused("layer_types");
    }
    return Collections.nCopies(layers, 0);
  }

  @Override
  default String prefix() {
    return "model.";
  }

  @Override
  default String embedding() {
    return "model.embed_tokens";
  }

  @Override
  default Optional<String> positions() {
    return Optional.empty();
  }

  @Override
  default ModelConfig configure(ConfigFields fields, ToLongFunction<String> rows) {
    refuseOtherArithmetic(fields);
    int hidden = fields.count("hidden_size");
    int layers = fields.count("num_hidden_layers");
    if (layers > 1 << 16) {
      throw fields.wrong("num_hidden_layers", "at most " + (1 << 16));
    }
    int heads = fields.count("num_attention_heads");
    int width =
        fields.has("head_dim") ? fields.count("head_dim") : defaultHeadWidth(fields, hidden, heads);
    int context = fields.count("max_position_embeddings", defaultContext());
    return new ModelConfig(
        modelType(),
        hidden,
        fields.count("intermediate_size"),
        layers,
        heads,
        keyHeads(fields, heads, width, rows),
        width,
        fields.count("vocab_size"),
        context,
        (float) fields.positive("rms_norm_eps", 1e-6),
        ModelConfig.activation(fields, "hidden_act", "silu"),
        fields.flag("tie_word_embeddings", false),
        biases(fields),
        headNorms(),
        Optional.of(Rope.read(fields, width, context)),
        windows(fields, layers));
  }

  private static int keyHeads(
      ConfigFields fields, int heads, int width, ToLongFunction<String> rows) {
    int keyHeads;
    if (fields.has("num_key_value_heads")) {
      keyHeads = fields.count("num_key_value_heads");
    } else {
      // Class defaults differ (all heads, 8, 32); the rows of the first key projection do not lie.
      String key = GatedNames.of(0).key();
      long stored = rows.applyAsLong(key);
      if (stored < width || stored % width != 0) {
        throw EspalierException.input(
            fields.where("num_key_value_heads")
                + " is absent and "
                + key
                + " has "
                + stored
                + " rows, no multiple of head_dim "
                + width,
            "State num_key_value_heads in the file.");
      }
      keyHeads = Math.toIntExact(stored / width);
    }
    if (heads % keyHeads != 0) {
      throw EspalierException.input(
          fields.where("num_key_value_heads")
              + " is "
              + keyHeads
              + ", expected a divisor of num_attention_heads "
              + heads,
          "Correct the file.");
    }
    return keyHeads;
  }

  /** Fields of related families that would change the result if they were skipped. */
  private static void refuseOtherArithmetic(ConfigFields fields) {
    for (String factor :
        List.of(
            "partial_rotary_factor",
            "logits_scaling",
            "logit_scale",
            "embedding_multiplier",
            "residual_multiplier",
            "lm_head_multiplier",
            "scale_emb")) {
      fields.neutral(factor, 1);
    }
    for (String count :
        List.of(
            "num_experts",
            "num_local_experts",
            "n_routed_experts",
            "num_experts_per_tok",
            "moe_intermediate_size",
            "final_logit_softcapping",
            "attn_logit_softcapping",
            "attention_chunk_size")) {
      fields.neutral(count, 0);
    }
    for (String field :
        List.of(
            "query_pre_attn_scalar",
            "attention_multiplier",
            "no_rope_layers",
            "clip_qkv",
            "use_qk_norm",
            "qk_layernorm",
            "rope_interleave",
            "use_bidirectional_attention",
            "add_cross_attention")) {
      fields.unset(field);
    }
  }

  @Override
  default List<LinearSpec> linears(ModelConfig config, int layer) {
    return GatedNames.of(layer).linears(config);
  }

  @Override
  default List<VectorSpec> vectors(ModelConfig config, int layer) {
    return GatedNames.of(layer).vectors(config);
  }

  @Override
  default List<VectorSpec> finalVectors(ModelConfig config) {
    return List.of(new VectorSpec("model.norm.weight", config.hiddenSize(), "hidden_size"));
  }

  @Override
  default List<Coupling> couplings(ModelConfig config, int layer) {
    return GatedNames.of(layer).couplings(config);
  }

  @Override
  default Block block(ModelConfig config, int layer, Weights weights) {
    return new GatedBlock(config, layer, GatedNames.of(layer), weights);
  }

  @Override
  default Normalization finalNorm(ModelConfig config, Weights weights) {
    return weights.norm("model.norm", false);
  }
}
