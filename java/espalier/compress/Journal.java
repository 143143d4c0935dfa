// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.checkpoint.DurableFiles;
import espalier.checkpoint.PartialFolder;
import espalier.layer.Linear;
import espalier.report.EspalierException;
import espalier.report.Event;
import espalier.report.Report;
import espalier.tensor.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Map;
import java.util.zip.CRC32C;

/**
 * Makes a run survive its process. After every stage (a block, or the head when it is compressed)
 * everything that was computed is on the disk, so that the same request goes on from there.
 *
 * <pre>
 * OUT.partial/manifest.json         {@link RunState}; replaced in one step, after all it speaks of is on disk
 * OUT.partial/states-0, states-1    hidden states after a stage, in turns: the one that the manifest names
 *                                   is never written to. Text after text, as {@link Samples#export} gives them
 * OUT.partial/output/               the weight files, finished tensors in their places
 * </pre>
 */
final class Journal {
  static final String MANIFEST = "manifest.json";

  private static final long CHUNK_BYTES = 1L << 26;

  private final PartialFolder folder;
  private final RunInputs inputs;
  private final RunState found;
  private DurableSink output;
  private Report report;
  private final int blocks;
  private int finished;
  private int eventsBefore;
  private String latest;
  private long nanos;

  private Journal(PartialFolder folder, int blocks, RunInputs inputs, RunState found) {
    this.folder = folder;
    this.blocks = blocks;
    this.inputs = inputs;
    this.found = found;
    this.finished = found == null ? 0 : found.finished();
  }

  /** Returns a journal that remembers nothing: for a computation that writes no output. */
  static Journal none() {
    return new Journal(null, 0, null, null);
  }

  /**
   * Reads what an earlier process left, if anything.
   *
   * @param blocks of the model, for messages
   * @throws EspalierException (USAGE) naming the inputs that have changed; (INPUT) naming the file
   *     that is damaged
   */
  static Journal open(PartialFolder folder, int blocks, RunInputs inputs, Report report) {
    Path manifest = folder.path().resolve(MANIFEST);
    if (Files.exists(manifest)) {
      return new Journal(folder, blocks, inputs, RunState.read(manifest, inputs));
    }
    if (folder.found()) {
      // Killed before the layout was fixed: nothing had been computed.
      folder.clear();
      report.event(
          Event.info(
              "leftover-replaced",
              folder.path().getFileName().toString(),
              "a run was interrupted here before it had done anything"));
    }
    return new Journal(folder, blocks, inputs, null);
  }

  /** Returns checksums of the tensors on disk; null when this run begins from nothing. */
  Map<String, Long> tensors() {
    return found == null ? null : found.tensors();
  }

  /** Returns the stages that are done. */
  int finished() {
    return finished;
  }

  /** Returns the last stage that is done, in words. */
  String lastFinished() {
    return finished > blocks ? "the output head" : "block " + finished + " of " + blocks;
  }

  /** Ties the journal to what it keeps; the first stage may begin after that. */
  void attach(DurableSink output, Report report) {
    this.output = output;
    this.report = report;
    if (found == null) {
      save(0, null);
    }
  }

  /** Brings the report to where it was; call it just before the first stage. */
  void begin() {
    if (folder == null) {
      return;
    }
    eventsBefore = report.events().size();
    if (finished == 0) {
      return;
    }
    found.linears().forEach(report::row);
    found.events().forEach(report::event);
    report.event(
        Event.info(
            "resumed", folder.path().getFileName().toString(), "went on after " + lastFinished()));
    if (found.states() != null) {
      latest = found.states().file();
    }
  }

  /**
   * Fills the samples with the hidden states after the last finished stage.
   *
   * @throws EspalierException (INPUT) when the file is not what was written
   */
  void restore(Samples samples) {
    Path file = folder.path().resolve(found.states().file());
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      if (channel.size() != found.states().bytes()) {
        throw RunState.damaged(
            file, "has " + channel.size() + " bytes, expected " + found.states().bytes(), null);
      }
      CRC32C sum = new CRC32C();
      samples.restore(tensor -> read(channel, file, tensor, sum));
      if (channel.position() != channel.size() || sum.getValue() != found.states().checksum()) {
        throw RunState.damaged(file, "is not what was written (its checksum differs)", null);
      }
    } catch (IOException e) {
      throw RunState.damaged(file, "cannot be read: " + e.getMessage(), e);
    }
  }

  private static void read(FileChannel channel, Path file, Tensor tensor, CRC32C sum) {
    try {
      for (long at = 0; at < tensor.sizeBytes(); at += CHUNK_BYTES) {
        ByteBuffer bytes = tensor.buffer(at, Math.min(CHUNK_BYTES, tensor.sizeBytes() - at));
        while (bytes.hasRemaining()) {
          if (channel.read(bytes) < 0) {
            throw RunState.damaged(file, "ends before the last text", null);
          }
        }
        sum.update(bytes.flip());
      }
    } catch (IOException e) {
      throw RunState.damaged(file, "cannot be read: " + e.getMessage(), e);
    }
  }

  /** Returns a linear of a finished stage, see {@link DurableSink#restored}. */
  Linear restored(PlannedLinear planned, Linear before) {
    return output.restored(planned, before);
  }

  /**
   * Puts a finished stage on the disk. The report's {@code durability_seconds} is the time that
   * took in this process, all stages together.
   *
   * @param samples whose hidden states the next stage begins with; null when it needs none
   * @throws EspalierException (RESOURCE) when the disk fails; the stage before is then still there
   */
  void finish(Samples samples) {
    if (folder != null) {
      long begun = System.nanoTime();
      save(finished + 1, samples);
      nanos += System.nanoTime() - begun;
      report.fact("durability_seconds", nanos / 1e9);
    }
    finished++;
  }

  private void save(int stages, Samples samples) {
    output.sync();
    try {
      RunState.States states = samples == null ? null : write(samples);
      List<Event> events = report.events();
      new RunState(
              inputs,
              stages,
              states,
              output.checksums(),
              report.rows(),
              stages == 0 ? List.of() : events.subList(eventsBefore, events.size()))
          .write(folder.path().resolve(MANIFEST));
    } catch (IOException e) {
      throw PartialFolder.failure(folder.path(), e);
    } catch (UncheckedIOException e) {
      throw PartialFolder.failure(folder.path(), e.getCause());
    }
  }

  private RunState.States write(Samples samples) throws IOException {
    String name = "states-0".equals(latest) ? "states-1" : "states-0";
    CRC32C sum = new CRC32C();
    Path file = folder.path().resolve(name);
    boolean fresh = !Files.exists(file);
    try (FileChannel channel =
        FileChannel.open(file, StandardOpenOption.WRITE, StandardOpenOption.CREATE)) {
      samples.export(tensor -> write(channel, tensor, sum));
      channel.truncate(channel.position());
      channel.force(false);
      if (fresh) {
        DurableFiles.sync(folder.path());
      }
      latest = name;
      return new RunState.States(name, channel.size(), sum.getValue());
    }
  }

  private static void write(FileChannel channel, Tensor tensor, CRC32C sum) {
    try {
      for (long at = 0; at < tensor.sizeBytes(); at += CHUNK_BYTES) {
        ByteBuffer bytes = tensor.buffer(at, Math.min(CHUNK_BYTES, tensor.sizeBytes() - at));
        sum.update(bytes.duplicate());
        while (bytes.hasRemaining()) {
          channel.write(bytes);
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
