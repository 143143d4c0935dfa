// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import espalier.kernel.Elementwise;
import java.util.List;
import java.util.Optional;

/**
 * What config.json says of a model's shape and arithmetic, in one vocabulary for all families and
 * both styles of transformers (4: {@code rope_theta}, {@code torch_dtype}; 5: {@code
 * rope_parameters}, {@code layer_types}). Families read it.
 *
 * @param modelType the family's name in {@code model_type}
 * @param hiddenSize width of the residual stream
 * @param intermediateSize width inside the feed-forward part
 * @param layers number of blocks
 * @param heads query heads
 * @param keyHeads key and value heads; divides {@code heads}
 * @param headWidth dimensions of a head; not always hiddenSize / heads
 * @param vocabulary rows of the embedding and of the head
 * @param contextLength positions the model was made for
 * @param normEps added to the variance in every norm
 * @param activation of the feed-forward part
 * @param tied whether the config says that the head is the embedding
 * @param biases which linears have one
 * @param headNorms whether every query and key head is normalised before it is rotated
 * @param rope rotary positions; empty for learned ones
 * @param windows for every layer the keys a query sees, its own included; 0 for all
 */
public record ModelConfig(
    String modelType,
    int hiddenSize,
    int intermediateSize,
    int layers,
    int heads,
    int keyHeads,
    int headWidth,
    int vocabulary,
    int contextLength,
    float normEps,
    Elementwise.Function activation,
    boolean tied,
    Biases biases,
    boolean headNorms,
    Optional<Rope> rope,
    List<Integer> windows) {
  /**
   * Which linears of a block have a bias: q, k and v; the attention output; the feed-forward part.
   */
  public record Biases(boolean queryKeyValue, boolean output, boolean feedForward) {}

  public ModelConfig {
    windows = List.copyOf(windows);
  }

  /** Returns the width of all query heads together. */
  public int queryWidth() {
    return heads * headWidth;
  }

  /** Returns the width of all key heads together. */
  public int keyWidth() {
    return keyHeads * headWidth;
  }

  /** Returns what scores are multiplied by: 1 / √headWidth. */
  public float attentionScale() {
    return (float) (1 / Math.sqrt(headWidth));
  }

  /** Reads an activation by its name in transformers, refusing unknown ones by field and name. */
  static Elementwise.Function activation(ConfigFields fields, String field, String absent) {
    return switch (fields.text(field, absent)) {
      case "silu", "swish" -> Elementwise.Function.SILU;
      case "gelu" -> Elementwise.Function.GELU;
      // Three spellings of 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))), up to the digits of √(2/π).
      case "gelu_new", "gelu_pytorch_tanh", "gelu_fast" -> Elementwise.Function.GELU_TANH;
      case "relu" -> Elementwise.Function.RELU;
      default -> throw fields.refused(field);
    };
  }
}
