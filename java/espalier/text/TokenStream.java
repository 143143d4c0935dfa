// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;

/** Names a sequence of token ids, so that two runs can show they saw the same ones. */
public final class TokenStream {
  /** Ids hashed at a time: 16 KiB. */
  private static final int CHUNK = 4096;

  private TokenStream() {}

  /**
   * Returns the SHA-256, in lower-case hexadecimal, of all ids in order, each as four bytes, the
   * lowest first. Where one array ends and the next begins does not count.
   */
  public static String sha256(int[]... sequences) {
    MessageDigest digest;
    try {
      digest = MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError("every Java platform has SHA-256", e);
    }
    ByteBuffer bytes = ByteBuffer.allocate(4 * CHUNK).order(ByteOrder.LITTLE_ENDIAN);
    for (int[] ids : sequences) {
      for (int from = 0; from < ids.length; from += CHUNK) {
        int count = Math.min(CHUNK, ids.length - from);
        bytes.clear();
        bytes.asIntBuffer().put(ids, from, count);
        digest.update(bytes.array(), 0, 4 * count);
      }
    }
    return HexFormat.of().formatHex(digest.digest());
  }
}
