// SPDX-License-Identifier: Apache-2.0
package espalier.gradient;

import espalier.tensor.DType;
import espalier.tensor.Storage;
import espalier.tensor.Tensor;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Tensors an optimiser keeps beside every parameter: zeros at first, of the parameter's shape. */
final class OptimizerState implements AutoCloseable {
  private final Map<String, Tensor> tensors = new LinkedHashMap<>();
  private final List<Storage> owned = new ArrayList<>();

  /** Adds one tensor for every parameter, named {@code kind.PARAMETER}, and returns them. */
  List<Tensor> add(String kind, List<Parameter> parameters) {
    List<Tensor> added = new ArrayList<>();
    for (Parameter parameter : parameters) {
      Storage storage = Storage.allocate(parameter.value().sizeBytes());
      owned.add(storage);
      Tensor tensor = new Tensor(storage, 0, DType.F32, parameter.value().shape());
      tensors.put(kind + "." + parameter.name(), tensor);
      added.add(tensor);
    }
    return added;
  }

  Map<String, Tensor> tensors() {
    return Collections.unmodifiableMap(tensors);
  }

  @Override
  public void close() {
    owned.forEach(Storage::close);
  }
}
