// SPDX-License-Identifier: Apache-2.0
package espalier.gradient;

import espalier.kernel.Backward;
import espalier.kernel.Convert;
import espalier.layer.Dense;
import espalier.layer.Linear;
import espalier.model.Block;
import espalier.model.Model;
import espalier.model.ModelFamily;
import espalier.report.EspalierException;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Storage;
import espalier.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * Every weight of a model as a parameter: F32 copies of its tables, linears and biases take the
 * place of the stored ones, norms are trained where they are. Owns copies and gradients; close it
 * before the model, which cannot compute afterwards. A tied head is its embedding: one parameter,
 * whose gradient both add to.
 */
public final class ModelParameters implements AutoCloseable {
  private final Context context;
  private final Model model;
  private final List<Storage> owned = new ArrayList<>();
  private final List<Parameter> parameters = new ArrayList<>();

  /**
   * Takes all weights of a model over.
   *
   * @throws EspalierException (UNSUPPORTED) naming a linear that is not dense
   */
  public ModelParameters(Model model, Context context) {
    this.context = context;
    this.model = model;
    model.linears().forEach(ModelParameters::requireDense);
    model.swapEmbedding(copied(model.family().embedding() + ".weight", model.embedding()));
    model
        .positions()
        .ifPresent(
            table ->
                model.swapPositions(
                    copied(model.family().positions().orElseThrow() + ".weight", table)));
    for (Block block : model.blocks()) {
      // The map follows swaps: walk a copy.
      for (Map.Entry<String, Linear> entry : List.copyOf(block.linears().entrySet())) {
        block.swap(entry.getKey(), copied(entry.getKey(), (Dense) entry.getValue()));
      }
    }
    if (!model.tied()) {
      model.swapHead(copied(ModelFamily.HEAD, (Dense) model.head()));
    }
    model.norms().forEach(this::trained);
  }

  private static void requireDense(String name, Linear linear) {
    if (!(linear instanceof Dense)) {
      throw EspalierException.unsupported(
          name + " is not stored dense and cannot be trained as it is",
          "Train the dense checkpoint.");
    }
  }

  private Dense copied(String module, Dense linear) {
    Tensor matrix = copied(module + ".weight", linear.matrix());
    Tensor bias = linear.bias() == null ? null : copied(module + ".bias", linear.bias());
    return new Dense(matrix, linear.inOut(), bias);
  }

  private Tensor copied(String name, Tensor stored) {
    try (Context.Scope scope = context.scope()) {
      Tensor copy = scope.release(Convert.toFloat(context, stored));
      owned.add(copy.storage());
      trained(name, copy);
      return copy;
    }
  }

  private void trained(String name, Tensor value) {
    Storage storage = Storage.allocate(value.sizeBytes());
    owned.add(storage);
    Tensor gradient = new Tensor(storage, 0, DType.F32, value.shape());
    boolean decays = value.shape().rank() > 1;
    parameters.add(new Parameter(model.storedName(name), value, gradient, decays));
  }

  /** Returns the parameters: tables first, then every block's linears, the head, norms. */
  public List<Parameter> list() {
    return List.copyOf(parameters);
  }

  /** Returns how many numbers are trained. */
  public long count() {
    return parameters.stream().mapToLong(p -> p.value().elements()).sum();
  }

  /** Sets every gradient to zero: the beginning of a step. */
  public void clearGradients() {
    parameters.forEach(p -> Backward.zero(context, p.gradient()));
  }

  @Override
  public void close() {
    owned.forEach(Storage::close);
  }
}
