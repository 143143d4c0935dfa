// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;

/**
 * How one tensor is quantized, in the vocabulary of compressed-tensors.
 *
 * @param numBits 2 to 8; 4 or 8 for floats
 * @param type integer or float codes
 * @param symmetric whether zero is the zero code, so that there is no zero point
 * @param groupSize columns that share a scale; null, or -1 for whole rows
 * @param strategy what shares a scale; never null
 * @param blockStructure rows and columns of a block, only with {@link Strategy#BLOCK}, else null
 * @param dynamic whether scales are worked out as the data comes
 * @param actorder the order in which GPTQ visits columns, or null for the written one
 * @param scaleDtype dtype of stored scales, such as {@code uint8}, or null for the model's
 * @param zeroPointDtype dtype of stored zero points, or null for what follows from the codes
 * @param observer name of the method that finds ranges, or null
 * @param observerOptions options of the observer, passed on as they are
 */
public record QuantizationArgs(
    int numBits,
    Type type,
    boolean symmetric,
    Integer groupSize,
    Strategy strategy,
    List<Integer> blockStructure,
    Dynamic dynamic,
    Actorder actorder,
    String scaleDtype,
    String zeroPointDtype,
    String observer,
    Map<String, Object> observerOptions) {

  /** What a code is. */
  public enum Type {
    INT,
    FLOAT;

    /** Returns the name in files. */
    public String text() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /** What shares a scale. */
  public enum Strategy {
    TENSOR,
    CHANNEL,
    GROUP,
    BLOCK,
    TOKEN,
    TENSOR_GROUP,
    ATTN_HEAD;

    /** Returns the name in files. */
    public String text() {
      return name().toLowerCase(Locale.ROOT);
    }

    /** Returns whether a positive group size belongs to this strategy. */
    public boolean isGrouped() {
      return this == GROUP || this == TENSOR_GROUP;
    }
  }

  /** When scales are worked out. */
  public enum Dynamic {
    /** Once, from calibration or from the weight. */
    NO,
    /** For every input. */
    YES,
    /** Group scales for every input, under one scale that is fixed beforehand. */
    LOCAL
  }

  /** The order in which GPTQ visits columns. */
  public enum Actorder {
    /**
     * Groups are formed as written, columns visited by importance ({@code static} in files too).
     */
    WEIGHT,
    /** Groups are formed along importance, which needs an index per column ({@code dynamic}). */
    GROUP;

    /** Returns the canonical name in files. */
    public String text() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /** Copies list and map. */
  public QuantizationArgs {
    blockStructure = blockStructure == null ? null : List.copyOf(blockStructure);
    observerOptions = Collections.unmodifiableMap(new LinkedHashMap<>(observerOptions));
  }

  /** Returns whether the scales are fixed from data before the model runs. */
  public boolean needsData() {
    return dynamic != Dynamic.YES;
  }

  /** Returns a copy of another width. */
  public QuantizationArgs withBits(int bits) {
    return copy(bits, groupSize, strategy, actorder, observer);
  }

  /** Returns a copy with another visiting order. */
  public QuantizationArgs withActorder(Actorder order) {
    return copy(numBits, groupSize, strategy, order, observer);
  }

  /** Returns a copy with another observer. */
  public QuantizationArgs withObserver(String name) {
    return copy(numBits, groupSize, strategy, actorder, name);
  }

  /** Returns a copy with one scale per {@code columns} columns, or per row for zero or less. */
  public QuantizationArgs withGroupSize(int columns) {
    return columns > 0
        ? copy(numBits, columns, Strategy.GROUP, actorder, observer)
        : copy(numBits, null, Strategy.CHANNEL, actorder, observer);
  }

  /**
   * Returns the arguments as a recipe may write them in one line. The visiting order is left out:
   * it stands at the modifier.
   */
  public String flow() {
    StringBuilder flow = new StringBuilder("{num_bits: ").append(numBits);
    flow.append(", type: ").append(type.text());
    flow.append(", symmetric: ").append(symmetric);
    flow.append(", strategy: ").append(strategy.text());
    if (strategy == Strategy.GROUP) {
      flow.append(", group_size: ").append(groupSize);
    }
    if (dynamic == Dynamic.YES) {
      flow.append(", dynamic: true");
    }
    if (!Observers.takesExtremes(observer)) {
      flow.append(", observer: ").append(observer);
      if (!observerOptions.isEmpty()) {
        flow.append(", observer_kwargs: {");
        flow.append(
            observerOptions.entrySet().stream()
                .map(option -> option.getKey() + ": " + option.getValue())
                .collect(Collectors.joining(", ")));
        flow.append('}');
      }
    }
    return flow.append('}').toString();
  }

  private QuantizationArgs copy(
      int bits, Integer size, Strategy shared, Actorder order, String name) {
    return new QuantizationArgs(
        bits,
        type,
        symmetric,
        size,
        shared,
        blockStructure,
        dynamic,
        order,
        scaleDtype,
        zeroPointDtype,
        name,
        observerOptions);
  }
}
