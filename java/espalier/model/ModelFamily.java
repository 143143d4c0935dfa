// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import java.util.List;
import java.util.Optional;
import java.util.function.ToLongFunction;

/**
 * How one family of models maps a config and the names of a checkpoint to blocks. A family holds no
 * state; names are canonical, with the prefix that published checkpoints have.
 */
public interface ModelFamily {
  /** Canonical name of the output matrix. */
  String HEAD = "lm_head";

  /** Returns the value of {@code model_type}. */
  String modelType();

  /**
   * Returns the classes of {@code architectures} that are this family's language model or backbone.
   */
  List<String> architectures();

  /** Returns the prefix that all names but the head's have, and that bare checkpoints leave out. */
  String prefix();

  /** Returns the name of the embedding module. */
  String embedding();

  /** Returns the name of the learned position table's module, if positions are learned. */
  Optional<String> positions();

  /**
   * Reads the config.
   *
   * @param rows gives the output features of a linear by canonical name, for what old configs leave
   *     out
   * @throws espalier.report.EspalierException naming the file and the field: INPUT when it is
   *     missing or malformed, UNSUPPORTED when it asks for arithmetic that the family's block does
   *     not do
   */
  ModelConfig configure(ConfigFields fields, ToLongFunction<String> rows);

  /** Returns the linears of a layer, in step order. */
  List<LinearSpec> linears(ModelConfig config, int layer);

  /** Returns the norms of a layer, in forward order. */
  List<VectorSpec> vectors(ModelConfig config, int layer);

  /** Returns the weight, and bias, of the norm before the head. */
  List<VectorSpec> finalVectors(ModelConfig config);

  /** Returns what a layer carries from module to module. */
  List<Coupling> couplings(ModelConfig config, int layer);

  /** Returns a layer over its loaded weights. */
  Block block(ModelConfig config, int layer, Weights weights);

  /** Returns the norm before the head over its loaded weights. */
  Normalization finalNorm(ModelConfig config, Weights weights);

  /** What a family builds blocks from: weights under canonical names, shapes already checked. */
  interface Weights {
    /** Returns a layer's linears in step order. */
    NamedLinears linears(List<LinearSpec> specs);

    /** Returns the norm whose weight, and bias if it is centred, have this module name. */
    Normalization norm(String module, boolean centred);

    /** Returns the tables all blocks share; only for configs with rope. */
    RotaryTables rotary();
  }
}
