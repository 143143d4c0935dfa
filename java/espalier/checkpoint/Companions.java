// SPDX-License-Identifier: Apache-2.0
package espalier.checkpoint;

import espalier.report.EspalierException;
import espalier.report.Event;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.stream.Stream;

/**
 * The files of a model folder that a compressed copy needs and that compression does not change:
 * tokenizer, chat templates, generation settings, processors, licences. Weights, config.json and
 * the model card are written anew; the code of remote models is not carried, as we never run it.
 *
 * @param files the files found, sorted
 * @param events links that lead out of the folder, and files left behind
 */
record Companions(List<Path> files, List<Event> events) {
  private static final String TEMPLATES = "additional_chat_templates";

  private static final Set<String> NAMES =
      Set.of(
          "added_tokens.json",
          "chat_template.jinja",
          "chat_template.json",
          "encoder.json",
          "generation_config.json",
          "image_processor_config.json",
          "merges.txt",
          "preprocessor_config.json",
          "processor_config.json",
          "special_tokens_map.json",
          "spiece.model",
          "sentencepiece.bpe.model",
          "tekken.json",
          "tokenizer.json",
          "tokenizer.model",
          "tokenizer_config.json",
          "video_preprocessor_config.json",
          "vocab.bpe",
          "vocab.json",
          "vocab.txt");

  private static final List<String> PREFIXES =
      List.of("license", "licence", "notice", "copying", "use_policy", "tokenizer.model.");

  private static final List<String> SUFFIXES = List.of(".tiktoken");

  /** Written anew, or weights in some form: neither carried nor worth an event. */
  private static final List<String> EXPECTED =
      List.of(
          "config.json",
          "readme.md",
          ".safetensors",
          ".index.json",
          ".bin",
          ".pt",
          ".pth",
          ".gguf",
          ".msgpack",
          ".h5",
          ".onnx");

  /** Looks through a folder. */
  static Companions of(Path folder) {
    List<Path> files = new ArrayList<>();
    List<Event> events = new ArrayList<>();
    List<String> left = new ArrayList<>();
    try {
      Path root = folder.toRealPath();
      for (Path file : list(folder)) {
        String name = file.getFileName().toString();
        if (isCompanion(name)) {
          files.add(file);
        } else if (!isExpected(name)) {
          left.add(name);
        }
      }
      Path templates = folder.resolve(TEMPLATES);
      if (Files.isDirectory(templates)) {
        files.addAll(list(templates));
      }
      for (Path file : files) {
        if (leadsAway(root, file.toRealPath())) {
          events.add(
              Event.warning(
                  "link-followed",
                  file.toString(),
                  "a link out of the model folder; the content of "
                      + file.toRealPath()
                      + " counts"));
        }
      }
    } catch (IOException e) {
      throw EspalierException.input(
          folder + ": cannot be listed: " + e.getMessage(), "Check the permissions of the folder.");
    }
    if (!left.isEmpty()) {
      events.add(
          Event.info(
              "left-behind",
              folder.toString(),
              "files that are not carried over: " + String.join(", ", left)));
    }
    return new Companions(List.copyOf(files), List.copyOf(events));
  }

  private static boolean isCompanion(String name) {
    String lower = name.toLowerCase(Locale.ROOT);
    return NAMES.contains(name)
        || PREFIXES.stream().anyMatch(lower::startsWith)
        || SUFFIXES.stream().anyMatch(lower::endsWith);
  }

  private static boolean isExpected(String name) {
    String lower = name.toLowerCase(Locale.ROOT);
    return name.startsWith(".") || EXPECTED.stream().anyMatch(lower::endsWith);
  }

  /** In the Hugging Face cache every file is a link to {@code ../../blobs/HASH}: that is home. */
  private static boolean leadsAway(Path root, Path target) {
    Path repository = root.getParent() == null ? null : root.getParent().getParent();
    return !target.startsWith(root)
        && (repository == null || !target.startsWith(repository.resolve("blobs")));
  }

  private static List<Path> list(Path folder) throws IOException {
    try (Stream<Path> children = Files.list(folder)) {
      return children.filter(Files::isRegularFile).sorted().toList();
    }
  }
}
