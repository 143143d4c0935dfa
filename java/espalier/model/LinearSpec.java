// SPDX-License-Identifier: Apache-2.0
package espalier.model;

/**
 * A linear that a config asks for.
 *
 * @param name canonical module name, "model.layers.0.self_attn.q_proj"
 * @param in inFeatures
 * @param inField the config field (or product of fields) that {@code in} comes from, for messages
 * @param out outFeatures
 * @param outField where {@code out} comes from
 * @param bias whether it has a bias
 * @param inOut whether a dense matrix is stored [in, out] (GPT-2's Conv1D)
 */
public record LinearSpec(
    String name, long in, String inField, long out, String outField, boolean bias, boolean inOut) {}
