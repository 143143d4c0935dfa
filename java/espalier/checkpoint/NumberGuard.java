// SPDX-License-Identifier: Apache-2.0
package espalier.checkpoint;

import com.fasterxml.jackson.core.exc.StreamConstraintsException;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;

/**
 * JSON bytes that end with an error inside an absurdly long number. Jackson checks the length of a
 * number only after it has buffered every digit, so that a number of 100 MB would fill the heap.
 */
final class NumberGuard extends FilterInputStream {
  private static final int MAX_DIGITS = 1000;

  private boolean inString;
  private boolean escaped;
  private int digits;

  NumberGuard(InputStream json) {
    super(json);
  }

  @Override
  public int read() throws IOException {
    int next = in.read();
    if (next >= 0) {
      check((byte) next);
    }
    return next;
  }

  @Override
  public int read(byte[] bytes, int from, int length) throws IOException {
    int count = in.read(bytes, from, length);
    for (int i = 0; i < count; i++) {
      check(bytes[from + i]);
    }
    return count;
  }

  private void check(byte next) throws StreamConstraintsException {
    if (inString) {
      inString = escaped || next != '"';
      escaped = !escaped && next == '\\';
    } else if (next >= '0' && next <= '9') {
      if (++digits > MAX_DIGITS) {
        throw new StreamConstraintsException("a number of more than " + MAX_DIGITS + " digits");
      }
    } else {
      digits = 0;
      inString = next == '"';
    }
  }
}
