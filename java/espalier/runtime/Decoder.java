// SPDX-License-Identifier: Apache-2.0
package espalier.runtime;

import espalier.kernel.Eager;
import espalier.kernel.Ops;
import espalier.kernel.Program;
import espalier.model.Model;
import espalier.report.Event;
import espalier.tensor.Context;
import espalier.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.function.LongFunction;

/**
 * Feeds tokens to a model behind a cache. A step of one token is recorded once and replayed in one
 * native call; it is recorded anew where the cache or a table has to grow. A step that a {@link
 * Program} cannot hold runs operation by operation, with an event; so does every step of operations
 * that are more than {@link Eager}, since an observer wants to see them.
 */
@SuppressWarnings("try") // scopes are opened to be closed, not to be named
final class Decoder implements AutoCloseable {
  private final Model model;
  private final Ops ops;
  private final KvCache cache;
  private final LongFunction<Program> programs;
  private final List<Event> events = new ArrayList<>();
  private boolean recording;
  private Program program; // null before the first step
  private ByteBuffer logits; // of the program: F32 [vocabulary]
  private ByteBuffer best; // of the program: I32 [1]
  private float[] eagerLogits; // of the last step, null when the program ran it

  /**
   * Creates a decoder that continues where the cache stands.
   *
   * @param programs makes an empty program for a position
   */
  Decoder(Model model, Ops ops, KvCache cache, LongFunction<Program> programs) {
    this.model = model;
    this.ops = ops;
    this.cache = cache;
    this.programs = programs;
    this.recording = ops instanceof Eager;
  }

  /** Feeds one token or more. */
  void feed(int... ids) {
    long position = cache.position();
    if (ids.length == 1 && recording && (program == null || position >= program.end())) {
      recording = record(position);
    }
    if (ids.length == 1 && recording) {
      program.run(ids[0], position);
      cache.advance(1);
      eagerLogits = null;
    } else {
      eagerLogits = step(ids);
    }
  }

  private float[] step(int[] ids) {
    Context context = ops.context();
    try (Context.Scope scope = context.scope()) {
      Tensor hidden = model.hidden(ops, context.ints(ids, ids.length), cache);
      cache.advance(ids.length);
      return model.logits(ops, hidden.rows(ids.length - 1L, ids.length)).toFloats();
    }
  }

  /** Returns the logits after the token fed last. */
  float[] logits() {
    if (eagerLogits != null) {
      return eagerLogits;
    }
    float[] values = new float[logits.capacity() / Float.BYTES];
    logits.asFloatBuffer().get(values);
    return values;
  }

  /** Returns the first largest logit's index, or −1 where that takes a look at the logits. */
  int best() {
    return eagerLogits == null ? best.getInt(0) : -1;
  }

  List<Event> events() {
    return events;
  }

  private boolean record(long position) {
    close();
    Program recorded = programs.apply(position);
    try {
      Tensor hidden = model.hidden(recorded, recorded.token(), cache.recorded(recorded));
      Tensor last = model.logits(recorded, hidden);
      logits = last.buffer();
      best = recorded.argMax(last).buffer();
      program = recorded;
      return true;
    } catch (Program.NotRecordable e) {
      recorded.close();
      events.add(
          Event.warning(
              "decode-not-recorded",
              model.checkpoint().folder().toString(),
              "tokens are decoded operation by operation: " + e.getMessage()));
      return false;
    } catch (RuntimeException e) {
      recorded.close();
      throw e;
    }
  }

  @Override
  public void close() {
    if (program != null) {
      program.close();
    }
    program = null;
  }
}
