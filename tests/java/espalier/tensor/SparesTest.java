// SPDX-License-Identifier: Apache-2.0
package espalier.tensor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

/** What a context makes of memory that was used. */
class SparesTest {
  private static final int ROWS = 1 << 16;

  private static Storage used(Context context, long rows) {
    try (Context.Scope scope = context.scope()) {
      return context.blank(DType.F32, rows).storage();
    }
  }

  @Test
  void memoryComesBackForResultsOfAboutItsSize() {
    try (Context context = Context.cpu(1);
        Spares spares = context.keepMemory(1 << 24)) {
      Storage first = used(context, ROWS);
      assertSame(first, used(context, ROWS));
      assertSame(first, used(context, ROWS - 100));
      assertNotSame(first, used(context, 2 * ROWS));
      assertNotSame(first, used(context, ROWS / 4));
      assertSame(first, used(context, ROWS));
    }
  }

  @Test
  void whatWasAllocatedElsewhereIsFreed() {
    try (Context context = Context.cpu(1);
        Spares spares = context.keepMemory(1 << 24)) {
      Storage other;
      try (Context.Scope scope = context.scope()) {
        other = context.allocate(DType.F32, ROWS).storage();
      }
      assertFalse(other.isOpen());
    }
  }

  @Test
  void theOldestGoesWhenThereIsTooMuch() {
    try (Context context = Context.cpu(1);
        Spares spares = context.keepMemory(3L * ROWS * Float.BYTES)) {
      Storage small = used(context, ROWS);
      Storage large = used(context, 2 * ROWS);
      assertTrue(small.isOpen());
      Storage larger = used(context, 3 * ROWS);
      assertFalse(small.isOpen());
      assertFalse(large.isOpen());
      assertTrue(larger.isOpen());
    }
  }

  @Test
  void whatIsInUseOutlivesTheSpares() {
    try (Context context = Context.cpu(1)) {
      Tensor inUse;
      Storage unused;
      try (Spares spares = context.keepMemory(1 << 24)) {
        unused = used(context, 2 * ROWS);
        inUse = context.blank(DType.F32, ROWS);
        assertThrows(IllegalStateException.class, () -> context.keepMemory(1));
      }
      assertFalse(unused.isOpen());
      assertEquals(ROWS, inUse.fill(new float[ROWS]).toFloats().length);
      context.retire(inUse.storage());
      assertFalse(inUse.storage().isOpen());
      assertFalse(used(context, ROWS).isOpen());
    }
  }
}
