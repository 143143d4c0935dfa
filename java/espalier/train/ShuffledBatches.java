// SPDX-License-Identifier: Apache-2.0
package espalier.train;

import java.util.List;

/**
 * Batches of a fixed number of sequences in an order that a seed gives, another one in every epoch.
 * An epoch's last sequences that do not fill a batch are left out of it; those are other ones each
 * time.
 *
 * @param sequences at least one; fewer than {@code size} are repeated to fill a batch
 * @param size sequences of a batch
 */
public record ShuffledBatches(List<Sequence> sequences, int size, long seed) implements Batches {
  public ShuffledBatches {
    sequences = List.copyOf(sequences);
    if (sequences.isEmpty() || size < 1) {
      throw new IllegalArgumentException(sequences.size() + " sequences in batches of " + size);
    }
  }

  /** Returns how many batches one epoch has. */
  public long batchesPerEpoch() {
    return Math.max(1, sequences.size() / size);
  }

  @Override
  public Batch at(long index) {
    long perEpoch = batchesPerEpoch();
    int[] order = order(index / perEpoch);
    int first = Math.toIntExact(index % perEpoch * size);
    Sequence[] chosen = new Sequence[size];
    int tokens = 0;
    for (int s = 0; s < size; s++) {
      chosen[s] = sequences.get(order[(first + s) % order.length]);
      tokens += chosen[s].ids().length;
    }
    return batch(chosen, tokens);
  }

  /** Returns these sequences as a batch. */
  static Batch batch(Sequence[] chosen, int tokens) {
    int[] ids = new int[tokens];
    int[] targets = new int[tokens];
    int[] lengths = new int[chosen.length];
    int at = 0;
    for (int s = 0; s < chosen.length; s++) {
      lengths[s] = chosen[s].ids().length;
      for (int i = 0; i < lengths[s]; i++, at++) {
        ids[at] = chosen[s].ids()[i];
        targets[at] = chosen[s].target(i);
      }
    }
    return new Batch(ids, targets, lengths);
  }

  /** The order of an epoch: Fisher–Yates with numbers of splitmix64. */
  private int[] order(long epoch) {
    int[] order = new int[sequences.size()];
    long state = mixed(seed + mixed(epoch));
    for (int i = 0; i < order.length; i++) {
      state += 0x9E3779B97F4A7C15L;
      // i + 1 is far below 2^32: the bias of a remainder of 63 bits cannot be seen.
      int j = (int) ((mixed(state) >>> 1) % (i + 1));
      order[i] = order[j];
      order[j] = i;
    }
    return order;
  }

  private static long mixed(long z) {
    z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
    z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
    return z ^ (z >>> 31);
  }
}
