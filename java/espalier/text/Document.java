// SPDX-License-Identifier: Apache-2.0
package espalier.text;

/**
 * One text as token ids.
 *
 * @param ids special tokens included; owned by the reader of the document
 * @param line where it starts in its file, counted from 1
 */
public record Document(int[] ids, int line) {}
