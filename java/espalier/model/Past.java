// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import espalier.tensor.Tensor;

/**
 * What a block may know of earlier tokens. {@link #NONE} serves whole sequences from position 0; a
 * key-value cache implements it for generation.
 */
public interface Past {
  /** No earlier tokens: a sequence stands alone and starts at position 0. */
  Past NONE =
      new Past() {
        @Override
        public long position() {
          return 0;
        }

        @Override
        public KeysValues append(int layer, Tensor keys, Tensor values) {
          return new KeysValues(keys, values);
        }
      };

  /** Returns the position of the next token: how many came before. */
  long position();

  /**
   * Adds this layer's new keys and values (F32 [tokens, keyHeads · headWidth]) and returns all,
   * from position 0 on, valid until the next append to the layer.
   */
  KeysValues append(int layer, Tensor keys, Tensor values);

  /** Keys and values from position 0 on; F32 [positions, keyHeads · headWidth] both. */
  record KeysValues(Tensor keys, Tensor values) {}
}
