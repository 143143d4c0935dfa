// SPDX-License-Identifier: Apache-2.0
package espalier.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.model.Past.KeysValues;
import espalier.report.EspalierException;
import espalier.tensor.Context;
import espalier.tensor.Tensor;
import org.junit.jupiter.api.Test;

class KvCacheTest {
  private static final int WIDTH = 3;

  /** Rows [from, from + count) whose entries count up, so that a lost or doubled row shows. */
  private static Tensor rows(Context context, int from, int count, float sign) {
    float[] values = new float[count * WIDTH];
    for (int i = 0; i < values.length; i++) {
      values[i] = sign * (from * WIDTH + i);
    }
    return context.floats(values, count, WIDTH);
  }

  @Test
  void everyRowComesBackHoweverItGrew() {
    try (Context context = Context.cpu(1);
        KvCache cache = new KvCache(2, 500)) {
      int at = 0;
      for (int step : new int[] {5, 1, 1, 70, 1, 200, 1, 221}) {
        for (int layer = 0; layer < 2; layer++) {
          KeysValues all =
              cache.append(
                  layer, rows(context, at, step, 1 + layer), rows(context, at, step, -1 - layer));
          int end = at + step;
          assertArrayEquals(rows(context, 0, end, 1 + layer).toFloats(), all.keys().toFloats());
          assertArrayEquals(rows(context, 0, end, -1 - layer).toFloats(), all.values().toFloats());
        }
        assertEquals(at, cache.position());
        cache.advance(step);
        at += step;
      }
      assertEquals(500, cache.position());
    }
  }

  @Test
  void memoryIsOnlyWhatTheTextNeeds() {
    try (Context context = Context.cpu(1);
        KvCache cache = new KvCache(1, 1_000_000)) {
      assertEquals(0, cache.sizeBytes());
      cache.append(0, rows(context, 0, 2, 1), rows(context, 0, 2, 1));
      assertTrue(cache.sizeBytes() < 4096, () -> cache.sizeBytes() + " bytes for two tokens");
    }
  }

  @Test
  void aRewoundCacheIsOverwritten() {
    try (Context context = Context.cpu(1);
        KvCache cache = new KvCache(1, 8)) {
      cache.append(0, rows(context, 0, 4, 1), rows(context, 0, 4, 1));
      cache.advance(4);
      cache.rewind(1);
      KeysValues all = cache.append(0, rows(context, 1, 1, 1), rows(context, 1, 1, 1));
      assertArrayEquals(rows(context, 0, 2, 1).toFloats(), all.keys().toFloats());
    }
  }

  @Test
  void whatDoesNotFitIsRefused() {
    try (Context context = Context.cpu(1);
        KvCache cache = new KvCache(1, 4)) {
      Tensor five = rows(context, 0, 5, 1);
      assertThrows(EspalierException.class, () -> cache.append(0, five, five));
      assertThrows(IllegalArgumentException.class, () -> cache.advance(5));
      assertThrows(IllegalArgumentException.class, () -> new KvCache(1, 0));
    }
  }

  @Test
  void aClosedCacheFailsInJava() {
    try (Context context = Context.cpu(1)) {
      KvCache cache = new KvCache(1, 4);
      Tensor row = rows(context, 0, 1, 1);
      cache.append(0, row, row);
      cache.close();
      cache.close();
      assertThrows(IllegalStateException.class, () -> cache.append(0, row, row));
    }
  }
}
