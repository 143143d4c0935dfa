// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.Espalier;
import espalier.checkpoint.Checkpoint;
import espalier.report.EspalierException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Shows what a checkpoint holds; every header is checked on the way. */
@Command(
    name = "inspect",
    header = "Shows what a checkpoint holds and checks every header.",
    description = {
      "",
      "  espalier inspect MODEL",
      "  espalier inspect MODEL/model.safetensors",
      "  espalier inspect out/q4 --json",
      "  espalier inspect PRUNED --density",
      "",
      "Damaged files are refused. A sound checkpoint that cannot be run is shown all the same, with",
      "the reason."
    })
final class InspectCommand implements Callable<Integer> {
  @Mixin private CommonOptions common;

  @Parameters(paramLabel = "MODEL", description = "Model folder, or one .safetensors file.")
  private Path path;

  @Option(
      names = "--density",
      description = "Read every weight and count zeros: density and pattern of every linear.")
  private boolean density;

  @Override
  public Integer call() {
    try (Checkpoint checkpoint = Checkpoint.open(path)) {
      Inspection inspection = Inspection.of(checkpoint);
      if (Files.isDirectory(path)) {
        inspection = inspection.tried(() -> Espalier.open(path, common.threads()), density);
      } else if (density) {
        throw EspalierException.usage(
            "--density needs a model folder, which says what the linears are",
            "Give the folder of " + path + ".");
      }
      common.warn(inspection.events());
      if (common.strict() && !inspection.problem().isEmpty()) {
        throw EspalierException.failed(
            path + " cannot be run: " + inspection.problem(),
            "Leave out --strict to see the rest.");
      }
      if (common.json()) {
        common.print(json(inspection));
      } else {
        inspection.print(path, common.console().out());
      }
      return 0;
    }
  }

  private ObjectNode json(Inspection inspection) {
    ObjectNode object =
        CommonOptions.result().put("command", "inspect").put("model", path.toString());
    inspection.fill(object);
    object.put("version", Version.number());
    object.set("events", CommonOptions.events(inspection.events()));
    return object;
  }
}
