// SPDX-License-Identifier: Apache-2.0
package espalier.model;

/**
 * A weight or bias of a norm that a config asks for.
 *
 * @param name canonical tensor name, "model.norm.weight"
 * @param length elements
 * @param field the config field the length comes from, for messages
 */
public record VectorSpec(String name, long length, String field) {}
