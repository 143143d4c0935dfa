// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import espalier.report.EspalierException;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CoderResult;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * The lines of a UTF-8 file, one at a time. Only LF ends a line (JSON text may hold every other
 * separator); a CR before it and a byte-order mark at the start are not part of the text. Invalid
 * UTF-8 is an error with its line, never a replacement character.
 */
final class Lines implements AutoCloseable {
  private static final int BUFFER = 1 << 16;

  /** A text this long makes some 250 million tokens; its characters take twice the bytes. */
  private static final long MAX_WHOLE_BYTES = 1L << 30;

  private final Path file;
  private final InputStream in;
  private final byte[] buffer = new byte[BUFFER];
  private int at;
  private int limit;
  private int number;

  Lines(Path file) {
    this.file = file;
    try {
      this.in = Files.newInputStream(file);
    } catch (IOException e) {
      throw unreadable(file, e);
    }
  }

  static EspalierException unreadable(Path file, IOException e) {
    return EspalierException.input(
        "cannot read " + file + ": " + e, "check the file's name and rights");
  }

  /** Returns the number of the line last returned, from 1. */
  int number() {
    return number;
  }

  /** Returns the next line without its end, or null after the last. */
  String next() {
    ByteArrayOutputStream line = new ByteArrayOutputStream();
    boolean any = false;
    try {
      while (true) {
        if (at == limit) {
          limit = Math.max(0, in.read(buffer));
          at = 0;
          if (limit == 0) {
            if (!any) {
              return null;
            }
            break;
          }
        }
        any = true;
        int end = at;
        while (end < limit && buffer[end] != '\n') {
          end++;
        }
        line.write(buffer, at, end - at);
        at = end;
        if (end < limit) {
          at++;
          break;
        }
      }
    } catch (IOException e) {
      throw unreadable(file, e);
    }
    number++;
    byte[] bytes = line.toByteArray();
    boolean returned = bytes.length > 0 && bytes[bytes.length - 1] == '\r';
    String text = text(bytes, bytes.length - (returned ? 1 : 0));
    return number == 1 ? withoutMark(text) : text;
  }

  private String text(byte[] bytes, int length) {
    return decoded(file, number, ByteBuffer.wrap(bytes, 0, length));
  }

  /** Returns a whole file, its line ends as they stand, without a byte-order mark. */
  static String whole(Path file) {
    try {
      if (Files.size(file) > MAX_WHOLE_BYTES) {
        throw EspalierException.input(
            file + " is one text of more than " + (MAX_WHOLE_BYTES >> 20) + " MiB",
            "split it into a JSONL file of many texts");
      }
      return withoutMark(decoded(file, 1, ByteBuffer.wrap(Files.readAllBytes(file))));
    } catch (IOException e) {
      throw unreadable(file, e);
    }
  }

  private static String decoded(Path file, int firstLine, ByteBuffer bytes) {
    CharBuffer text = CharBuffer.allocate(bytes.remaining()); // a byte is at most one char
    CoderResult result =
        StandardCharsets.UTF_8
            .newDecoder()
            .onMalformedInput(CodingErrorAction.REPORT)
            .onUnmappableCharacter(CodingErrorAction.REPORT)
            .decode(bytes, text, true);
    if (result.isError()) {
      int line = firstLine;
      for (int i = 0; i < bytes.position(); i++) {
        line += bytes.get(i) == '\n' ? 1 : 0;
      }
      throw EspalierException.input(
          file + ", line " + line + " is not valid UTF-8",
          "convert the file with: iconv -f ENCODING -t UTF-8");
    }
    return text.flip().toString();
  }

  static String withoutMark(String text) {
    return text.startsWith("\uFEFF") ? text.substring(1) : text;
  }

  @Override
  public void close() {
    try {
      in.close();
    } catch (IOException e) {
      throw unreadable(file, e);
    }
  }
}
