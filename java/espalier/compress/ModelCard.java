// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.checkpoint.Checkpoint;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The README.md beside a compressed model: where it comes from, under which licence, how it was
 * made.
 */
final class ModelCard {
  /** {@code license: mit} in the front matter of a Hugging Face card. */
  private static final Pattern FRONT_MATTER_LICENCE =
      Pattern.compile("(?m)^license:\\s*['\"]?([\\w.+-]+)");

  /** {@code Licence: MIT} anywhere in prose. */
  private static final Pattern PROSE_LICENCE =
      Pattern.compile("(?im)^\\W*licen[cs]e\\W*:\\s*\\W*([^\\n]{1,120})");

  private ModelCard() {}

  /**
   * Returns the card.
   *
   * @param recipe the recipe as YAML
   * @param hashes name to SHA-256 of what went in
   */
  static String of(
      Checkpoint source,
      String method,
      OutputFormat format,
      String recipe,
      String version,
      Map<String, String> hashes) {
    String name = source.folder().getFileName().toString();
    StringBuilder card = new StringBuilder();
    Optional<String> tag = find(source, FRONT_MATTER_LICENCE);
    card.append("---\n");
    tag.ifPresent(licence -> card.append("license: ").append(licence).append('\n'));
    card.append("base_model: ").append(name).append('\n');
    card.append("base_model_relation: quantized\n");
    card.append("tags:\n- espalier\n- ").append(tag(format)).append("\n---\n\n");
    card.append("# ").append(name).append(", compressed\n\n");
    card.append("Made from `").append(name).append("` by Espalier ").append(version);
    card.append(" (").append(method).append(").\n\n");
    card.append("Licence of the source: ").append(licence(source, tag)).append("\n\n");
    if (format == OutputFormat.SPARSE) {
      card.append("Zeros are not stored: of all programs only Espalier reads these weights. ");
      card.append("`--format dense` writes them with zeros in place for any other.\n\n");
    }
    card.append("## Recipe\n\n```yaml\n").append(recipe.strip()).append("\n```\n\n");
    card.append("## Inputs\n\n| what | SHA-256 |\n|---|---|\n");
    new TreeMap<>(hashes)
        .forEach(
            (what, hash) ->
                card.append("| ").append(what).append(" | `").append(hash).append("` |\n"));
    card.append("\nErrors of every layer and all events: `espalier-report.json`.\n");
    return card.toString();
  }

  private static String tag(OutputFormat format) {
    return format.isGptq() ? OutputFormat.GPTQ.text() : format.text();
  }

  private static String licence(Checkpoint source, Optional<String> tag) {
    if (tag.isPresent()) {
      return tag.get();
    }
    if (Files.isRegularFile(source.folder().resolve("LICENSE"))) {
      return "see the file LICENSE";
    }
    return find(source, PROSE_LICENCE)
        .map(text -> text.replace("*", "").strip())
        .orElse("not stated there; check before you pass this on");
  }

  private static Optional<String> find(Checkpoint source, Pattern pattern) {
    Path readme = source.folder().resolve("README.md");
    if (!Files.isRegularFile(readme)) {
      return Optional.empty();
    }
    try {
      String text = new String(Files.readAllBytes(readme), StandardCharsets.UTF_8);
      Matcher matcher = pattern.matcher(text);
      return matcher.find() ? Optional.of(matcher.group(1)) : Optional.empty();
    } catch (IOException e) {
      return Optional.empty(); // a card without a licence says so
    }
  }
}
