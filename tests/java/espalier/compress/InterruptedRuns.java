// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.CompressionJob;
import espalier.Espalier;
import espalier.model.TinyModels;
import espalier.report.Event;
import espalier.report.Listener;
import espalier.report.Report;
import espalier.tensor.DType;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.io.TempDir;

/**
 * Runs over a model of this project's own, and what interrupted ones leave. What a killed process
 * leaves is had by copying OUT.partial at a moment of the run: the copy has all its files and none
 * of its locks, and no code of the run has tidied it.
 */
class InterruptedRuns {
  @TempDir Path folder;
  Path data;
  Path recipe;
  Path model;
  DType stored = DType.F32;

  @BeforeEach
  void write() throws IOException {
    Random random = new Random(5);
    StringBuilder lines = new StringBuilder();
    for (int text = 0; text < 10; text++) {
      List<Integer> ids = random.ints(9 + text, 0, 24).boxed().toList();
      lines.append("{\"input_ids\": ").append(ids).append("}\n");
    }
    data = Files.writeString(folder.resolve("texts.jsonl"), lines);
    recipe = Files.writeString(folder.resolve("recipe.yaml"), recipe("[]", 4));
    model = tiny().write(folder.resolve("model"));
    Files.writeString(model.resolve("generation_config.json"), "{\"eos_token_id\": 2}");
  }

  /** Three blocks and a head of its own, so that there are four stages. */
  TinyModels tiny() {
    return TinyModels.llama().with("num_hidden_layers", 3).stored(stored).fill();
  }

  /** Everything in 4 bits, the head too; asymmetric, so that all kinds of tensors are written. */
  static String recipe(String ignore, int bits) {
    return """
        s_stage:
          m_modifiers:
            GPTQModifier:
              ignore: %s
              config_groups:
                all:
                  targets: [Linear]
                  weights: {num_bits: %d, strategy: group, group_size: 4, symmetric: false}
        """
        .formatted(ignore, bits);
  }

  CompressionJob job(String out) {
    return Espalier.compress(model)
        .recipe(recipe)
        .data(data)
        .samples(10)
        .threads(1)
        .shardBytes(12000)
        .output(folder.resolve(out));
  }

  Path partial(String out) {
    return folder.resolve(out + ".partial");
  }

  /** Does something once, when the listener hears of the n-th linear; 0 is before the first. */
  static Listener at(int linear, Runnable action) {
    return new Listener() {
      private boolean acted;
      private long heard;

      @Override
      public void progress(String stage, long done, long total, String detail) {
        heard = done;
      }

      @Override
      public boolean cancelled() {
        if (!acted && heard == linear) {
          acted = true;
          action.run();
        }
        return false;
      }
    };
  }

  /**
   * Copies what a run of the output "whole" has on the disk at some linears, as "after" and which.
   */
  Listener copyingAt(List<Integer> moments) {
    return new Listener() {
      private long last = -1;
      private long heard;

      @Override
      public void progress(String stage, long done, long total, String detail) {
        heard = done;
      }

      @Override
      public boolean cancelled() {
        Path now = partial("whole");
        if (heard != last && Files.exists(now) && moments.contains((int) heard)) {
          last = heard;
          copy(now, partial("after" + heard));
        }
        return false;
      }
    };
  }

  /** Asserts that a run of the recipe ends with the same files from any of these linears on. */
  void goesOnFrom(List<Integer> moments) throws IOException {
    job("whole").listener(copyingAt(moments)).run();
    for (int moment : moments) {
      String name = "after" + moment;
      assertTrue(Files.exists(partial(name)), "the run never came to linear " + moment);
      assertEquals(0.0, job(name).run().facts().get("reopened_logits_max_difference"));
      same("whole", name);
    }
  }

  static void copy(Path from, Path to) {
    try (Stream<Path> files = Files.walk(from)) {
      for (Path file : files.toList()) {
        Files.copy(file, to.resolve(from.relativize(file).toString()));
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Returns the files of an output that must not depend on interruptions: all but the report. */
  private Map<String, String> files(String out) throws IOException {
    Map<String, String> files = new TreeMap<>();
    Path root = folder.resolve(out);
    try (Stream<Path> all = Files.walk(root)) {
      for (Path file : all.filter(Files::isRegularFile).toList()) {
        String bytes = HexFormat.of().formatHex(Files.readAllBytes(file));
        files.put(root.relativize(file).toString(), bytes);
      }
    }
    assertTrue(files.keySet().removeIf(name -> name.endsWith("espalier-report.json")));
    assertTrue(files.keySet().removeIf(name -> name.endsWith("espalier-report.html")));
    return files;
  }

  /** Asserts that two outputs hold the same files, byte for byte. */
  void same(String expected, String found) throws IOException {
    Map<String, String> wanted = files(expected);
    Map<String, String> there = files(found);
    assertEquals(wanted.keySet(), there.keySet());
    for (String name : wanted.keySet()) {
      assertTrue(wanted.get(name).equals(there.get(name)), found + "/" + name + " differs");
    }
  }

  static String resumed(Report report) {
    return String.join(
        ", ",
        report.events().stream()
            .filter(e -> e.kind().equals("resumed"))
            .map(Event::message)
            .toList());
  }

  /** Leaves what a process killed after this many linears of a run leaves, under this name. */
  void killed(String name, int linears) {
    String whole = name + "-whole";
    job(whole).listener(at(linears, () -> copy(partial(whole), partial(name)))).run();
    assertTrue(Files.exists(partial(name)), "the run never came to linear " + linears);
  }
}
