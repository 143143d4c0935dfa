// SPDX-License-Identifier: Apache-2.0
package espalier.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;

import espalier.Shared;
import espalier.kernel.Eager;
import espalier.model.Model;
import espalier.tensor.Context;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/** A GPT-2 trained to sort six letters sorts every one of the 3⁶ inputs. */
class SortGoldenTest {
  private static final int LETTERS = 3;
  private static final int LENGTH = 6;

  @Test
  void everyInputComesOutSorted() {
    Path folder = Shared.path("models/gpt-nano-sort");
    int right = 0;
    int inputs = (int) Math.pow(LETTERS, LENGTH);
    try (Context context = Context.cpu(1);
        Model model = Model.open(folder, context)) {
      Generator generator = new Generator(model, new Eager(context));
      for (int code = 0; code < inputs; code++) {
        int[] letters = new int[LENGTH];
        for (int i = 0, rest = code; i < LENGTH; i++, rest /= LETTERS) {
          letters[i] = rest % LETTERS;
        }
        List<Integer> sorted = Arrays.stream(letters).sorted().boxed().toList();
        Generation generation = generator.generate(letters, LENGTH, Sampling.GREEDY);
        right += generation.ids().equals(sorted) ? 1 : 0;
      }
    }
    assertEquals(inputs, right);
  }
}
