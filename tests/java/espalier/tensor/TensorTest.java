// SPDX-License-Identifier: Apache-2.0
package espalier.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class TensorTest {
  private final Storage storage = Storage.allocate(96);

  @AfterEach
  void free() {
    storage.close();
  }

  @Test
  void rowsAndReshapeShareTheBytes() {
    Tensor tensor =
        new Tensor(storage, 0, DType.F32, Shape.of(3, 2)).fill(new float[] {0, 1, 2, 3, 4, 5});
    assertArrayEquals(new float[] {2, 3}, tensor.rows(1, 2).toFloats());
    assertEquals(Shape.of(0, 2), tensor.rows(3, 3).shape());
    assertEquals(tensor.address(), tensor.reshape(6).address());
    assertEquals(2, tensor.dimension(-1));
    assertThrows(IndexOutOfBoundsException.class, () -> tensor.rows(2, 4));
    assertThrows(IllegalArgumentException.class, () -> tensor.reshape(5));
  }

  @Test
  void viewsOutsideTheStorageAreRefused() {
    Shape all = Shape.of(24);
    assertEquals(96, new Tensor(storage, 0, DType.F32, all).sizeBytes());
    assertThrows(IllegalArgumentException.class, () -> new Tensor(storage, 1, DType.F32, all));
    assertThrows(
        IllegalArgumentException.class, () -> new Tensor(storage, -4, DType.F32, Shape.of(1)));
    assertThrows(
        IllegalArgumentException.class, () -> new Tensor(storage, 97, DType.F32, Shape.of(0)));
  }

  @Test
  void wrongTypesAndLengthsAreRefused() {
    Tensor ints = new Tensor(storage, 0, DType.I32, Shape.of(2)).fill(new int[] {7, -7});
    assertArrayEquals(new int[] {7, -7}, ints.toInts());
    assertThrows(IllegalArgumentException.class, ints::toFloats);
    assertThrows(IllegalArgumentException.class, () -> ints.fill(new int[3]));
    assertThrows(IllegalArgumentException.class, () -> ints.fill(new byte[7]));
    assertThrows(IndexOutOfBoundsException.class, () -> ints.buffer(5, 4));
  }

  @Test
  void shapesCountExactly() {
    assertEquals(1, Shape.of().elements());
    assertEquals(0, Shape.of(3, 0, 5).elements());
    assertEquals(Shape.of(2, 3), Shape.of(2, 3));
    assertNotEquals(Shape.of(2, 3), Shape.of(3, 2));
    assertThrows(IllegalArgumentException.class, () -> Shape.of(-1));
    assertThrows(ArithmeticException.class, () -> Shape.of(1L << 32, 1L << 32));
  }

  @Test
  void typesKnowTheirBytes() {
    for (DType type : DType.values()) {
      assertEquals(type.bits(), type.bytes(8));
      assertEquals(type, DType.named(type.name()).orElseThrow());
    }
    assertTrue(DType.named("f32").isEmpty());
    assertThrows(ArithmeticException.class, () -> DType.F4.bytes(3));
    assertThrows(ArithmeticException.class, () -> DType.F6_E2M3.bytes(2));
    assertThrows(ArithmeticException.class, () -> DType.F64.bytes(1L << 60));
  }

  @Test
  void scopesFreeWhatTheyAllocatedAndKeepWhatTheyWereTold() {
    Tensor kept;
    Tensor dropped;
    Tensor released;
    try (Context context = Context.cpu(1)) {
      try (Context.Scope scope = context.scope()) {
        dropped = context.allocate(DType.F32, 4);
        kept = scope.keep(context.floats(new float[] {1, 2}, 2));
        released = scope.release(context.ints(new int[] {3}, 1));
        try (Context.Scope inner = context.scope()) {
          inner.keep(context.allocate(DType.U8, 1));
          assertThrows(IllegalStateException.class, () -> scope.keep(dropped));
          assertThrows(IllegalStateException.class, scope::close);
        }
      }
      assertThrows(IllegalStateException.class, dropped::address);
      assertArrayEquals(new float[] {1, 2}, kept.toFloats());
    }
    assertThrows(IllegalStateException.class, kept::address);
    assertArrayEquals(new int[] {3}, released.toInts());
    released.storage().close();
  }
}
