// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import espalier.tensor.Context;
import picocli.CommandLine.IVersionProvider;

/** What {@code --version} prints, and what reports carry. */
final class Version implements IVersionProvider {
  /** Returns the version of the jar, or "development" when the classes are not in one. */
  static String number() {
    String version = Version.class.getPackage().getImplementationVersion();
    return version == null ? "development" : version;
  }

  @Override
  public String[] getVersion() {
    return new String[] {
      "espalier " + number(),
      "java " + Runtime.version() + ", instruction sets " + Context.cpuFeatures()
    };
  }
}
