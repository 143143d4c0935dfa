// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import espalier.report.EspalierException;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.function.ToLongFunction;

/** GPT-2: learned positions, LayerNorm, linears stored [in, out], biases everywhere, tied head. */
record Gpt2Family() implements ModelFamily {
  /** Names of one layer. */
  record Names(String layer) {
    static Names of(int layer) {
      return new Names("transformer.h." + layer + ".");
    }

    String attentionNorm() {
      return layer + "ln_1";
    }

    String attention() {
      return layer + "attn.c_attn";
    }

    String output() {
      return layer + "attn.c_proj";
    }

    String feedForwardNorm() {
      return layer + "ln_2";
    }

    String expand() {
      return layer + "mlp.c_fc";
    }

    String contract() {
      return layer + "mlp.c_proj";
    }
  }

  @Override
  public String modelType() {
    return "gpt2";
  }

  @Override
  public List<String> architectures() {
    return List.of("GPT2LMHeadModel", "GPT2Model");
  }

  @Override
  public String prefix() {
    return "transformer.";
  }

  @Override
  public String embedding() {
    return "transformer.wte";
  }

  @Override
  public Optional<String> positions() {
    return Optional.of("transformer.wpe");
  }

  @Override
  public ModelConfig configure(ConfigFields fields, ToLongFunction<String> rows) {
    fields.unset("add_cross_attention");
    fields.unset("scale_attn_by_inverse_layer_idx");
    if (!fields.flag("scale_attn_weights", true)) {
      throw fields.refused("scale_attn_weights");
    }
    int hidden = fields.count(fields.spelling("n_embd", "hidden_size"));
    int layers = fields.count(fields.spelling("n_layer", "num_hidden_layers"));
    if (layers > 1 << 16) {
      throw fields.wrong(fields.spelling("n_layer", "num_hidden_layers"), "at most " + (1 << 16));
    }
    String headsField = fields.spelling("n_head", "num_attention_heads");
    int heads = fields.count(headsField);
    if (hidden % heads != 0) {
      throw EspalierException.input(
          fields.where(headsField) + " is " + heads + ", expected a divisor of n_embd " + hidden,
          "Correct the file.");
    }
    return new ModelConfig(
        modelType(),
        hidden,
        fields.count("n_inner", Math.multiplyExact(4, hidden)),
        layers,
        heads,
        heads,
        hidden / heads,
        fields.count("vocab_size"),
        fields.count(fields.spelling("n_positions", "max_position_embeddings", "n_ctx")),
        (float) fields.positive("layer_norm_epsilon", 1e-5),
        ModelConfig.activation(fields, "activation_function", "gelu_new"),
        fields.flag("tie_word_embeddings", true),
        new ModelConfig.Biases(true, true, true),
        false,
        Optional.empty(),
        Collections.nCopies(layers, 0));
  }

  @Override
  public List<LinearSpec> linears(ModelConfig config, int layer) {
    Names names = Names.of(layer);
    long h = config.hiddenSize();
    long i = config.intermediateSize();
    return List.of(
        new LinearSpec(names.attention(), h, "n_embd", 3 * h, "3 · n_embd", true, true),
        new LinearSpec(names.output(), h, "n_embd", h, "n_embd", true, true),
        new LinearSpec(names.expand(), h, "n_embd", i, "n_inner", true, true),
        new LinearSpec(names.contract(), i, "n_inner", h, "n_embd", true, true));
  }

  @Override
  public List<VectorSpec> vectors(ModelConfig config, int layer) {
    Names names = Names.of(layer);
    return norms(config, names.attentionNorm(), names.feedForwardNorm());
  }

  @Override
  public List<VectorSpec> finalVectors(ModelConfig config) {
    return norms(config, "transformer.ln_f");
  }

  private static List<VectorSpec> norms(ModelConfig config, String... modules) {
    return List.of(modules).stream()
        .flatMap(module -> List.of(module + ".weight", module + ".bias").stream())
        .map(name -> new VectorSpec(name, config.hiddenSize(), "n_embd"))
        .toList();
  }

  @Override
  public List<Coupling> couplings(ModelConfig config, int layer) {
    Names names = Names.of(layer);
    long h = config.hiddenSize();
    // c_attn gives q, k and v side by side: columns 0..h, h..2h and 2h..3h of its output.
    return List.of(
        Coupling.plain(Coupling.Kind.NORM, names.attentionNorm(), h, List.of(names.attention())),
        new Coupling(
            Coupling.Kind.VALUE,
            names.attention(),
            2 * h,
            3 * h,
            List.of(names.output()),
            List.of(),
            config.heads(),
            config.heads()),
        new Coupling(
            Coupling.Kind.HEADS,
            names.attention(),
            0,
            h,
            List.of(names.output()),
            List.of(names.attention()),
            config.heads(),
            config.heads()),
        Coupling.plain(Coupling.Kind.NORM, names.feedForwardNorm(), h, List.of(names.expand())),
        Coupling.plain(
            Coupling.Kind.ACTIVATED,
            names.expand(),
            config.intermediateSize(),
            List.of(names.contract())));
  }

  @Override
  public Block block(ModelConfig config, int layer, Weights weights) {
    return new Gpt2Block(config, layer, weights.linears(linears(config, layer)), weights);
  }

  @Override
  public Normalization finalNorm(ModelConfig config, Weights weights) {
    return weights.norm("transformer.ln_f", true);
  }
}
