// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.internal.Json;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * A tokenizer small enough to know by heart, in SentencePiece style: {@code <unk>} 0, {@code <s>}
 * 1, {@code </s>} 2, bytes 3 to 258, then the pieces below; {@code <s>} comes first.
 */
public final class TinyTokenizer {
  static final int BYTES = 3;
  static final int SPACE = 259;
  static final int A = 260;
  static final int B = 261;
  static final int AB = 262;
  static final int SPACE_A = 263;
  static final int SPACE_AB = 264;
  static final int NEWLINE = BYTES + '\n';

  private static final List<String> PIECES = List.of("▁", "a", "b", "ab", "▁a", "▁ab");
  private static final List<String> MERGES = List.of("a b", "▁ ab", "▁ a");

  private TinyTokenizer() {}

  static ObjectNode json() {
    ObjectNode root = Json.STRICT.createObjectNode();
    root.put("version", "1.0").putNull("truncation").putNull("padding");
    ArrayNode added = root.putArray("added_tokens");
    List<String> special = List.of("<unk>", "<s>", "</s>");
    for (String token : special) {
      ObjectNode one = added.addObject().put("id", special.indexOf(token)).put("content", token);
      one.put("single_word", false).put("lstrip", false).put("rstrip", false);
      one.put("normalized", false).put("special", true);
    }
    ArrayNode normalizers =
        root.putObject("normalizer").put("type", "Sequence").putArray("normalizers");
    normalizers.addObject().put("type", "Prepend").put("prepend", "▁");
    replace(normalizers.addObject(), " ", "▁");
    root.putNull("pre_tokenizer");
    ObjectNode post = root.putObject("post_processor").put("type", "TemplateProcessing");
    ArrayNode single = post.putArray("single");
    single.addObject().putObject("SpecialToken").put("id", "<s>").put("type_id", 0);
    single.addObject().putObject("Sequence").put("id", "A").put("type_id", 0);
    post.putArray("pair").addObject().putObject("Sequence").put("id", "A").put("type_id", 0);
    ObjectNode bos = post.putObject("special_tokens").putObject("<s>").put("id", "<s>");
    bos.putArray("ids").add(1);
    bos.putArray("tokens").add("<s>");
    ArrayNode decoders = root.putObject("decoder").put("type", "Sequence").putArray("decoders");
    replace(decoders.addObject(), "▁", " ");
    decoders.addObject().put("type", "ByteFallback");
    decoders.addObject().put("type", "Fuse");
    decoders.addObject().put("type", "Strip").put("content", " ").put("start", 1).put("stop", 0);
    ObjectNode model = root.putObject("model").put("type", "BPE").put("unk_token", "<unk>");
    model.put("fuse_unk", true).put("byte_fallback", true).put("ignore_merges", false);
    ObjectNode vocabulary = model.putObject("vocab");
    special.forEach(token -> vocabulary.put(token, vocabulary.size()));
    for (int b = 0; b < 256; b++) {
      vocabulary.put(String.format("<0x%02X>", b), vocabulary.size());
    }
    PIECES.forEach(piece -> vocabulary.put(piece, vocabulary.size()));
    ArrayNode merges = model.putArray("merges");
    MERGES.forEach(merges::add);
    return root;
  }

  private static void replace(ObjectNode node, String from, String to) {
    node.put("type", "Replace").put("content", to).putObject("pattern").put("String", from);
  }

  public static Path write(Path folder) throws IOException {
    return write(folder, json());
  }

  static Path write(Path folder, ObjectNode json) throws IOException {
    Files.createDirectories(folder);
    Files.writeString(folder.resolve("tokenizer.json"), json.toString());
    return folder;
  }
}
