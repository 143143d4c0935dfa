// SPDX-License-Identifier: Apache-2.0
package espalier.runtime;

import espalier.kernel.Loss;
import espalier.kernel.Ops;
import espalier.model.Model;
import espalier.tensor.Context;
import espalier.tensor.Tensor;
import espalier.text.TaskTokens;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The log-probabilities of continuations. Choices of one item mostly share their context, so what
 * all of them begin with is run once and its keys and values serve every choice.
 */
@SuppressWarnings("try") // scopes are opened to be closed, not to be named
final class Likelihood {
  private final Model model;
  private final Ops ops;
  private long cut;

  Likelihood(Model model, Ops ops) {
    this.model = model;
    this.ops = ops;
  }

  /**
   * How likely a continuation is.
   *
   * @param nats Σ −log p of its tokens
   * @param greedy whether each of its tokens was the most likely one, the first of equals
   */
  record Score(double nats, boolean greedy) {}

  /** Ids that are fed, and how many at their end predict what is scored. */
  private record Fed(int[] ids, int[] scored) {
    int first() {
      return ids.length - scored.length;
    }
  }

  /** Returns how many contexts were too long so far and lost their beginning. */
  long cut() {
    return cut;
  }

  /**
   * Scores every choice of an item, in order.
   *
   * @param greedy whether to look for the most likely token; without it {@link Score#greedy} is
   *     false
   */
  List<Score> score(List<TaskTokens.Pair> choices, boolean greedy) {
    List<Fed> all = choices.stream().map(this::feed).toList();
    int shared = shared(all);
    int longest = all.stream().mapToInt(fed -> fed.ids().length).max().orElseThrow();
    List<Score> scores = new ArrayList<>();
    try (KvCache cache = new KvCache(model.blocks().size(), longest);
        Context.Scope scope = ops.context().scope()) {
      if (shared > 0) {
        hidden(Arrays.copyOf(all.get(0).ids(), shared), cache);
      }
      for (Fed fed : all) {
        scores.add(score(fed, shared, cache, greedy));
        cache.rewind(shared);
      }
    }
    return scores;
  }

  /** The last token is only predicted; what does not fit the model is cut off at the front. */
  private Fed feed(TaskTokens.Pair pair) {
    int[] whole = pair.whole();
    int fed = whole.length - 1;
    int from = Math.max(0, fed - model.contextLength());
    if (from > 0) {
      cut++;
    }
    int[] ids = Arrays.copyOfRange(whole, from, fed);
    int[] scored = pair.continuation();
    // Of a continuation longer than the context itself, what has something before it is scored.
    int kept = Math.min(scored.length, ids.length);
    return new Fed(ids, Arrays.copyOfRange(scored, scored.length - kept, scored.length));
  }

  /** Returns how many ids all begin with, before anything is predicted that counts. */
  private static int shared(List<Fed> all) {
    if (all.size() == 1) {
      return 0;
    }
    int[] first = all.get(0).ids();
    int shared = all.get(0).first();
    for (Fed fed : all) {
      int same = Arrays.mismatch(first, fed.ids());
      shared = Math.min(shared, Math.min(fed.first(), same < 0 ? first.length : same));
    }
    return shared;
  }

  private Score score(Fed fed, int shared, KvCache cache, boolean greedy) {
    Context context = ops.context();
    try (Context.Scope scope = context.scope()) {
      Tensor hidden = hidden(Arrays.copyOfRange(fed.ids(), shared, fed.ids().length), cache);
      double nats = 0;
      boolean likeliest = greedy;
      int[] targets = fed.scored();
      int step = RowRange.step(model.vocabulary());
      for (int from = 0; from < targets.length; from += step) {
        int to = Math.min(targets.length, from + step);
        int[] some = Arrays.copyOfRange(targets, from, to);
        try (Context.Scope inner = context.scope()) {
          long row = fed.first() - (long) shared;
          Tensor logits = model.logits(ops, hidden.rows(row + from, row + to));
          nats +=
              Perplexity.sum(Loss.crossEntropy(context, logits, context.ints(some, some.length)));
          likeliest = likeliest && likeliest(logits, some);
        }
      }
      return new Score(nats, likeliest);
    }
  }

  private Tensor hidden(int[] ids, KvCache cache) {
    Tensor hidden = model.hidden(ops, ops.context().ints(ids, ids.length), cache);
    cache.advance(ids.length);
    return hidden;
  }

  private static boolean likeliest(Tensor logits, int[] targets) {
    FloatBuffer values = logits.buffer().asFloatBuffer(); // [rows, vocabulary]
    int width = Math.toIntExact(logits.dimension(1));
    for (int row = 0; row < targets.length; row++) {
      int at = row * width;
      float target = values.get(at + targets[row]);
      for (int id = 0; id < width; id++) {
        float other = values.get(at + id);
        if (other > target || other == target && id < targets[row]) {
          return false;
        }
      }
    }
    return true;
  }
}
