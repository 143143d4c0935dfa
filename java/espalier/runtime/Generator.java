// SPDX-License-Identifier: Apache-2.0
package espalier.runtime;

import espalier.kernel.Ops;
import espalier.kernel.Program;
import espalier.model.Model;
import espalier.report.EspalierException;
import espalier.report.Event;
import espalier.runtime.Generation.Finish;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.function.BooleanSupplier;
import java.util.function.IntConsumer;
import java.util.function.LongFunction;

/**
 * Continues a text token by token: one prefill over the prompt, then decode steps of one token,
 * both through the same blocks; the {@link Decoder} records the latter. It owns nothing; the model
 * and the operations stay the caller's.
 */
public final class Generator {
  private final Model model;
  private final Ops ops;
  private final LongFunction<Program> programs;
  private final Set<Integer> stopTokens;

  public Generator(Model model, Ops ops) {
    this(model, ops, position -> new Program(ops.context(), position));
  }

  /** Creates a generator with programs of its own making. */
  Generator(Model model, Ops ops, LongFunction<Program> programs) {
    this.model = model;
    this.ops = ops;
    this.programs = programs;
    this.stopTokens = Set.copyOf(model.stopTokens());
  }

  /** Generates without a listener or cancellation. */
  public Generation generate(int[] prompt, int tokens, Sampling sampling) {
    return generate(prompt, tokens, sampling, id -> {}, () -> false);
  }

  /**
   * Generates until a stop token, {@code tokens} tokens, the end of the context or cancellation.
   *
   * @param prompt at least one id
   * @param tokens the most to generate
   * @param listener hears every token as soon as it is chosen, except a stop token
   * @param cancelled asked before every token
   * @throws EspalierException (USAGE) for an empty or overlong prompt, (INPUT) for an id without an
   *     embedding row
   */
  public Generation generate(
      int[] prompt,
      int tokens,
      Sampling sampling,
      IntConsumer listener,
      BooleanSupplier cancelled) {
    check(prompt, tokens);
    int context = model.contextLength();
    // The last token chosen is never fed back, so a context of n tokens gives n + 1 - prompt
    // tokens.
    int room = context - prompt.length + 1;
    int wanted = Math.min(tokens, room);
    int[] ids = Arrays.copyOf(prompt, prompt.length + wanted);
    int length = prompt.length;
    Sampler sampler = new Sampler(sampling);
    Finish finish = tokens > room ? Finish.CONTEXT : Finish.LENGTH;
    List<Event> events;
    try (KvCache cache = new KvCache(model.blocks().size(), Math.min(context, ids.length));
        Decoder decoder = new Decoder(model, ops, cache, programs)) {
      events = decoder.events();
      while (length < ids.length) {
        if (cancelled.getAsBoolean()) {
          finish = Finish.CANCELLED;
          break;
        }
        decoder.feed(Arrays.copyOfRange(ids, Math.toIntExact(cache.position()), length));
        int next = sampling.plain() ? decoder.best() : -1;
        if (next < 0) {
          next = next(sampler, decoder.logits(), ids, length);
        }
        ids[length++] = next;
        if (stopTokens.contains(next)) {
          finish = Finish.STOP;
          break;
        }
        listener.accept(next);
      }
    }
    List<Integer> all = Arrays.stream(ids, 0, length).boxed().toList();
    return new Generation(
        all.subList(0, prompt.length), all.subList(prompt.length, length), finish, events);
  }

  /** Returns the next token; where no logit is sound, names the weight at fault if one is. */
  private int next(Sampler sampler, float[] logits, int[] ids, int length) {
    try {
      return sampler.next(logits, ids, length);
    } catch (EspalierException unsound) {
      throw model.damage(ops.context(), name -> {}).orElse(unsound);
    }
  }

  private void check(int[] prompt, int tokens) {
    if (tokens < 0) {
      throw EspalierException.usage(
          "tokens is " + tokens + ", expected 0 or more", "Ask for 1 or more.");
    }
    if (prompt.length == 0) {
      throw EspalierException.usage(
          "the prompt has no tokens and this tokenizer adds none", "Give a prompt with some text.");
    }
    if (prompt.length > model.contextLength()) {
      throw EspalierException.usage(
          "the prompt has "
              + prompt.length
              + " tokens, the model's context holds "
              + model.contextLength(),
          "Shorten the prompt.");
    }
    for (int id : prompt) {
      if (id < 0 || id >= model.vocabulary()) {
        throw EspalierException.input(
            "the prompt's token "
                + id
                + " has no embedding row; the model has "
                + model.vocabulary(),
            "Check that tokenizer and model belong together.");
      }
    }
  }
}
