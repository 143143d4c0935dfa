// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Which texts go through the model together. */
class BatchesTest {
  private static List<List<Integer>> lengths(long most, int... lengths) {
    List<int[]> texts = Arrays.stream(lengths).mapToObj(int[]::new).toList();
    return Batches.of(texts, most).stream()
        .map(batch -> batch.stream().map(text -> text.length).toList())
        .toList();
  }

  @Test
  void neighboursGoTogetherUpToTheMost() {
    assertEquals(List.of(List.of(4, 6), List.of(1, 2)), lengths(10, 4, 6, 1, 2));
    assertEquals(List.of(List.of(4), List.of(7, 1)), lengths(10, 4, 7, 1));
  }

  @Test
  void aLongerTextGoesAlone() {
    assertEquals(List.of(List.of(3), List.of(30), List.of(3)), lengths(10, 3, 30, 3));
    assertEquals(List.of(List.of(5), List.of(5)), lengths(0, 5, 5));
  }
}
