// SPDX-License-Identifier: Apache-2.0
package espalier.checkpoint;

import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.tensor.DType;
import espalier.tensor.Shape;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;

/** A checkpoint taken apart, to be changed and written again: sound containers, any content. */
public final class Rewritten {
  /** One tensor: little-endian bytes. */
  public record Stored(DType dtype, long[] shape, byte[] bytes) {
    /** Returns the bytes to look into and to change. */
    public ByteBuffer buffer() {
      return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    }
  }

  private final Map<String, Stored> tensors = new LinkedHashMap<>();
  private final Map<String, String> metadata = new LinkedHashMap<>();
  private final ObjectNode config;

  /** Reads a whole checkpoint into memory. */
  public Rewritten(Path folder) {
    try (Checkpoint source = Checkpoint.open(folder)) {
      for (String name : source.names()) {
        TensorSpec spec = source.spec(name).orElseThrow();
        tensors.put(
            name, new Stored(spec.dtype(), spec.shape().toArray(), source.get(name).toBytes()));
      }
      metadata.putAll(source.metadata());
      config = source.json("config.json").orElseThrow();
    }
  }

  /** Returns the tensors, to change. */
  public Map<String, Stored> tensors() {
    return tensors;
  }

  /** Returns the metadata of the weight file, to change. */
  public Map<String, String> metadata() {
    return metadata;
  }

  /** Returns the config, to change. */
  public ObjectNode config() {
    return config;
  }

  /** Writes a new folder and returns it. */
  public Path write(Path folder) {
    try (CheckpointWriter writer = CheckpointWriter.create(folder, Long.MAX_VALUE / 2)) {
      metadata.forEach(writer::metadata);
      tensors.forEach((name, t) -> writer.declare(name, t.dtype(), Shape.of(t.shape())));
      writer.begin();
      tensors.forEach((name, t) -> writer.write(name, t.buffer()));
      writer.text("config.json", config.toString());
      return writer.finish();
    }
  }
}
