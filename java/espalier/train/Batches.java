// SPDX-License-Identifier: Apache-2.0
package espalier.train;

/**
 * The batches of a run by their number: a pure function, so that a run that goes on after an
 * interruption sees what it would have seen.
 */
public interface Batches {
  /** Returns batch {@code index}, counted from 0; defined for every index. */
  Batch at(long index);
}
