// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import espalier.kernel.Elementwise;
import espalier.kernel.Ops;
import espalier.layer.Linear;
import espalier.tensor.Tensor;
import java.util.List;
import java.util.Map;

/**
 * The pre-norm decoder layer of Llama, Mistral, Qwen2 and Qwen3:
 *
 * <pre>
 * x += o(attention(rope(q(n₁)), rope(k(n₁)), v(n₁)))   n₁ = rms(x)
 * x += down(act(gate(n₂)) · up(n₂))                    n₂ = rms(x)
 * </pre>
 *
 * with an RMS norm on every query and key head before the rotation where the config has head norms.
 */
final class GatedBlock implements Block {
  private final ModelConfig config;
  private final int layer;
  private final GatedNames names;
  private final NamedLinears linears;
  private final RotaryTables rotary;
  private final Normalization attentionNorm;
  private final Normalization feedForwardNorm;
  private final Normalization queryNorm; // null without head norms
  private final Normalization keyNorm; // null without head norms
  private final List<Step> steps;

  GatedBlock(ModelConfig config, int layer, GatedNames names, ModelFamily.Weights weights) {
    this.config = config;
    this.layer = layer;
    this.names = names;
    this.linears = weights.linears(names.linears(config));
    this.rotary = weights.rotary();
    this.attentionNorm = weights.norm(names.attentionNorm(), false);
    this.feedForwardNorm = weights.norm(names.feedForwardNorm(), false);
    this.queryNorm = config.headNorms() ? weights.norm(names.queryNorm(), false) : null;
    this.keyNorm = config.headNorms() ? weights.norm(names.keyNorm(), false) : null;
    this.steps =
        List.of(
            new Stage(List.of(names.query(), names.key(), names.value()), this::attend),
            new Stage(List.of(names.output()), this::output),
            new Stage(List.of(names.gate(), names.up()), this::expand),
            new Stage(List.of(names.down()), this::contract));
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
    long start = past.position();
    Tensor x = state.input();
    Tensor q = placed(ops, queryNorm, linears.apply(ops, names.query(), x), config.heads(), start);
    Tensor k = placed(ops, keyNorm, linears.apply(ops, names.key(), x), config.keyHeads(), start);
    Tensor v = linears.apply(ops, names.value(), x);
    Past.KeysValues all = past.append(layer, k, v);
    Tensor mixed =
        ops.attention(
            q,
            all.keys(),
            all.values(),
            config.heads(),
            config.keyHeads(),
            start,
            config.windows().get(layer),
            config.attentionScale());
    return new State(state.residual(), mixed);
  }

  private Tensor placed(Ops ops, Normalization norm, Tensor x, int heads, long start) {
    return rotary.rotate(ops, norm == null ? x : norm.apply(ops, x), heads, start);
  }

  private State output(Ops ops, State state, Past past) {
    Tensor mixed = linears.apply(ops, names.output(), state.input());
    Tensor residual = ops.add(state.residual(), mixed);
    return new State(residual, feedForwardNorm.apply(ops, residual));
  }

  private State expand(Ops ops, State state, Past past) {
    Tensor gate = linears.apply(ops, names.gate(), state.input());
    Tensor up = linears.apply(ops, names.up(), state.input());
    Tensor product =
        config.activation() == Elementwise.Function.SILU
            ? ops.siluMultiply(gate, up)
            : ops.multiply(ops.activation(config.activation(), gate), up);
    return new State(state.residual(), product);
  }

  private State contract(Ops ops, State state, Past past) {
    Tensor down = linears.apply(ops, names.down(), state.input());
    return new State(ops.add(state.residual(), down), null);
  }
}
