// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.layer.Linear;
import java.util.Map;

/** A sink whose content outlives the process, so that another one can go on with it. */
interface DurableSink extends Compression.Sink {
  /** Puts what was accepted so far on the disk. */
  void sync();

  /** Returns CRC-32C checksums of the tensors written so far, by name. */
  Map<String, Long> checksums();

  /**
   * Returns a linear as an earlier process left it in the output; its tensors lie in the current
   * scope or in files that this sink keeps mapped.
   *
   * @param before its dense form in the model
   */
  Linear restored(PlannedLinear planned, Linear before);
}
