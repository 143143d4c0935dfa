// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.codec.Codecs;
import espalier.codec.LinearCodec;
import espalier.layer.Activations;
import espalier.layer.Scheme;
import espalier.recipe.SchemeGroup;
import espalier.report.EspalierException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * How the linears of every scheme are spelled: the {@code format} of their config group, or without
 * one int-quantized for 8-bit weights that meet int8 activations, as llm-compressor writes them,
 * and pack-quantized for all others.
 */
final class Spellings {
  private static final List<String> BUILT = Codecs.ALL.stream().map(LinearCodec::format).toList();

  private final Map<Scheme, LinearCodec> codecs;

  private Spellings(Map<Scheme, LinearCodec> codecs) {
    this.codecs = codecs;
  }

  /**
   * Chooses a codec for every scheme.
   *
   * @throws EspalierException (UNSUPPORTED) for a format we do not write, (USAGE) when two groups
   *     of one scheme want different ones
   */
  static Spellings of(Map<SchemeGroup, Scheme> groups) {
    Map<Scheme, LinearCodec> codecs = new LinkedHashMap<>();
    Map<Scheme, String> first = new LinkedHashMap<>();
    groups.forEach(
        (group, scheme) -> {
          LinearCodec codec = codec(group, scheme);
          LinearCodec before = codecs.putIfAbsent(scheme, codec);
          if (before != null && before != codec) {
            throw EspalierException.usage(
                "groups "
                    + first.get(scheme)
                    + " and "
                    + group.name()
                    + " are both "
                    + scheme
                    + " but ask for "
                    + before.format()
                    + " and "
                    + codec.format(),
                "Give both the same format.");
          }
          first.putIfAbsent(scheme, group.name());
        });
    return new Spellings(codecs);
  }

  private static LinearCodec codec(SchemeGroup group, Scheme scheme) {
    boolean plainBytes = scheme.bits() == 8 && scheme.activations() == Activations.INT8_PER_TOKEN;
    String standard = plainBytes ? "int-quantized" : "pack-quantized";
    String format = group.format() == null ? standard : group.format();
    return Codecs.named(format)
        .orElseThrow(
            () ->
                EspalierException.unsupported(
                    "group " + group.name() + ": format " + format + " is not built yet",
                    "Leave it out, or use " + String.join(" or ", BUILT) + "."));
  }

  LinearCodec of(Scheme scheme) {
    return codecs.get(scheme);
  }

  /** Returns the name of the one format, or mixed-precision. */
  String format() {
    List<String> formats = codecs.values().stream().map(LinearCodec::format).distinct().toList();
    return formats.size() == 1 ? formats.get(0) : "mixed-precision";
  }
}
