// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import espalier.internal.Json;
import espalier.report.EspalierException;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;

/**
 * What a model folder says about its tokenizer, made ready for the engine.
 *
 * <p>Truncation and padding are left-overs of training or serving; they are dropped here, whatever
 * they hold, so that a setting the engine cannot read does not make the file unreadable.
 *
 * @param json a tokenizer.json without truncation and padding
 * @param idLimit one more than the highest id the file names
 * @param sha256 of the file as it stands, lower-case hexadecimal
 * @param origin the file, for messages
 */
record TokenizerFile(String json, int idLimit, String sha256, String origin) {
  private static final String ADVICE =
      "fetch tokenizer.json again, or write it with save_pretrained of the tokenizer's own tool";

  /** Reads {@code tokenizer.json}, or makes one of {@code vocab.json} and {@code merges.txt}. */
  static TokenizerFile open(Path modelFolder) {
    Path file = modelFolder.resolve("tokenizer.json");
    if (Files.isRegularFile(file)) {
      byte[] bytes = bytes(file);
      return of(bytes, sha256(bytes), file.toString());
    }
    if (VocabularyFiles.present(modelFolder)) {
      return VocabularyFiles.assemble(modelFolder);
    }
    throw missing(modelFolder);
  }

  private static EspalierException missing(Path folder) {
    if (!Files.isDirectory(folder)) {
      return EspalierException.input(
          folder + " is not a model folder", "give the folder that holds config.json");
    }
    for (String name :
        new String[] {"tokenizer.model", "spiece.model", "vocab.json", "vocab.txt"}) {
      if (Files.isRegularFile(folder.resolve(name))) {
        return EspalierException.input(
            folder + " has " + name + " but no tokenizer.json",
            "fetch tokenizer.json from the model's page, or write it with save_pretrained of a fast"
                + " tokenizer");
      }
    }
    return EspalierException.input(
        folder.resolve("tokenizer.json") + " is missing", "copy it from the original model");
  }

  static byte[] bytes(Path file) {
    try {
      return Files.readAllBytes(file);
    } catch (IOException | OutOfMemoryError e) {
      throw EspalierException.input("cannot read " + file + ": " + e, "check the file's rights");
    }
  }

  /** Cleans {@code bytes} in one pass, without building a tree of a large vocabulary. */
  static TokenizerFile of(byte[] bytes, String sha256, String origin) {
    Copy copy = new Copy();
    try {
      copy.run(bytes);
    } catch (JsonProcessingException e) {
      int line = e.getLocation() == null ? 1 : e.getLocation().getLineNr();
      throw EspalierException.input(
          origin + ", line " + line + ": not JSON: " + e.getOriginalMessage(), ADVICE);
    } catch (IOException e) {
      throw EspalierException.input(origin + " is not JSON: " + e.getMessage(), ADVICE);
    }
    if (!copy.hasModel) {
      throw EspalierException.input(origin + " has no entry 'model'", ADVICE);
    }
    if (copy.highest < 0) {
      throw EspalierException.input(origin + " names no token", ADVICE);
    }
    if (copy.highest >= Integer.MAX_VALUE) {
      throw EspalierException.input(origin + " names the id " + copy.highest, ADVICE);
    }
    String json = copy.out.toString(StandardCharsets.UTF_8);
    return new TokenizerFile(json, (int) copy.highest + 1, sha256, origin);
  }

  static EspalierException malformed(String origin, String reason) {
    return EspalierException.input(
        "the tokenizer engine cannot read " + origin + ": " + reason, ADVICE);
  }

  static String sha256(byte[]... parts) {
    try {
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      for (byte[] part : parts) {
        digest.update(part);
      }
      return HexFormat.of().formatHex(digest.digest());
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError("every Java platform has SHA-256", e);
    }
  }

  /** One pass over the file: copies, drops two entries, watches ids go by. */
  private static final class Copy {
    final ByteArrayOutputStream out = new ByteArrayOutputStream();
    long highest = -1;
    boolean hasModel;

    void run(byte[] bytes) throws IOException {
      JsonFactory factory = Json.STRICT.getFactory();
      try (JsonParser in = factory.createParser(withoutMark(bytes));
          JsonGenerator to = factory.createGenerator(out)) {
        if (in.nextToken() != JsonToken.START_OBJECT) {
          throw new IOException("it does not start with an object");
        }
        to.writeStartObject();
        while (in.nextToken() == JsonToken.FIELD_NAME) {
          String name = in.currentName();
          in.nextToken();
          if (name.equals("truncation") || name.equals("padding")) {
            in.skipChildren();
            to.writeNullField(name);
          } else {
            to.writeFieldName(name);
            entry(name, in, to);
          }
        }
        to.writeEndObject();
        if (in.nextToken() != null) {
          throw new IOException("text follows the end of the object");
        }
      }
    }

    /** Parsers reject the byte-order mark that some editors put in front. */
    private static byte[] withoutMark(byte[] bytes) {
      boolean marked =
          bytes.length >= 3
              && bytes[0] == (byte) 0xEF
              && bytes[1] == (byte) 0xBB
              && bytes[2] == (byte) 0xBF;
      return marked ? java.util.Arrays.copyOfRange(bytes, 3, bytes.length) : bytes;
    }

    /** Copies one top-level entry; vocabulary ids are the numbers at the places named below. */
    private void entry(String top, JsonParser in, JsonGenerator to) throws IOException {
      boolean model = top.equals("model");
      hasModel |= model;
      int depth = 0;
      boolean inVocabulary = false;
      long pieces = 0;
      do {
        JsonToken token = in.currentToken();
        if (token.isStructEnd()) {
          depth--;
          inVocabulary &= depth >= 2;
        } else if (token.isStructStart()) {
          depth++;
          if (model && depth == 2) {
            inVocabulary = "vocab".equals(in.currentName());
          } else if (inVocabulary && depth == 3 && token == JsonToken.START_ARRAY) {
            highest = Math.max(highest, pieces++); // Unigram: the place in the list is the id
          }
        } else if (token == JsonToken.VALUE_NUMBER_INT) {
          boolean word = inVocabulary && depth == 2;
          boolean added = top.equals("added_tokens") && depth == 2 && "id".equals(in.currentName());
          if (word || added) {
            highest = Math.max(highest, in.getLongValue());
          }
        }
        to.copyCurrentEventExact(in);
      } while (depth > 0 && in.nextToken() != null);
    }
  }
}
