// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.layer.Dense;
import espalier.model.Model;
import espalier.recipe.Targets.Module;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** The modules of a model as upstream would list them, parents before children. */
final class Modules {
  private Modules() {}

  static List<Module> of(Model model) {
    List<Module> modules = new ArrayList<>();
    Set<String> parents = new HashSet<>();
    String block = blockClass(model);
    model
        .linears()
        .forEach(
            (name, linear) -> {
              for (int dot = name.indexOf('.'); dot > 0; dot = name.indexOf('.', dot + 1)) {
                String parent = name.substring(0, dot);
                if (parents.add(parent)) {
                  boolean last = name.indexOf('.', dot + 1) < 0;
                  modules.add(new Module(parent, className(parent, last, block), List.of()));
                }
              }
              boolean turned = linear instanceof Dense dense && dense.inOut();
              modules.add(
                  turned
                      ? new Module(name, "Conv1D", List.of("Linear"), linear.inFeatures())
                      : new Module(name, "Linear", List.of(), linear.inFeatures()));
            });
    modules.add(new Module(model.family().embedding(), "Embedding", List.of()));
    if (model.tied()) {
      modules.add(new Module(Plan.HEAD, "Linear", List.of()));
    }
    return modules;
  }

  private static String className(String parent, boolean ofLinears, String block) {
    if (ofLinears) {
      return parent.contains("attn") ? "Attention" : "MLP";
    }
    return parent.matches(".*\\.[0-9]+") ? block : "Module";
  }

  /** Returns the class of a block: LlamaForCausalLM is made of LlamaDecoderLayer. */
  private static String blockClass(Model model) {
    JsonNode names =
        model
            .checkpoint()
            .json("config.json")
            .map(config -> config.path("architectures"))
            .orElse(null);
    String architecture = names == null ? "" : names.path(0).asText("");
    String family = architecture.replaceAll("(ForCausalLM|LMHeadModel)$", "");
    return family + (architecture.endsWith("LMHeadModel") ? "Block" : "DecoderLayer");
  }
}
