// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import espalier.report.EspalierException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.function.Supplier;

/**
 * A file of calibration or evaluation text, read on demand.
 *
 * <ul>
 *   <li>JSONL ({@code .jsonl}, {@code .ndjson}, {@code .json}, or a file of another name whose
 *       first line with anything on it starts with an opening brace): one document a line, from the
 *       key {@code text} (as it stands), {@code messages} (through the chat template) or {@code
 *       input_ids} (taken as they are). Blank lines are skipped, other keys ignored; a blank text
 *       is a text.
 *   <li>Anything else is plain text: the whole file is one document.
 * </ul>
 *
 * <p>Text is UTF-8; a byte-order mark at the start is dropped. Holds no open file between calls;
 * the tokenizer stays the caller's.
 */
public final class TextData {
  /** Between the texts of a file that is read as one stream. */
  private static final String BETWEEN = "\n\n";

  private final Path file;
  private final boolean rows;
  private final Supplier<Tokenizer> tokenizer; // gives null for a model without one
  private final Supplier<ChatTemplate> template;

  private TextData(
      Path file, boolean rows, Supplier<Tokenizer> tokenizer, Supplier<ChatTemplate> template) {
    this.file = file;
    this.rows = rows;
    this.tokenizer = tokenizer;
    this.template = template;
  }

  /**
   * Opens a file, looking only at its first bytes.
   *
   * @param tokenizer null for a model without one, which can then only read {@code input_ids}
   * @param template asked at the first row of messages; may throw or return null if the model has
   *     no chat template
   * @throws EspalierException INPUT if the file is missing, UNSUPPORTED if it is packed or binary
   */
  public static TextData open(Path file, Tokenizer tokenizer, Supplier<ChatTemplate> template) {
    return openLazily(file, () -> tokenizer, template);
  }

  /** Does the same with a tokenizer that is asked for at the first row of text. */
  public static TextData openLazily(
      Path file, Supplier<Tokenizer> tokenizer, Supplier<ChatTemplate> template) {
    if (!Files.isRegularFile(file)) {
      throw EspalierException.input(
          file + (Files.isDirectory(file) ? " is a folder, not a file" : " does not exist"),
          "give a .jsonl or .txt file");
    }
    refusePacked(file);
    return new TextData(file, holdsRows(file), tokenizer, template);
  }

  private static void refusePacked(Path file) {
    byte[] head;
    try (var in = Files.newInputStream(file)) {
      head = in.readNBytes(6);
    } catch (IOException e) {
      throw Lines.unreadable(file, e);
    }
    String what = "";
    if (startsWith(head, 0x1F, 0x8B)) {
      what = "gzip";
    } else if (startsWith(head, 0x28, 0xB5, 0x2F, 0xFD)) {
      what = "zstd";
    } else if (startsWith(head, 'B', 'Z', 'h')
        && head.length > 4
        && head[3] >= '1'
        && head[3] <= '9'
        && head[4] == '1') {
      what = "bzip2";
    } else if (startsWith(head, 0xFD, '7', 'z', 'X', 'Z', 0)) {
      what = "xz";
    } else if (startsWith(head, '7', 'z', 0xBC, 0xAF)) {
      what = "7-Zip";
    } else if (startsWith(head, 'A', 'R', 'R', 'O', 'W', '1')) {
      what = "Arrow";
    } else if (startsWith(head, 'P', 'A', 'R', '1')) {
      what = "Parquet";
    } else if (startsWith(head, 'P', 'K', 3, 4)) {
      what = "zip";
    } else if (startsWith(head, 0xFF, 0xFE) || startsWith(head, 0xFE, 0xFF)) {
      what = "UTF-16";
    }
    if (!what.isEmpty()) {
      throw EspalierException.unsupported(
          file + " is " + what + ", not UTF-8 text", "unpack or convert it to JSONL first");
    }
  }

  private static boolean startsWith(byte[] head, int... magic) {
    for (int i = 0; i < magic.length; i++) {
      if (i >= head.length || (head[i] & 0xFF) != magic[i]) {
        return false;
      }
    }
    return true;
  }

  private static boolean holdsRows(Path file) {
    String name = file.getFileName().toString().toLowerCase(Locale.ROOT);
    if (name.endsWith(".jsonl") || name.endsWith(".ndjson") || name.endsWith(".json")) {
      return true;
    }
    if (name.endsWith(".txt") || name.endsWith(".md")) {
      return false;
    }
    try (Lines lines = new Lines(file)) {
      String line = lines.next();
      while (line != null && line.isBlank()) {
        line = lines.next();
      }
      return line != null && line.stripLeading().startsWith("{");
    }
  }

  /** Returns the file. */
  public Path file() {
    return file;
  }

  /**
   * Returns every document, whole.
   *
   * @throws EspalierException INPUT naming the line if the file is not what it should be or holds
   *     no document
   */
  public Samples documents() {
    return documents(Integer.MAX_VALUE, Integer.MAX_VALUE, 0);
  }

  /**
   * Returns the first {@code limit} documents, each cut to its first {@code maxLength} tokens. Rows
   * after those are counted but not read.
   *
   * @throws EspalierException INPUT as {@link #documents()}, USAGE if a bound is below 1
   */
  public Samples documents(int limit, int maxLength) {
    if (limit < 1 || maxLength < 1) {
      throw EspalierException.usage(
          "cannot take " + limit + " documents of " + maxLength + " tokens", "take 1 or more");
    }
    return documents(limit, maxLength, limit);
  }

  private Samples documents(int limit, int maxLength, int requested) {
    List<Document> documents = new ArrayList<>();
    int shortened = 0;
    long available = 0;
    try (Rows source = new Rows()) {
      while (source.more()) {
        available++;
        if (documents.size() == limit) {
          continue;
        }
        TextRow row = source.row();
        int[] ids = ids(row);
        if (ids.length > maxLength) {
          ids = Arrays.copyOf(ids, maxLength);
          shortened++;
        }
        documents.add(new Document(ids, row.line()));
      }
    }
    if (documents.isEmpty()) {
      throw empty();
    }
    return new Samples(List.copyOf(documents), available, requested, shortened, file, tokenizer);
  }

  private EspalierException empty() {
    return EspalierException.input(
        file + " holds no text", "give a file with at least one document");
  }

  /**
   * Returns the file as one sequence of ids. Plain text is encoded as it stands; the texts of JSONL
   * are joined by two newlines and encoded at once, so that special tokens come once. If a row
   * holds messages or ids, the ids of all rows follow one another instead.
   *
   * @throws EspalierException INPUT as {@link #documents()}
   */
  public int[] joinedStream() {
    StringBuilder joined = new StringBuilder();
    boolean any = false;
    try (Rows source = new Rows()) {
      while (source.more()) {
        TextRow row = source.row();
        if (row.text() == null) {
          return Arrays.stream(documents().ids()).flatMapToInt(Arrays::stream).toArray();
        }
        requireTokenizer(row.line());
        joined.append(any ? BETWEEN : "").append(row.text());
        any = true;
      }
    }
    if (!any) {
      throw empty();
    }
    return tokenizer.get().encode(joined.toString());
  }

  /**
   * Refuses a token of {@link #joinedStream()} that the embedding has no row for; {@link
   * Samples#requireRows} does the same for documents.
   *
   * @throws EspalierException INPUT naming the token and the line it is on
   */
  public void requireRows(int[] stream, long embeddingRows) {
    for (int id : stream) {
      if (id < 0 || id >= embeddingRows) {
        if (rows) {
          documents().requireRows(embeddingRows); // finds the line, where one row alone has it
        }
        throw Samples.missingRow(file, 1, id, embeddingRows, tokenizer.get());
      }
    }
  }

  private void requireTokenizer(int line) {
    if (tokenizer.get() == null) {
      throw EspalierException.input(
          file + ", line " + line + " holds text, but the model has no tokenizer",
          "add tokenizer.json to the model folder, or give token ids under the key input_ids");
    }
  }

  private int[] ids(TextRow row) {
    if (row.ids() != null) {
      return row.ids();
    }
    requireTokenizer(row.line());
    if (row.text() != null) {
      return tokenizer.get().encode(row.text());
    }
    try {
      ChatTemplate chat = template == null ? null : template.get();
      if (chat == null) {
        throw EspalierException.input(
            "these are messages, but the model has no chat template",
            "add chat_template.jinja to the model folder, or give texts under the key text");
      }
      return chat.encode(tokenizer.get(), chat.render(row.messages(), false));
    } catch (EspalierException e) {
      String message = file + ", line " + row.line() + ": " + e.getMessage();
      throw new EspalierException(e.kind(), message, e.advice(), e);
    }
  }

  /** The documents of the file before they are tokens. */
  private final class Rows implements AutoCloseable {
    private final Lines lines = rows ? new Lines(file) : null;
    private String line;
    private boolean begun;

    /** Moves to the next document; false after the last. */
    boolean more() {
      if (!rows) {
        line = begun ? null : Lines.whole(file);
        begun = true;
        return line != null && !line.isEmpty();
      }
      do {
        line = lines.next();
      } while (line != null && line.isBlank());
      return line != null;
    }

    TextRow row() {
      return rows ? TextRow.parse(file, lines.number(), line) : new TextRow(line, null, null, 1);
    }

    @Override
    public void close() {
      if (lines != null) {
        lines.close();
      }
    }
  }
}
