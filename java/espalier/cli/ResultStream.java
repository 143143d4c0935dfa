// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import espalier.report.EspalierException;
import java.io.FilterOutputStream;
import java.io.IOException;
import java.io.OutputStream;

/**
 * Standard output that remembers why it could not be written: the print stream around it swallows
 * errors, and a result that went nowhere is no success. A reader that has seen enough and went away
 * ({@code … | head}) is no error.
 */
final class ResultStream extends FilterOutputStream {
  private IOException fault;

  ResultStream(OutputStream out) {
    super(out);
  }

  /** Returns the failure (RESOURCE) to report, or null when everything was written or unwanted. */
  EspalierException lost() {
    if (fault == null || String.valueOf(fault.getMessage()).contains("Broken pipe")) {
      return null;
    }
    return EspalierException.resource(
        "the result cannot be written to standard output: " + fault.getMessage(),
        "Free some disk space, or write the result elsewhere.",
        fault);
  }

  @Override
  public void write(int b) throws IOException {
    write(new byte[] {(byte) b}, 0, 1);
  }

  @Override
  public void write(byte[] bytes, int from, int count) throws IOException {
    try {
      out.write(bytes, from, count);
    } catch (IOException e) {
      fault = e;
      throw e;
    }
  }
}
