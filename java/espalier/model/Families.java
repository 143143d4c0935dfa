// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import espalier.report.EspalierException;
import java.util.List;
import java.util.stream.Collectors;

/** Every family of models we run, and how a config names one. */
public final class Families {
  public static final List<ModelFamily> ALL =
      List.of(
          new LlamaFamily(),
          new MistralFamily(),
          new Qwen2Family(),
          new Qwen3Family(),
          new Gpt2Family());

  private Families() {}

  /**
   * Finds the family a config asks for: by {@code model_type}, else by {@code architectures}. Where
   * both are there they must agree, since code of its own under a borrowed type computes otherwise.
   *
   * @throws EspalierException (UNSUPPORTED) naming the field that decided; (INPUT) when neither is
   *     there
   */
  public static ModelFamily of(ConfigFields fields) {
    List<String> architectures = fields.texts("architectures");
    if (fields.has("model_type")) {
      String type = fields.text("model_type", "");
      for (ModelFamily family : ALL) {
        if (family.modelType().equals(type)) {
          if (!architectures.isEmpty() && !matches(family, architectures)) {
            throw unsupported(fields, "architectures " + architectures);
          }
          return family;
        }
      }
      throw unsupported(fields, "model_type \"" + type + "\"");
    }
    if (architectures.isEmpty()) {
      throw EspalierException.input(
          fields.where("model_type") + " is missing, and so is architectures",
          "Check that this is the model's config.json.");
    }
    for (ModelFamily family : ALL) {
      if (matches(family, architectures)) {
        return family;
      }
    }
    throw unsupported(fields, "architectures " + architectures);
  }

  private static boolean matches(ModelFamily family, List<String> architectures) {
    return architectures.stream().anyMatch(family.architectures()::contains);
  }

  private static EspalierException unsupported(ConfigFields fields, String what) {
    return EspalierException.unsupported(
        fields.where(what) + " is not supported by this version",
        "Supported model types: "
            + ALL.stream().map(ModelFamily::modelType).collect(Collectors.joining(", "))
            + ".");
  }
}
