// SPDX-License-Identifier: Apache-2.0
package espalier.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import espalier.CompressionJob;
import espalier.Espalier;
import espalier.compress.OutputFormat;
import espalier.kernel.Eager;
import espalier.kernel.Program;
import espalier.kernel.Tapped;
import espalier.model.Model;
import espalier.model.PrunedModels;
import espalier.model.TinyModels;
import espalier.report.Event;
import espalier.tensor.Context;
import espalier.tensor.DType;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.function.LongFunction;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A recorded step against the same step run operation by operation: the same bits. */
@Tag("isa")
class DecoderTest {
  private static final int[] TEXT = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9};

  @TempDir Path folder;

  private Model open(TinyModels tiny, Context context) throws IOException {
    return Model.open(tiny.fill().write(folder.resolve("model" + System.nanoTime())), context);
  }

  /** Feeds a prompt of two and the rest of the text token by token, both ways. */
  private static void compare(Model model, Context context, int[] text, int capacity) {
    // An observer is never recorded.
    Tapped observed = new Tapped(new Eager(context), (name, x) -> {});
    LongFunction<Program> programs = position -> new Program(context, position);
    int layers = model.blocks().size();
    try (KvCache cache = new KvCache(layers, capacity);
        KvCache other = new KvCache(layers, capacity);
        Decoder recorded = new Decoder(model, new Eager(context), cache, programs);
        Decoder eager = new Decoder(model, observed, other, programs)) {
      recorded.feed(text[0], text[1]);
      eager.feed(text[0], text[1]);
      for (int i = 2; i < text.length; i++) {
        recorded.feed(text[i]);
        eager.feed(text[i]);
        float[] logits = recorded.logits();
        assertArrayEquals(eager.logits(), logits, "logits at position " + i);
        int[] soFar = java.util.Arrays.copyOf(text, i + 1);
        assertEquals(new Sampler(Sampling.GREEDY).next(logits, soFar, i + 1), recorded.best());
        assertEquals(-1, eager.best());
      }
      assertEquals(other.position(), cache.position());
      assertEquals(List.of(), recorded.events());
    }
  }

  @Test
  void aRecordedStepHasTheBitsOfAnEagerOneInEveryFamily() throws IOException {
    try (Context context = Context.cpu(2)) {
      for (TinyModels tiny :
          List.of(
              TinyModels.llama(),
              TinyModels.mistral(),
              TinyModels.qwen2(),
              TinyModels.qwen3(),
              TinyModels.gpt2())) {
        try (Model model = open(tiny, context)) {
          compare(model, context, TEXT, TEXT.length);
        }
      }
    }
  }

  @Test
  void sparseLinearsAreRecordedToo() throws IOException {
    TinyModels tiny = PrunedModels.structured(TinyModels.llama().stored(DType.BF16).fill(), 2, 4);
    Path source = tiny.write(folder.resolve("pruned"));
    for (String scheme : new String[] {null, "W4A16", "W8A16"}) {
      Path out = folder.resolve("sparse-" + scheme);
      CompressionJob job = Espalier.compress(source).format(OutputFormat.SPARSE).output(out);
      if (scheme != null) {
        job.scheme(scheme).method("rtn").groupSize(4);
      }
      job.run();
      try (Context context = Context.cpu(2);
          Model model = Model.open(out, context)) {
        compare(model, context, TEXT, TEXT.length);
      }
    }
  }

  @Test
  void aGrowingCacheAndGrowingTablesAreRecordedAnew() throws IOException {
    int[] text = new int[600]; // the cache doubles at 64, 128, 256, 512, the tables at 512
    for (int i = 0; i < text.length; i++) {
      text[i] = i * 7 % 24;
    }
    try (Context context = Context.cpu(1);
        Model model = open(TinyModels.llama().with("max_position_embeddings", 1024), context)) {
      compare(model, context, text, 600);
    }
  }

  @Test
  void whatCannotBeRecordedRunsOperationByOperationAndIsAnEvent() throws IOException {
    try (Context context = Context.cpu(1);
        Model model = open(TinyModels.llama().with("eos_token_id", List.of()), context)) {
      int[] prompt = {3, 1, 4};
      Generator plain = new Generator(model, new Eager(context));
      // A program for another position refuses every operation that has one.
      Generator lost =
          new Generator(model, new Eager(context), position -> new Program(context, position + 1));
      Generation generation = lost.generate(prompt, 6, Sampling.GREEDY);
      assertEquals(plain.generate(prompt, 6, Sampling.GREEDY).ids(), generation.ids());
      assertEquals(
          List.of("decode-not-recorded"), generation.events().stream().map(Event::kind).toList());
    }
  }

  @Test
  void aProgramWhoseOperandsAreClosedFailsInJava() throws IOException {
    try (Context context = Context.cpu(1)) {
      Model model = open(TinyModels.llama(), context);
      KvCache cache = new KvCache(model.blocks().size(), 100);
      try (Decoder decoder =
          new Decoder(
              model, new Eager(context), cache, position -> new Program(context, position))) {
        decoder.feed(1);
        cache.close();
        assertThrows(IllegalStateException.class, () -> decoder.feed(2));
      } finally {
        model.close();
      }
    }
  }
}
