// SPDX-License-Identifier: Apache-2.0
package espalier;

import espalier.compress.CompressionRun;
import espalier.compress.Modifiers;
import espalier.compress.OutputFormat;
import espalier.compress.Plan;
import espalier.model.Model;
import espalier.recipe.Recipe;
import espalier.recipe.ShortForm;
import espalier.report.EspalierException;
import espalier.report.Event;
import espalier.report.Listener;
import espalier.report.Report;
import espalier.tensor.Context;
import espalier.text.ChatTemplate;
import espalier.text.Samples;
import espalier.text.TextData;
import espalier.text.Tokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;

/**
 * One compression, described step by step and then {@linkplain #run run}: a dense checkpoint in, a
 * compressed one out. Made by {@link Espalier#compress}; used once, by one thread.
 *
 * <pre>{@code
 * Report report =
 *     Espalier.compress(Path.of("model")).scheme("W4A16").data(Path.of("texts.jsonl")).output(Path.of("out")).run();
 * }</pre>
 */
public final class CompressionJob {
  /** Calibration texts taken unless asked otherwise. */
  public static final int DEFAULT_SAMPLES = 128;

  /** Tokens of a calibration text unless asked otherwise; never more than the model's context. */
  public static final int DEFAULT_MAX_LENGTH = 2048;

  /** Bytes of one weight file unless asked otherwise. */
  public static final long DEFAULT_SHARD_BYTES = 5_000_000_000L;

  private final Path model;
  private Path recipeFile;
  private String scheme;
  private String method;
  private Integer groupSize;
  private Path data;
  private int samples = DEFAULT_SAMPLES;
  private int maxLength = DEFAULT_MAX_LENGTH;
  private Path output;
  private List<OutputFormat> formats = List.of(OutputFormat.COMPRESSED_TENSORS);
  private long shardBytes = DEFAULT_SHARD_BYTES;
  private int threads;
  private boolean strict;
  private Listener listener = Listener.NONE;

  CompressionJob(Path model) {
    this.model = model;
  }

  /** Takes what to do from a recipe file. Excludes {@link #scheme}. */
  public CompressionJob recipe(Path file) {
    recipeFile = file;
    return this;
  }

  /** Quantizes every linear but the output head to a preset such as {@code W4A16}. */
  public CompressionJob scheme(String preset) {
    scheme = preset;
    return this;
  }

  /** Chooses {@code gptq} (the default, needs data) or {@code rtn} for {@link #scheme}. */
  public CompressionJob method(String name) {
    method = name;
    return this;
  }

  /** Overrides the preset's columns per scale; 0 or −1 for one scale a row. */
  public CompressionJob groupSize(int columns) {
    groupSize = columns;
    return this;
  }

  /** Sets the calibration texts: JSONL or plain text. */
  public CompressionJob data(Path file) {
    data = file;
    return this;
  }

  /** Sets how many texts are taken, from the start of the file. */
  public CompressionJob samples(int count) {
    samples = count;
    return this;
  }

  /** Sets how many tokens of a text are taken. */
  public CompressionJob maxLength(int tokens) {
    maxLength = tokens;
    return this;
  }

  /** Sets the folder to write; it must not exist. */
  public CompressionJob output(Path folder) {
    output = folder;
    return this;
  }

  /**
   * Sets the formats of the output, all written from one solve: one into the output folder itself,
   * several into a folder each below it, named like the format.
   */
  public CompressionJob format(OutputFormat... values) {
    formats = List.of(values);
    return this;
  }

  /** Sets the largest weight file in bytes. */
  public CompressionJob shardBytes(long bytes) {
    shardBytes = bytes;
    return this;
  }

  /** Sets the number of threads, 0 for all processors. Results do not depend on it. */
  public CompressionJob threads(int count) {
    threads = count;
    return this;
  }

  /** Makes every warning an error. */
  public CompressionJob strict(boolean value) {
    strict = value;
    return this;
  }

  /** Sets who hears of progress and may cancel. */
  public CompressionJob listener(Listener value) {
    listener = value;
    return this;
  }

  /**
   * Runs the whole: read, plan, calibrate, compress, write, reopen and compare.
   *
   * @return the report, which also lies in the output folder
   * @throws EspalierException with the kind of the fault; nothing is then left under the output's
   *     name
   */
  public Report run() {
    if (output == null) {
      throw EspalierException.usage("no output folder given", "Name one with -o.");
    }
    Report report = new Report(strict ? strictly(listener) : listener);
    Source recipe = recipe();
    try (Context context = Context.cpu(threads);
        Model opened = Model.open(model, context)) {
      Plan plan = Plan.of(opened, recipe.recipe(), formats, recipe.text());
      List<int[]> texts = plan.needsCalibration() ? calibrationTexts(opened, report) : List.of();
      CompressionRun run = new CompressionRun(context, opened, plan, report, listener);
      return run.to(output, shardBytes, texts);
    }
  }

  /** A recipe with its text, which goes into the report and the model card. */
  private record Source(Recipe recipe, String text) {}

  private Source recipe() {
    if ((recipeFile == null) == (scheme == null)) {
      throw EspalierException.usage(
          recipeFile == null
              ? "neither a recipe nor a scheme is given"
              : "a recipe and a scheme are given",
          "Give one of them: --recipe FILE.yaml or --scheme W4A16.");
    }
    if (recipeFile == null) {
      ShortForm form = ShortForm.of(scheme, method, groupSize, Modifiers.REGISTRY);
      return new Source(form.recipe(), form.yaml());
    }
    if (method != null || groupSize != null) {
      throw EspalierException.usage(
          "a method or group size is given beside a recipe", "Write them into the recipe.");
    }
    Recipe recipe = Recipe.read(recipeFile, Modifiers.REGISTRY);
    try {
      return new Source(recipe, Files.readString(recipeFile));
    } catch (IOException e) {
      throw EspalierException.input(recipeFile + ": cannot be read again", "Check the file.");
    }
  }

  private List<int[]> calibrationTexts(Model opened, Report report) {
    if (data == null) {
      throw EspalierException.usage(
          "this recipe needs calibration text, and none is given",
          "Name a file with --data, or quantize without data by --method rtn.");
    }
    if (samples < 1 || maxLength < 1) {
      throw EspalierException.usage(
          "--samples and --max-length must be 1 or more", "Leave them out for the defaults.");
    }
    Path folder = opened.checkpoint().folder();
    // A model without a tokenizer takes texts that are token ids already.
    try (Tokenizer tokenizer = Tokenizer.find(folder).orElse(null)) {
      TextData text = TextData.open(data, tokenizer, () -> ChatTemplate.open(folder));
      int length = Math.min(maxLength, opened.contextLength());
      Samples taken = text.documents(samples, length);
      taken.events().forEach(report::event);
      taken.requireRows(opened.vocabulary());
      List<int[]> ids = Arrays.stream(taken.ids()).filter(id -> id.length > 0).toList();
      if (ids.isEmpty()) {
        throw EspalierException.input(
            data + ": no calibration text in it, every text is empty",
            "Give texts with words in them.");
      }
      report.fact("calibration_file", data.getFileName().toString());
      report.fact("calibration_samples", ids.size());
      report.fact("calibration_tokens", ids.stream().mapToLong(id -> id.length).sum());
      report.fact("calibration_sha256", taken.sha256());
      return ids;
    }
  }

  private static Listener strictly(Listener listener) {
    return new Listener() {
      @Override
      public void progress(String stage, long done, long total, String detail) {
        listener.progress(stage, done, total, detail);
      }

      @Override
      public void event(Event event) {
        listener.event(event);
        if (event.severity() == Event.Severity.WARNING) {
          throw EspalierException.failed(
              event.where() + ": " + event.message(), "Leave out --strict to accept this.");
        }
      }

      @Override
      public boolean cancelled() {
        return listener.cancelled();
      }
    };
  }
}
