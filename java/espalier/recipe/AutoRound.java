// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import java.util.Map;

/** Reader of AutoRoundModifier. */
public final class AutoRound {
  private static final Fields OWN =
      Fields.none()
          .integer("iters", 200, 0)
          .flag("enable_torch_compile", true)
          .integer("batch_size", 8, 1)
          .numberOrNull("lr")
          .text("device_ids", null)
          .flag("disable_opt_rtn", false);

  private AutoRound() {}

  /** Reads AutoRoundModifier: the options of a quantizer and its own. */
  public static Reading read(Options options) {
    Map<String, Object> values = OWN.read(options);
    QuantizerOptions shared = new QuantizerReader(options).read(null, true);
    options.finish();
    return new Reading(
        options.type(),
        options.group(),
        values,
        shared.groups(),
        shared.targets(),
        shared.ignore(),
        true,
        false);
  }
}
