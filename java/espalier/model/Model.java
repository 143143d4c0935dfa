// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.checkpoint.Checkpoint;
import espalier.codec.Codecs;
import espalier.kernel.Convert;
import espalier.kernel.Ops;
import espalier.layer.Dense;
import espalier.layer.Linear;
import espalier.report.EspalierException;
import espalier.report.Event;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Storage;
import espalier.tensor.Tensor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.Supplier;

/**
 * A checkpoint as something that computes: an embedding, blocks, a norm and a head. Linears stay
 * mapped in the type they are stored in; norms and biases are F32 in memory of the model's own.
 *
 * <p>The model owns its checkpoint. It serves one thread at a time, like its context, and holds no
 * scope open: models of one context close in any order. Intermediate results of a block are freed
 * when the block is done unless the operations {@linkplain Ops#retains() retain} them.
 */
public final class Model implements AutoCloseable {
  /** Elements looked through at a time: at most 256 MiB of a mapped tensor are in memory. */
  private static final long SCANNED_ELEMENTS = 1L << 25;

  private final Checkpoint checkpoint;
  private final Codecs codecs;
  private final ModelFamily family;
  private final ModelConfig config;
  private final StoredWeights weights;
  private Tensor embedding; // [vocabulary, hidden]
  private Tensor positions; // [contextLength, hidden], null when positions are rotary
  private final List<Block> blocks;
  private final Normalization finalNorm;
  private final boolean tied;
  private final List<Integer> stopTokens;
  private final List<String> unknown;
  private final List<Event> events;
  private final List<Storage> owned;
  private Linear head;

  private Model(Checkpoint checkpoint, Context context, boolean outline) {
    this.checkpoint = checkpoint;
    String file = checkpoint.folder().resolve("config.json").toString();
    ObjectNode json =
        checkpoint
            .json("config.json")
            .orElseThrow(
                () -> EspalierException.input(file + ": no such file", "Give a model folder."));
    ConfigFields fields = new ConfigFields(file, json);
    this.family = Families.of(fields);
    this.codecs = Codecs.of(checkpoint, json, outline);
    this.weights = new StoredWeights(context, checkpoint, codecs, family, outline);
    this.stopTokens = stopTokens(checkpoint, fields);
    try (Context.Scope scope = context.scope()) {
      this.config = family.configure(fields, weights::rows);
      weights.expect(config);
      long vocabulary = config.vocabulary();
      long width = config.hiddenSize();
      this.embedding = weights.table(family.embedding(), vocabulary, "vocab_size", width);
      this.positions =
          family
              .positions()
              .map(m -> weights.table(m, config.contextLength(), "n_positions", width))
              .orElse(null);
      List<Block> loaded = new ArrayList<>();
      for (int layer = 0; layer < config.layers(); layer++) {
        weights.load(family.vectors(config, layer), weights.layersWanted());
        loaded.add(family.block(config, layer, weights));
      }
      this.blocks = List.copyOf(loaded);
      weights.load(family.finalVectors(config), "the norm before the head");
      this.finalNorm = family.finalNorm(config, weights);
      Optional<Linear> stored = new StoredHead(checkpoint, codecs, family, config, weights).find();
      this.tied = stored.isEmpty();
      this.head = stored.orElseGet(() -> new Dense(embedding, null));
      this.unknown = weights.unknown();
      List<Event> all = new ArrayList<>(checkpoint.events());
      all.addAll(weights.events());
      this.events = List.copyOf(all);
      this.owned = scope.releaseAll();
    }
  }

  /**
   * Opens a model folder. The caller closes the result, after which none of its tensors may be
   * used.
   *
   * @throws EspalierException (INPUT) naming the first tensor or field that is missing or does not
   *     fit; (UNSUPPORTED) naming the field of config.json that asks for what we cannot do
   */
  public static Model open(Path folder, Context context) {
    return open(folder, context, false);
  }

  /**
   * Opens a model folder for its names and shapes alone: everything is checked as by {@link #open},
   * but no tensor's data is read, and the result cannot compute. The caller closes it.
   */
  public static Model outline(Path folder, Context context) {
    return open(folder, context, true);
  }

  private static Model open(Path folder, Context context, boolean outline) {
    Checkpoint checkpoint = Checkpoint.open(folder);
    try {
      return new Model(checkpoint, context, outline);
    } catch (Throwable e) {
      checkpoint.close();
      throw e;
    }
  }

  private static List<Integer> stopTokens(Checkpoint checkpoint, ConfigFields config) {
    String file = "generation_config.json";
    List<Integer> ids =
        checkpoint
            .json(file)
            .map(node -> new ConfigFields(checkpoint.folder().resolve(file).toString(), node))
            .map(fields -> fields.ids("eos_token_id"))
            .orElse(List.of());
    return List.copyOf(new LinkedHashSet<>(ids.isEmpty() ? config.ids("eos_token_id") : ids));
  }

  public Checkpoint checkpoint() {
    return checkpoint;
  }

  public ModelConfig config() {
    return config;
  }

  public ModelFamily family() {
    return family;
  }

  public Codecs codecs() {
    return codecs;
  }

  public List<Block> blocks() {
    return blocks;
  }

  /** Returns the map from normalised hidden states to logits. */
  public Linear head() {
    return head;
  }

  /** Replaces the head by another form of the same in and out features. */
  public void swapHead(Linear linear) {
    NamedLinears.requireSameWidths(ModelFamily.HEAD, head, linear);
    head = linear;
  }

  /** Returns whether the head that was opened is the embedding. */
  public boolean tied() {
    return tied;
  }

  /**
   * Returns the type hidden states may be kept in: that of the blocks' linears; F32, F16 or BF16.
   */
  public DType stateType() {
    return weights.stateType();
  }

  /** Returns the positions the model was made for. */
  public int contextLength() {
    return config.contextLength();
  }

  /** Returns the rows of the embedding: ids go from 0 to one below. */
  public long vocabulary() {
    return config.vocabulary();
  }

  /**
   * Replaces the embedding, and the head where it is tied, by another table of the same shape; the
   * caller keeps it as long as the model computes.
   */
  public void swapEmbedding(Tensor table) {
    requireShape(embedding, table);
    embedding = table;
    if (tied) {
      head = new Dense(table, null);
    }
  }

  /** Returns the learned positions, [contextLength, hidden]; empty when they are rotary. */
  public Optional<Tensor> positions() {
    return Optional.ofNullable(positions);
  }

  /** Replaces the learned positions by another table of the same shape, as the embedding. */
  public void swapPositions(Tensor table) {
    requireShape(positions, table);
    positions = table;
  }

  private static void requireShape(Tensor present, Tensor other) {
    if (!present.shape().equals(other.shape())) {
      throw new IllegalArgumentException("cannot replace " + present + " by " + other);
    }
  }

  /** Returns the embedding, F32, F16 or BF16 [vocabulary, hidden]. */
  public Tensor embedding() {
    return embedding;
  }

  /** Returns every norm's weight and bias, F32, by canonical tensor name; owned and writable. */
  public Map<String, Tensor> norms() {
    return Collections.unmodifiableMap(weights.vectors());
  }

  /**
   * Returns the embedded ids, F32 [tokens, hidden], in the current scope.
   *
   * @param ids I32 [tokens]
   * @param position of the first id
   * @throws EspalierException (USAGE) past the end of a learned position table
   */
  public Tensor embed(Ops ops, Tensor ids, long position) {
    if (positions == null) {
      return ops.embed(ids, embedding);
    }
    long end = ops.end(position, ids.elements());
    if (end > positions.dimension(0)) {
      throw EspalierException.usage(
          checkpoint.folder()
              + ": "
              + end
              + " positions, but the model has learned only "
              + positions.dimension(0)
              + " (n_positions)",
          "Use shorter texts.");
    }
    return scoped(
        ops,
        () ->
            ops.add(
                ops.embed(ids, embedding),
                ops.embedPositions(position, ids.elements(), positions)));
  }

  /**
   * Returns the hidden states after the last block, F32 [tokens, hidden], in the current scope.
   *
   * @param ids I32 [tokens]
   */
  public Tensor hidden(Ops ops, Tensor ids, Past past) {
    long position = past.position();
    if (ops.retains()) {
      Tensor hidden = embed(ops, ids, position);
      for (Block block : blocks) {
        hidden = block.forward(ops, hidden, past);
      }
      return hidden;
    }
    try (Context.Scope scope = ops.context().scope()) {
      Tensor hidden = embed(ops, ids, position);
      for (Block block : blocks) {
        Tensor input = hidden;
        hidden = scoped(ops, () -> block.forward(ops, input, past));
        scope.drop(input);
      }
      return scope.keep(hidden);
    }
  }

  /**
   * Returns F32 [tokens, vocabulary] of hidden states after the last block, in the current scope.
   */
  public Tensor logits(Ops ops, Tensor hidden) {
    return scoped(
        ops,
        () -> {
          Tensor normalised = headInput(ops, hidden);
          ops.observe(ModelFamily.HEAD, normalised);
          return head.forward(ops, normalised);
        });
  }

  /** Returns what the head reads, F32 [tokens, hidden], of hidden states after the last block. */
  public Tensor headInput(Ops ops, Tensor hidden) {
    return finalNorm.apply(ops, hidden);
  }

  /** Returns the logits of every position, F32 [tokens, vocabulary], in the current scope. */
  public Tensor forward(Ops ops, Tensor ids, Past past) {
    return scoped(ops, () -> logits(ops, hidden(ops, ids, past)));
  }

  /** Runs a body in a scope of its own that keeps only the result, unless the ops retain all. */
  private static Tensor scoped(Ops ops, Supplier<Tensor> body) {
    if (ops.retains()) {
      return body.get();
    }
    try (Context.Scope scope = ops.context().scope()) {
      return scope.keep(body.get());
    }
  }

  /** Returns every linear by canonical name, blocks first, "lm_head" last unless it is tied. */
  public Map<String, Linear> linears() {
    Map<String, Linear> linears = new LinkedHashMap<>();
    blocks.forEach(block -> linears.putAll(block.linears()));
    if (!tied) {
      linears.put(ModelFamily.HEAD, head);
    }
    return linears;
  }

  /** Returns how the checkpoint spells a canonical module or tensor name. */
  public String storedName(String canonical) {
    return weights.storedName(canonical);
  }

  /** Returns the checkpoint's tensors that no part of the model reads, in file order. */
  public List<String> unknownTensors() {
    return unknown;
  }

  /** Returns what a user should know about this model, the checkpoint's own events included. */
  public List<Event> events() {
    return events;
  }

  /** Returns the ids that end a text: generation_config.json's, else config.json's. */
  public List<Integer> stopTokens() {
    return stopTokens;
  }

  /**
   * Looks through everything the model reads for a value that no arithmetic survives. Reads every
   * weight file once: for a compression, and to explain a result that is not a number.
   *
   * @param next called with the name of every tensor that was sound; may throw to stop
   * @return the fault (INPUT) of the first tensor that holds NaN, an infinity or a number beyond
   *     fp32, naming the place
   */
  public Optional<EspalierException> damage(Context context, Consumer<String> next) {
    Set<String> unread = Set.copyOf(unknown);
    for (String name : checkpoint.names()) {
      if (unread.contains(name)) {
        continue;
      }
      Tensor tensor = checkpoint.get(name);
      long at = firstNotFinite(context, tensor);
      if (at >= 0) {
        return Optional.of(
            EspalierException.input(
                checkpoint.folder()
                    + ": "
                    + name
                    + " holds NaN, infinity or a number beyond fp32 at "
                    + place(tensor, at),
                "Repair or replace the checkpoint; nothing sound can be made from it."));
      }
      next.accept(name);
      tensor.forget();
    }
    return Optional.empty();
  }

  /** Returns the first element that is not finite, or −1; leaves no page of a mapped tensor. */
  public static long firstNotFinite(Context context, Tensor tensor) {
    if (!tensor.dtype().isFloat()) {
      return -1;
    }
    Tensor flat = tensor.reshape(tensor.elements());
    // Elements below a byte have no rows of their own; such tensors are small.
    long step = tensor.dtype().bits() % 8 == 0 ? SCANNED_ELEMENTS : Math.max(1, flat.elements());
    for (long from = 0; from < flat.elements(); from += step) {
      Tensor part =
          step >= flat.elements() ? flat : flat.rows(from, Math.min(flat.elements(), from + step));
      try (Context.Scope scope = context.scope()) {
        boolean wide = tensor.dtype() == DType.F64;
        long at = Convert.firstNonFinite(context, wide ? Convert.toFloat(context, part) : part);
        if (at >= 0) {
          return from + at;
        }
      }
      part.forget();
    }
    return -1;
  }

  private static String place(Tensor tensor, long at) {
    if (tensor.shape().rank() != 2) {
      return "element " + at;
    }
    long columns = tensor.dimension(1);
    return "row " + at / columns + ", column " + at % columns;
  }

  /** Frees the model's memory and unmaps its files. Closing twice does nothing. */
  @Override
  public void close() {
    if (weights.rotary() != null) {
      weights.rotary().close();
    }
    owned.forEach(Storage::close);
    checkpoint.close();
  }
}
