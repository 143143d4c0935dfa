// SPDX-License-Identifier: Apache-2.0
package espalier.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.kernel.Eager;
import espalier.model.Model;
import espalier.model.Past;
import espalier.model.TinyModels;
import espalier.report.EspalierException;
import espalier.report.EspalierException.Kind;
import espalier.runtime.Generation.Finish;
import espalier.tensor.Context;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Generation on a tiny random model of this project's own. */
@Tag("isa")
@SuppressWarnings("try") // scopes are opened to be closed
class GeneratorTest {
  private static final int[] PROMPT = {3, 1, 4};

  @TempDir Path folder;
  private Context context;
  private Model model;
  private Generator generator;

  @BeforeEach
  void open() throws IOException {
    context = Context.cpu(1);
    open(TinyModels.llama().with("eos_token_id", List.of())); // random weights stop anywhere
  }

  private void open(TinyModels tiny) throws IOException {
    Path written = tiny.fill().write(folder.resolve("model" + System.nanoTime()));
    model = Model.open(written, context);
    generator = new Generator(model, new Eager(context));
  }

  @AfterEach
  void close() {
    model.close();
    context.close();
  }

  @Test
  void decodingThroughTheCacheEqualsRunningTheWholeTextEachTime() {
    List<Integer> ids = generator.generate(PROMPT, 8, Sampling.GREEDY).ids();
    List<Integer> text = new ArrayList<>(List.of(3, 1, 4));
    for (int id : ids) {
      int[] all = text.stream().mapToInt(Integer::intValue).toArray();
      try (Context.Scope scope = context.scope()) {
        float[] logits =
            model
                .forward(new Eager(context), context.ints(all, all.length), Past.NONE)
                .rows(all.length - 1L, all.length)
                .toFloats();
        assertEquals(new Sampler(Sampling.GREEDY).next(logits, all, all.length), id);
      }
      text.add(id);
    }
  }

  @Test
  void aStopTokenEndsTheTextAndIsNotHeard() throws IOException {
    List<Integer> free = generator.generate(PROMPT, 8, Sampling.GREEDY).ids();
    int stop = free.get(free.size() - 1);
    int first = free.indexOf(stop);
    model.close();
    open(TinyModels.llama().with("eos_token_id", stop));
    List<Integer> heard = new ArrayList<>();
    Generation generation = generator.generate(PROMPT, 8, Sampling.GREEDY, heard::add, () -> false);
    assertEquals(Finish.STOP, generation.finish());
    assertEquals(free.subList(0, first + 1), generation.ids());
    assertEquals(free.subList(0, first), heard);
  }

  @Test
  void theContextIsFilledToTheLastPosition() {
    int context = model.contextLength();
    Generation generation = generator.generate(PROMPT, context * 2, Sampling.GREEDY);
    if (generation.finish() != Finish.STOP) {
      assertEquals(Finish.CONTEXT, generation.finish());
      assertEquals(context + 1 - PROMPT.length, generation.ids().size());
    }
  }

  @Test
  void cancellationKeepsWhatIsThere() {
    List<Integer> heard = new ArrayList<>();
    Generation generation =
        generator.generate(PROMPT, 8, Sampling.GREEDY, heard::add, () -> heard.size() == 2);
    assertEquals(Finish.CANCELLED, generation.finish());
    assertEquals(heard, generation.ids());
  }

  @Test
  void theSeedDecides() {
    Sampling hot = new Sampling(false, 5, 0, 1, 1, 11);
    List<Integer> ids = generator.generate(PROMPT, 12, hot).ids();
    assertEquals(ids, generator.generate(PROMPT, 12, hot).ids());
    assertNotEquals(ids, generator.generate(PROMPT, 12, new Sampling(false, 5, 0, 1, 1, 12)).ids());
  }

  @Test
  void promptsThatCannotBeRunAreRefused() {
    assertEquals(Kind.USAGE, refusal().kind());
    assertEquals(Kind.USAGE, refusal(new int[model.contextLength() + 1]).kind());
    EspalierException missing = refusal(0, (int) model.vocabulary());
    assertEquals(Kind.INPUT, missing.kind());
    assertTrue(missing.getMessage().contains(String.valueOf(model.vocabulary())));
  }

  private EspalierException refusal(int... prompt) {
    return assertThrows(
        EspalierException.class, () -> generator.generate(prompt, 1, Sampling.GREEDY));
  }
}
