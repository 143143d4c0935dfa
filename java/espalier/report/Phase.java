// SPDX-License-Identifier: Apache-2.0
package espalier.report;

import java.util.Locale;

/** What a compression spends its time on; phases do not overlap. */
public enum Phase {
  /** Opening the model, reading and encoding the calibration texts. */
  OPEN("opening the model and the texts"),
  /** Reading every weight once to see that it is finite. */
  CHECK("looking for damaged weights"),
  /** Reading a linear's weight and widening it. */
  READ("reading weights"),
  /** Passing the calibration texts through the block. */
  FORWARD("calibration forward"),
  /** Summing what a step's linears read. */
  HESSIAN("Hessian"),
  /** Factorising, rounding, measuring the error. */
  SOLVE("solve"),
  /** Encoding a finished linear and writing it. */
  WRITE("encode and write"),
  /** Reopening the output and comparing its logits. */
  PROVE("reopen and compare"),
  /** Measuring quality before and after, when asked for. */
  EVALUATE("quality before and after");

  private final String title;

  Phase(String title) {
    this.title = title;
  }

  /** Returns the name in words. */
  public String title() {
    return title;
  }

  /** Returns the name in JSON. */
  public String key() {
    return name().toLowerCase(Locale.ROOT);
  }
}
