// SPDX-License-Identifier: Apache-2.0
package espalier.runtime;

import espalier.internal.Abi;
import espalier.internal.Native;
import espalier.kernel.Eager;
import espalier.kernel.Program;
import espalier.model.Model;
import espalier.model.TinyModels;
import espalier.tensor.Context;
import espalier.tensor.Tensor;
import java.io.IOException;
import java.lang.reflect.Field;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Locale;

/**
 * What Java adds to a decoded token: a recorded step of a model with the layers of a 1B Llama (16;
 * their width only matters to the native part, and is small), run through {@link Program#run} and,
 * in turns, by its native call alone. Prints one line: nanoseconds, medians.
 *
 * <pre>java -cp ... espalier.runtime.ProgramBench</pre>
 */
@SuppressWarnings("try") // scopes are opened to be closed, not to be named
final class ProgramBench {
  private static final int LAYERS = 16;
  private static final int POSITION = 8;
  private static final int ROUNDS = 20_000;
  private static final int CROSSINGS =
      1_000; // timed together: one is shorter than the clock's tick

  private ProgramBench() {}

  public static void main(String[] none) throws IOException, ReflectiveOperationException {
    Path folder = Files.createTempDirectory("program-bench");
    TinyModels.llama().with("num_hidden_layers", LAYERS).fill().write(folder.resolve("model"));
    try (Context context = Context.cpu(1);
        Model model = Model.open(folder.resolve("model"), context);
        KvCache cache = new KvCache(LAYERS, 64);
        Program program = new Program(context, POSITION)) {
      try (Context.Scope scope = context.scope()) {
        model.hidden(new Eager(context), context.ints(new int[POSITION], POSITION), cache);
        cache.advance(POSITION);
      }
      Tensor hidden = model.hidden(program, program.token(), cache.recorded(program));
      program.argMax(model.logits(program, hidden));
      Field field = Program.class.getDeclaredField("handle");
      field.setAccessible(true);
      long handle = field.getLong(program);
      long[] whole = new long[ROUNDS];
      long[] bare = new long[ROUNDS];
      long[] crossing = new long[ROUNDS];
      for (int i = 0; i < 2 * ROUNDS; i++) { // the first half warms up
        int at = i % ROUNDS;
        long start = System.nanoTime();
        program.run(i % 16, POSITION);
        long middle = System.nanoTime();
        Native.check(Abi.esp_program_run(handle, POSITION));
        whole[at] = middle - start;
        bare[at] = System.nanoTime() - middle;
      }
      long sum = 0;
      for (int i = 0; i < ROUNDS; i++) {
        long start = System.nanoTime();
        for (int j = 0; j < CROSSINGS; j++) {
          sum += Abi.esp_variant_count();
        }
        crossing[i] = System.nanoTime() - start;
      }
      double native1 = (double) median(crossing) / CROSSINGS;
      System.out.printf(
          Locale.ROOT,
          "%d layers, %d native operations in one call: whole token %d ns, the call alone %d ns,"
              + " crossing into native code %.0f ns: Java's share %.0f ns%s%n",
          LAYERS,
          program.calls(),
          median(whole),
          median(bare),
          native1,
          median(whole) - median(bare) + native1,
          sum == 0 ? "!" : "");
    }
  }

  private static long median(long[] values) {
    Arrays.sort(values);
    return values[values.length / 2];
  }
}
