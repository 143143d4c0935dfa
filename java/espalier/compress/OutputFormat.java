// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.kernel.ScaleType;
import espalier.report.EspalierException;
import espalier.tensor.DType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;

/** How compressed linears are spelled in the output. */
public enum OutputFormat {
  /**
   * compressed-tensors {@code pack-quantized} or {@code int-quantized}: really small, read by vLLM,
   * transformers and us.
   */
  COMPRESSED_TENSORS("compressed-tensors"),
  /** GPTQ, zero points less one (v1): what GPTQModel, vLLM and transformers expect unless told. */
  GPTQ("gptq"),
  /** GPTQ, zero points as they are (v2): read by GPTQModel and us. */
  GPTQ_V2("gptq_v2"),
  /** Plain dense tensors that hold the quantized values: read by everything, not smaller. */
  DENSE("dense"),
  /** Our compact format: zeros are not stored. Really small when pruned, read by us alone. */
  SPARSE("sparse");

  private final String text;

  OutputFormat(String text) {
    this.text = text;
  }

  /** Returns the name users type, which is also the folder's where several are written. */
  public String text() {
    return text;
  }

  /**
   * Finds a format by the name users type.
   *
   * @throws EspalierException (USAGE) naming the known ones
   */
  public static OutputFormat named(String name) {
    if (name.equals("pack-quantized")) {
      return COMPRESSED_TENSORS;
    }
    return Arrays.stream(values())
        .filter(format -> format.text.equals(name))
        .findFirst()
        .orElseThrow(
            () ->
                EspalierException.usage(
                    "unknown output format '" + name + "'",
                    "Use one or more of "
                        + Arrays.stream(values()).map(f -> f.text).collect(Collectors.joining(", "))
                        + "."));
  }

  /**
   * Reads formats with commas between them.
   *
   * @throws EspalierException (USAGE) for one that is unknown or named twice
   */
  public static List<OutputFormat> list(String names) {
    List<OutputFormat> formats = List.of();
    for (String name : names.split(",", -1)) {
      formats = with(formats, name.strip());
    }
    return formats;
  }

  /**
   * Returns the formats with one more.
   *
   * @throws EspalierException (USAGE) when its name is unknown or it is among them already
   */
  public static List<OutputFormat> with(List<OutputFormat> formats, String name) {
    OutputFormat format = named(name);
    if (formats.contains(format)) {
      throw EspalierException.usage(
          "output format " + format.text + " is named twice", "Name each format once.");
    }
    List<OutputFormat> more = new ArrayList<>(formats);
    more.add(format);
    return List.copyOf(more);
  }

  /** Returns whether a model computes the same bits from both, because one kernel reads both. */
  boolean sumsAs(OutputFormat other) {
    return this == other || (isOfCodes() && other.isOfCodes());
  }

  private boolean isOfCodes() {
    return this != DENSE && this != SPARSE;
  }

  /** Returns whether this is GPTQ, whose scales are F16 whatever the model's type is. */
  boolean isGptq() {
    return this == GPTQ || this == GPTQ_V2;
  }

  /**
   * Returns what scales are rounded to, so that every format holds them exactly.
   *
   * @param stored type of the dense weight
   */
  static ScaleType scaleType(List<OutputFormat> formats, DType stored) {
    ScaleType own = ScaleType.of(stored);
    if (formats.stream().noneMatch(OutputFormat::isGptq)) {
      return own;
    }
    // A BF16 model computes with BF16 scales, whatever the file holds: more bits would be lost.
    return own == ScaleType.BF16 ? ScaleType.BF16_AND_F16 : ScaleType.F16;
  }
}
