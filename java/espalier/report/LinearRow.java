// SPDX-License-Identifier: Apache-2.0
package espalier.report;

/**
 * What happened to one linear.
 *
 * @param name full module name
 * @param method how it was compressed: {@code gptq}, {@code rtn}; {@code none} when left alone
 * @param scheme bits, symmetry and group in words, or why it was left alone
 * @param bitsPerWeight stored bits per weight, scales and zero points included
 * @param relativeError tr((W−Q)H(W−Q)ᵀ) / tr(WHWᵀ); with H = I where no calibration was run
 * @param nearestError the same for plain rounding to nearest, for comparison; NaN when not measured
 * @param seconds wall time of its solve
 */
public record LinearRow(
    String name,
    String method,
    String scheme,
    double bitsPerWeight,
    double relativeError,
    double nearestError,
    double seconds) {}
