// SPDX-License-Identifier: Apache-2.0
package espalier.runtime;

import espalier.kernel.Ops;
import espalier.model.Model;
import espalier.report.EspalierException;
import espalier.runtime.Generation.Finish;
import espalier.tensor.Context;
import espalier.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.function.BooleanSupplier;
import java.util.function.IntConsumer;

/**
 * Continues a text token by token: one prefill over the prompt, then decode steps of one token,
 * both through the same blocks. It owns nothing; the model and the operations stay the caller's.
 */
@SuppressWarnings("try") // scopes are opened to be closed, not to be named
public final class Generator {
  private final Model model;
  private final Ops ops;
  private final Set<Integer> stopTokens;

  public Generator(Model model, Ops ops) {
    this.model = model;
    this.ops = ops;
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
    try (KvCache cache = new KvCache(model.blocks().size(), Math.min(context, ids.length))) {
      int fed = 0;
      while (length < ids.length) {
        if (cancelled.getAsBoolean()) {
          finish = Finish.CANCELLED;
          break;
        }
        float[] logits = step(Arrays.copyOfRange(ids, fed, length), cache);
        fed = length;
        int next = next(sampler, logits, ids, length);
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
        all.subList(0, prompt.length), all.subList(prompt.length, length), finish);
  }

  /** Returns the next token; where no logit is sound, names the weight at fault if one is. */
  private int next(Sampler sampler, float[] logits, int[] ids, int length) {
    try {
      return sampler.next(logits, ids, length);
    } catch (EspalierException unsound) {
      throw model.damage(ops.context(), name -> {}).orElse(unsound);
    }
  }

  /** Feeds {@code ids} and returns the logits after the last of them. */
  private float[] step(int[] ids, KvCache cache) {
    Context context = ops.context();
    try (Context.Scope scope = context.scope()) {
      Tensor hidden = model.hidden(ops, context.ints(ids, ids.length), cache);
      cache.advance(ids.length);
      return model.logits(ops, hidden.rows(ids.length - 1L, ids.length)).toFloats();
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
