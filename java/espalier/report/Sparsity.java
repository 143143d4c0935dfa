// SPDX-License-Identifier: Apache-2.0
package espalier.report;

/**
 * The zeros of one linear, and what leaving them out is worth.
 *
 * @param density share of its weights that are not 0
 * @param pattern {@code dense}, {@code n:m} (n zeros in every m columns) or {@code unstructured}
 * @param stored how its zeros are left out, {@code 2:4} or {@code bitmask}; null when they are in
 *     place
 * @param microseconds that one token takes in the stored form, the least of a few; NaN where not
 *     measured
 * @param denseMicroseconds the same with the zeros in place and values of the same kind
 */
public record Sparsity(
    double density, String pattern, String stored, double microseconds, double denseMicroseconds) {}
