// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import espalier.recipe.Datum.Mapping;
import espalier.report.EspalierException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CoderResult;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;

/** From a file to the root map of its recipe: encoding, kind of file, front matter. */
record RecipeFile(Mapping root) {
  /** A recipe is a page of text; beyond this the file is something else. */
  private static final int MAX_BYTES = 1 << 20;

  static RecipeFile read(Path file) {
    String source = file.toString();
    byte[] bytes;
    try (InputStream in = Files.newInputStream(file)) {
      // A pipe or a device does not say how long it is.
      bytes = in.readNBytes(MAX_BYTES + 1);
      if (bytes.length > MAX_BYTES) {
        throw RecipeError.at(source, 1, RecipeError.FILE, "larger than 1 MiB: this is no recipe");
      }
    } catch (IOException e) {
      throw new EspalierException(
          EspalierException.Kind.INPUT,
          source + ": the recipe cannot be read: " + e,
          "Check the path of the recipe.",
          e);
    }
    String text = decode(bytes, source);
    String name = source.toLowerCase(Locale.ROOT);
    if (name.endsWith(".json")) {
      return new RecipeFile(JsonDocument.read(text, source));
    }
    if (name.endsWith(".md")) {
      return new RecipeFile(Document.yaml(frontMatter(text, source), source));
    }
    return name.endsWith(".yaml") || name.endsWith(".yml")
        ? new RecipeFile(Document.yaml(text, source))
        : parse(text, source);
  }

  /** Reads text of unknown kind: JSON where it is JSON, else YAML. */
  static RecipeFile parse(String text, String source) {
    String clean = withoutMark(text).stripTrailing();
    if (clean.stripLeading().startsWith("{")) {
      try {
        return new RecipeFile(JsonDocument.read(clean, source));
      } catch (EspalierException notJson) {
        // a flow map of YAML begins alike: the reading below has the last word
      }
    }
    return new RecipeFile(Document.yaml(clean, source));
  }

  private static String decode(byte[] bytes, String source) {
    CharsetDecoder decoder = StandardCharsets.UTF_8.newDecoder(); // reports, never replaces
    ByteBuffer in = ByteBuffer.wrap(bytes);
    CharBuffer out = CharBuffer.allocate(bytes.length);
    CoderResult result = decoder.decode(in, out, true);
    if (result.isError()) {
      int line = 1 + (int) out.flip().chars().filter(c -> c == '\n').count();
      String why =
          String.format(
              "not UTF-8 (byte 0x%02x at offset %d)", bytes[in.position()], in.position());
      throw RecipeError.at(source, line, RecipeError.FILE, why);
    }
    return withoutMark(out.flip().toString()).stripTrailing();
  }

  private static String withoutMark(String text) {
    return text.startsWith("\uFEFF") ? text.substring(1) : text;
  }

  /**
   * Returns the text between the first two fences, moved nowhere, so that lines keep their number.
   */
  private static String frontMatter(String text, String source) {
    List<String> lines = text.lines().toList();
    StringBuilder front = new StringBuilder();
    String fence = null;
    for (String line : lines) {
      String end = line.stripTrailing();
      if (fence == null) {
        fence = end.equals("---") || end.equals("+++") ? end : null;
        front.append('\n');
      } else if (end.equals(fence)) {
        return front.toString();
      } else {
        front.append(line).append('\n');
      }
    }
    throw RecipeError.at(
        source, 1, RecipeError.FILE, "no front matter: a recipe stands between two lines of ---");
  }
}
