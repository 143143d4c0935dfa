// SPDX-License-Identifier: Apache-2.0
package espalier.tensor;

/** Where a storage lives. */
public enum Device {
  HOST,
  CUDA
}
