// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import espalier.report.EspalierException;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.locks.Lock;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.LongFunction;
import java.util.stream.Stream;

/**
 * Texts to token ids and back, by a model folder's {@code tokenizer.json}.
 *
 * <p>Special tokens are added as the file's post-processor says, and by nothing else: {@code
 * add_bos_token} in tokenizer_config.json and {@code bos_token_id} in config.json add none. Special
 * tokens spelt in a text are those tokens. Truncation and padding in the file do not apply. Nothing
 * is ever downloaded. Folders of GPT-2 and Qwen2 with only {@code vocab.json} and {@code
 * merges.txt} work too.
 *
 * <p>The owner closes it; after that every call fails. All methods may be called from several
 * threads at once.
 */
public final class Tokenizer implements AutoCloseable {
  static {
    // The engine reads these when it is first touched: without them it looks for a GPU build on the
    // network, reports its use, and its logging interface complains that no logger is installed.
    System.setProperty("ai.djl.offline", "true");
    System.setProperty("OPT_OUT_TRACKING", "true");
    System.setProperty("RUST_FLAVOR", "cpu");
    if (System.getProperty("slf4j.internal.verbosity") == null) {
      System.setProperty("slf4j.internal.verbosity", "ERROR");
    }
  }

  private static final Map<String, String> OPTIONS =
      Map.of("truncation", "false", "padding", "false", "addSpecialTokens", "true");

  private final HuggingFaceTokenizer engine;
  private final TokenizerFile file;

  /** Readers use the engine's memory, the writer frees it. */
  private final ReadWriteLock lock = new ReentrantReadWriteLock();

  private boolean closed;

  private Tokenizer(HuggingFaceTokenizer engine, TokenizerFile file) {
    this.engine = engine;
    this.file = file;
  }

  /**
   * Opens the tokenizer of a model folder; the caller closes it.
   *
   * @throws EspalierException INPUT if the folder has no tokenizer that can be read, RESOURCE if
   *     the native tokenizer library cannot be loaded
   */
  public static Tokenizer open(Path modelFolder) {
    TokenizerFile file = TokenizerFile.open(modelFolder);
    byte[] json = file.json().getBytes(StandardCharsets.UTF_8);
    try {
      return new Tokenizer(
          HuggingFaceTokenizer.newInstance(new ByteArrayInputStream(json), OPTIONS), file);
    } catch (LinkageError | IllegalStateException e) {
      throw EspalierException.resource(
          "the native tokenizer library does not load: " + e.getMessage(),
          "set the environment variable DJL_CACHE_DIR to a folder where files may be written and"
              + " executed",
          e);
    } catch (IOException | RuntimeException e) {
      throw TokenizerFile.malformed(file.origin(), e.getMessage());
    }
  }

  /**
   * Opens the tokenizer of a model folder, or returns nothing when the folder has no file of one.
   * The caller closes it.
   */
  public static Optional<Tokenizer> find(Path modelFolder) {
    boolean present =
        Stream.of("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")
            .anyMatch(name -> Files.exists(modelFolder.resolve(name)));
    return present ? Optional.of(open(modelFolder)) : Optional.empty();
  }

  /** Returns the ids of {@code text} with the special tokens the file asks for. */
  public int[] encode(String text) {
    return encode(text, true);
  }

  /**
   * Returns the ids of {@code text}, of any length; an empty text has no ids but the special ones.
   * A lone surrogate, which no UTF-8 can hold, counts as U+FFFD.
   *
   * @param addSpecial whether to add what the post-processor adds (BOS, EOS)
   * @throws EspalierException INPUT if the file's model cannot encode this text (a character it has
   *     no token for and no unknown token either)
   */
  public int[] encode(String text, boolean addSpecial) {
    String sound = withoutLoneSurrogates(text);
    return guarded(
        handle -> {
          // Only the ids: the engine's own Encoding would copy a string and a span for every token.
          long encoding = TokenizersLibrary.LIB.encode(handle, sound, addSpecial);
          try {
            return narrow(TokenizersLibrary.LIB.getTokenIds(encoding));
          } finally {
            TokenizersLibrary.LIB.deleteEncoding(encoding);
          }
        });
  }

  /**
   * Returns the text of {@code ids}. Bytes that form no character become U+FFFD; ids the tokenizer
   * does not know (rows that only pad the embedding) have no text.
   *
   * @param skipSpecial whether to leave out special tokens
   */
  public String decode(int[] ids, boolean skipSpecial) {
    long[] wide = new long[ids.length];
    int known = 0;
    for (int id : ids) {
      if (id >= 0 && id < file.idLimit()) {
        wide[known++] = id;
      }
    }
    long[] kept = java.util.Arrays.copyOf(wide, known);
    return guarded(handle -> TokenizersLibrary.LIB.decode(handle, kept, skipSpecial));
  }

  /** Returns one more than the highest id: model vocabulary and added tokens together. */
  public int vocabularySize() {
    return file.idLimit();
  }

  /** Returns the SHA-256 of the tokenizer file as it stands, in lower-case hexadecimal. */
  public String sourceSha256() {
    return file.sha256();
  }

  @Override
  public void close() {
    Lock writing = lock.writeLock();
    writing.lock();
    try {
      closed = true;
      engine.close();
    } finally {
      writing.unlock();
    }
  }

  private <T> T guarded(LongFunction<T> use) {
    Lock reading = lock.readLock();
    reading.lock();
    try {
      if (closed) {
        throw new IllegalStateException("the tokenizer of " + file.origin() + " is closed");
      }
      return use.apply(engine.getHandle());
    } catch (EspalierException | IllegalStateException e) {
      throw e;
    } catch (RuntimeException e) {
      throw TokenizerFile.malformed(file.origin(), e.getMessage());
    } finally {
      reading.unlock();
    }
  }

  private static int[] narrow(long[] wide) {
    int[] ids = new int[wide.length];
    for (int i = 0; i < wide.length; i++) {
      ids[i] = Math.toIntExact(wide[i]);
    }
    return ids;
  }

  /** Returns {@code text} itself if it is sound, which it nearly always is. */
  private static String withoutLoneSurrogates(String text) {
    StringBuilder sound = null;
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (!Character.isSurrogate(c)) {
        continue;
      }
      boolean pair =
          Character.isHighSurrogate(c)
              && i + 1 < text.length()
              && Character.isLowSurrogate(text.charAt(i + 1));
      if (pair) {
        i++;
        continue;
      }
      if (sound == null) {
        sound = new StringBuilder(text);
      }
      sound.setCharAt(i, '\uFFFD');
    }
    return sound == null ? text : sound.toString();
  }
}
