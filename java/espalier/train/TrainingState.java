// SPDX-License-Identifier: Apache-2.0
package espalier.train;

import espalier.checkpoint.CheckpointWriter;
import espalier.checkpoint.PartialFolder;
import espalier.checkpoint.Safetensors;
import espalier.gradient.Optimizer;
import espalier.gradient.Parameter;
import espalier.report.EspalierException;
import espalier.tensor.DType;
import espalier.tensor.Shape;
import espalier.tensor.Tensor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * Everything the next step of a run depends on, in files beside its output:
 *
 * <pre>
 * OUT.partial/state-N/state.safetensors    before step N (counted from 0); a folder appears whole
 *   parameter.NAME  F32, optimizer.NAME  F32, curve.steps  F64 [N, 4], curve.held_out  F64 [., 2]
 *   metadata: identity, which names recipe, texts, first weights and version
 * </pre>
 *
 * <p>A state replaces the one before once it is on the disk.
 *
 * @param folder OUT.partial
 */
record TrainingState(
    Path folder, String identity, List<Parameter> parameters, Optimizer optimizer) {
  private static final String PREFIX = "state-";
  private static final String STEM = "state";
  private static final String IDENTITY = "identity";
  private static final String STEPS = "curve.steps";
  private static final String HELD_OUT = "curve.held_out";

  /** Returns whether a run left a state there. */
  static boolean present(Path folder) {
    return latest(folder).isPresent();
  }

  private static Optional<Path> latest(Path folder) {
    try (Stream<Path> list = Files.list(folder)) {
      return list.filter(path -> step(path) >= 0)
          .max(Comparator.comparingLong(TrainingState::step));
    } catch (IOException e) {
      throw PartialFolder.failure(folder, e);
    }
  }

  /** The step of a state's folder; −1 for anything else. */
  private static long step(Path path) {
    String name = path.getFileName().toString();
    return name.matches(PREFIX + "\\d{1,18}")
        ? Long.parseLong(name.substring(PREFIX.length()))
        : -1;
  }

  private Map<String, Tensor> tensors() {
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    parameters.forEach(p -> tensors.put("parameter." + p.name(), p.value()));
    optimizer.state().forEach((name, tensor) -> tensors.put("optimizer." + name, tensor));
    return tensors;
  }

  /**
   * Writes the state before the curve's next step and removes older ones.
   *
   * @throws EspalierException (RESOURCE) when the disk fails; the state before is still there
   */
  void save(Curve curve) {
    Path target = folder.resolve(PREFIX + curve.next());
    try (CheckpointWriter writer = CheckpointWriter.create(target, Long.MAX_VALUE)) {
      writer.stem(STEM);
      writer.metadata(IDENTITY, identity);
      Map<String, Tensor> tensors = tensors();
      tensors.forEach((name, tensor) -> writer.declare(name, tensor.dtype(), tensor.shape()));
      ByteBuffer steps = steps(curve);
      ByteBuffer heldOut = heldOut(curve);
      writer.declare(STEPS, DType.F64, Shape.of(curve.steps().size(), 4));
      writer.declare(HELD_OUT, DType.F64, Shape.of(curve.heldOut().size(), 2));
      writer.begin();
      tensors.forEach(writer::write);
      writer.write(STEPS, steps);
      writer.write(HELD_OUT, heldOut);
      writer.finish();
    }
    try (Stream<Path> list = Files.list(folder)) {
      for (Path old : list.filter(p -> step(p) >= 0 && step(p) < curve.next()).toList()) {
        // A run that was killed between the two left an empty folder.
        Files.deleteIfExists(old.resolve(STEM + ".safetensors"));
        Files.delete(old);
      }
    } catch (IOException e) {
      throw PartialFolder.failure(folder, e);
    }
  }

  private static ByteBuffer steps(Curve curve) {
    ByteBuffer bytes = doubles(4 * curve.steps().size());
    for (StepResult step : curve.steps()) {
      bytes.putDouble(step.loss()).putDouble(step.gradientNorm());
      bytes.putDouble(step.rate()).putDouble(step.tokens());
    }
    return bytes.flip();
  }

  private static ByteBuffer heldOut(Curve curve) {
    ByteBuffer bytes = doubles(2 * curve.heldOut().size());
    curve.heldOut().forEach(h -> bytes.putDouble(h.step()).putDouble(h.loss()));
    return bytes.flip();
  }

  private static ByteBuffer doubles(int count) {
    return ByteBuffer.allocateDirect(count * Double.BYTES).order(ByteOrder.LITTLE_ENDIAN);
  }

  /**
   * Reads the latest state into the parameters and the optimiser and returns the curve up to it; an
   * empty curve when there is none.
   *
   * @throws EspalierException (USAGE) when the state is another run's; (INPUT) when it is damaged
   */
  Curve load() {
    Curve curve = new Curve();
    Optional<Path> state = latest(folder);
    if (state.isEmpty()) {
      return curve;
    }
    try (Safetensors file = Safetensors.open(state.get().resolve(STEM + ".safetensors"))) {
      if (!identity.equals(file.metadata().get(IDENTITY))) {
        throw EspalierException.usage(
            folder + ": belongs to a run with another recipe, other texts or other first weights",
            PartialFolder.ADVICE);
      }
      tensors().forEach((name, tensor) -> copy(find(file, name), tensor));
      ByteBuffer steps = find(file, STEPS).buffer();
      for (long s = 0; steps.hasRemaining(); s++) {
        curve.add(
            new StepResult(
                s,
                steps.getDouble(),
                steps.getDouble(),
                steps.getDouble(),
                (long) steps.getDouble()));
      }
      ByteBuffer heldOut = find(file, HELD_OUT).buffer();
      while (heldOut.hasRemaining()) {
        curve.add(new Curve.HeldOut((long) heldOut.getDouble(), heldOut.getDouble()));
      }
    }
    return curve;
  }

  private Tensor find(Safetensors file, String name) {
    return file.find(name)
        .orElseThrow(
            () ->
                EspalierException.input(
                    file.file() + ": no tensor " + name, PartialFolder.ADVICE + "."));
  }

  private static void copy(Tensor from, Tensor to) {
    if (from.dtype() != to.dtype() || !from.shape().equals(to.shape())) {
      throw EspalierException.input(
          "a state holds " + from + " where " + to + " belongs", PartialFolder.ADVICE + ".");
    }
    long chunk = 1L << 28; // buffers reach 2 GiB at most
    for (long at = 0; at < from.sizeBytes(); at += chunk) {
      long bytes = Math.min(chunk, from.sizeBytes() - at);
      to.buffer(at, bytes).put(from.buffer(at, bytes));
    }
  }
}
