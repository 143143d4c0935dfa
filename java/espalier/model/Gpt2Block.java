// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import espalier.kernel.Ops;
import espalier.layer.Linear;
import espalier.tensor.Tensor;
import java.util.List;
import java.util.Map;

/**
 * The layer of GPT-2:
 *
 * <pre>
 * x += c_proj(attention(q, k, v))   [q, k, v] = c_attn(ln_1(x))
 * x += c_proj(gelu(c_fc(ln_2(x))))
 * </pre>
 */
final class Gpt2Block implements Block {
  private final ModelConfig config;
  private final int layer;
  private final Gpt2Family.Names names;
  private final NamedLinears linears;
  private final Normalization attentionNorm;
  private final Normalization feedForwardNorm;
  private final List<Step> steps;

  Gpt2Block(ModelConfig config, int layer, NamedLinears linears, ModelFamily.Weights weights) {
    this.names = Gpt2Family.Names.of(layer);
    this.config = config;
    this.layer = layer;
    this.linears = linears;
    this.attentionNorm = weights.norm(names.attentionNorm(), true);
    this.feedForwardNorm = weights.norm(names.feedForwardNorm(), true);
    this.steps =
        List.of(
            new Stage(List.of(names.attention()), this::attend),
            new Stage(List.of(names.output()), this::output),
            new Stage(List.of(names.expand()), this::expand),
            new Stage(List.of(names.contract()), this::contract));
  }

  @Override
  public Map<String, Linear> linears() {
    return linears.all();
  }

  @Override
  public void swap(String name, Linear linear) {
    linears.swap(name, linear);
  }

  @Override
  public State begin(Ops ops, Tensor hidden) {
    return new State(hidden, attentionNorm.apply(ops, hidden));
  }

  @Override
  public List<Step> steps() {
    return steps;
  }

  private State attend(Ops ops, State state, Past past) {
    long width = config.hiddenSize();
    long start = past.position();
    Tensor joint = linears.apply(ops, names.attention(), state.input()); // [tokens, q k v]
    Tensor q = ops.columns(joint, 0, width);
    Tensor k = ops.columns(joint, width, 2 * width);
    Past.KeysValues all = past.append(layer, k, ops.columns(joint, 2 * width, 3 * width));
    int heads = config.heads();
    float scale = config.attentionScale();
    Tensor mixed = ops.attention(q, all.keys(), all.values(), heads, heads, start, 0, scale);
    return new State(state.residual(), mixed);
  }

  private State output(Ops ops, State state, Past past) {
    Tensor mixed = linears.apply(ops, names.output(), state.input());
    Tensor residual = ops.add(state.residual(), mixed);
    return new State(residual, feedForwardNorm.apply(ops, residual));
  }

  private State expand(Ops ops, State state, Past past) {
    Tensor wide = linears.apply(ops, names.expand(), state.input());
    return new State(state.residual(), ops.activation(config.activation(), wide));
  }

  private State contract(Ops ops, State state, Past past) {
    Tensor narrow = linears.apply(ops, names.contract(), state.input());
    return new State(ops.add(state.residual(), narrow), null);
  }
}
