// SPDX-License-Identifier: Apache-2.0
package espalier.internal;

/** The version of this build, as reports, model cards and {@code --version} name it. */
public final class Version {
  /** The version of the jar, or "development" when the classes are not in one. */
  public static final String TEXT = read();

  private Version() {}

  private static String read() {
    String version = Version.class.getPackage().getImplementationVersion();
    return version == null ? "development" : version;
  }
}
