// SPDX-License-Identifier: Apache-2.0
package espalier;

import espalier.compress.CompressionRun;
import espalier.compress.DryRun;
import espalier.compress.MachineCache;
import espalier.compress.MemoryPlan;
import espalier.compress.Modifiers;
import espalier.compress.OutputFormat;
import espalier.compress.Plan;
import espalier.compress.SizePlan;
import espalier.compress.TimeEstimate;
import espalier.compress.Workload;
import espalier.model.Model;
import espalier.recipe.PruneForm;
import espalier.recipe.ReadyRecipes;
import espalier.recipe.Recipe;
import espalier.recipe.ShortForm;
import espalier.report.EspalierException;
import espalier.report.Event;
import espalier.report.Listener;
import espalier.report.Phase;
import espalier.report.Report;
import espalier.tensor.Context;
import espalier.text.ChatTemplate;
import espalier.text.FolderTokenizer;
import espalier.text.Samples;
import espalier.text.TextData;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.OptionalLong;
import java.util.stream.Stream;

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

  /** What is done where only the zeros of a pruned model are to be left out. */
  private static final String UNCHANGED = "# no modifier: every weight keeps its value\n";

  private final Path model;
  private Path recipeFile;
  private String readyRecipe;
  private String scheme;
  private String method;
  private Integer groupSize;
  private String sparsity;
  private String pruneMethod;
  private Boolean followDense;
  private Path data;
  private int samples = DEFAULT_SAMPLES;
  private int maxLength = DEFAULT_MAX_LENGTH;
  private Path output;
  private List<OutputFormat> formats = List.of();
  private long shardBytes = DEFAULT_SHARD_BYTES;
  private int threads;
  private boolean restart;
  private Path evaluation;
  private int evaluationLimit;
  private boolean strict;
  private OptionalLong memoryBudget = OptionalLong.empty();
  private MachineCache machines = MachineCache.ofUser(System.getenv());
  private Listener listener = Listener.NONE;

  CompressionJob(Path model) {
    this.model = model;
  }

  /** Takes what to do from a recipe file. Excludes {@link #scheme}. */
  public CompressionJob recipe(Path file) {
    recipeFile = file;
    return this;
  }

  /**
   * Takes one of the recipes that come with us, such as {@code w4a16-gptq}. Excludes {@link
   * #recipe} and {@link #scheme}.
   */
  public CompressionJob readyRecipe(String name) {
    readyRecipe = name;
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

  /**
   * Prunes every linear but the output head: a share such as {@code 0.5} of all weights, or n zeros
   * in every m columns as {@code 2:4}. With a {@link #scheme} what stays is quantized too.
   */
  public CompressionJob sparsity(String shareOrPattern) {
    sparsity = shareOrPattern;
    return this;
  }

  /**
   * Solves linears for what the dense model's gave, so that each makes up for those before it, or
   * leaves that; without this call SparseGPT does and GPTQ alone does not. Costs a second pass of
   * the texts, and memory for a square of a linear's inputs.
   */
  public CompressionJob followDense(boolean follow) {
    followDense = follow;
    return this;
  }

  /**
   * Chooses {@code sparsegpt} (the default, needs data), {@code wanda} (needs data) or {@code
   * magnitude} for {@link #sparsity}.
   */
  public CompressionJob pruneMethod(String name) {
    pruneMethod = name;
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
   * several into a folder each below it, named like the format. Without a call the recipe's own
   * formats are written, or compressed-tensors.
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

  /**
   * Sets the most bytes that may be resident at any moment, as the kernel counts them: pages of
   * mapped files and Java's own memory included.
   */
  public CompressionJob memoryBudget(long bytes) {
    memoryBudget = OptionalLong.of(bytes);
    return this;
  }

  /** Sets where the speed of this machine is kept, which {@link #dryRun} needs. */
  public CompressionJob machines(MachineCache cache) {
    machines = cache;
    return this;
  }

  /** Throws away what an earlier run with the same output left, instead of going on with it. */
  public CompressionJob restart(boolean value) {
    restart = value;
    return this;
  }

  /**
   * Measures quality before and after on the documents of a file, for the report.
   *
   * @param limit the most documents; 0 for all
   */
  public CompressionJob evaluate(Path file, int limit) {
    evaluation = file;
    evaluationLimit = limit;
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
   * Returns the recipe in full, as text: the file's or ready recipe's own, or what {@link #scheme}
   * stands for. Reads no model.
   *
   * @throws EspalierException (USAGE) for a fault in the recipe or the scheme
   */
  public String recipeText() {
    return source().text();
  }

  /**
   * Runs the whole: read, plan, calibrate, compress, write, reopen and compare.
   *
   * @return the report, which also lies in the output folder
   * @throws EspalierException with the kind of the fault; nothing is then left under the output's
   *     name. Cancelled or out of disk, the same job goes on after the last finished block
   */
  public Report run() {
    if (output == null) {
      throw EspalierException.usage("no output folder given", "Name one with -o.");
    }
    Report report = new Report(strict ? strictly(listener) : listener);
    Source recipe = source();
    try (Context context = Context.cpu(threads);
        Model opened = Model.open(model, context)) {
      Plan plan = Plan.of(opened, recipe.recipe(), formats(recipe.recipe()), recipe.text());
      List<int[]> texts = plan.needsCalibration() ? calibrationTexts(opened, report) : List.of();
      MemoryPlan memory =
          MemoryPlan.of(opened, plan, Workload.of(texts), context.threads(), memoryBudget);
      CompressionRun run = new CompressionRun(context, opened, plan, report, listener);
      if (evaluation != null) {
        QualityCheck quality = new QualityCheck(opened, evaluation, evaluationLimit);
        run.inspect(written -> quality.measure(written, context, report, listener));
      }
      report.timings().add(Phase.OPEN, "", report.timings().total());
      return run.within(memory).restart(restart).to(output, shardBytes, texts);
    }
  }

  /**
   * Tells what {@link #run} would do and cost, from the headers of the checkpoint alone: no tensor
   * is read (but for a sparse output, the linears whose zeros are the source's own), nothing is
   * written. Calibration texts are not read either; as many and as long as asked for are counted.
   *
   * @throws EspalierException for what the request gets wrong, as run does
   */
  public DryRun dryRun() {
    Source recipe = source();
    try (Context context = Context.cpu(threads);
        Model outline = Model.outline(model, context)) {
      Plan plan = Plan.of(outline, recipe.recipe(), formats(recipe.recipe()), recipe.text());
      Workload work = Workload.NONE;
      if (plan.needsCalibration()) {
        requireCounts();
        work = Workload.atMost(samples, Math.min(maxLength, outline.contextLength()));
      }
      MemoryPlan memory = MemoryPlan.of(outline, plan, work, context.threads(), memoryBudget);
      MachineCache.Found machine = machines.find(context);
      return new DryRun(
          outline,
          plan,
          work,
          memory,
          SizePlan.of(outline, plan, shardBytes),
          TimeEstimate.of(outline, plan, work, machine.profile()),
          machine.origin());
    }
  }

  /** Returns what is asked for here, else by the recipe, else compressed-tensors. */
  private List<OutputFormat> formats(Recipe recipe) {
    if (!formats.isEmpty()) {
      return formats;
    }
    List<OutputFormat> own = List.of();
    List<String> names = recipe.extension().formats();
    for (int i = 0; i < names.size(); i++) {
      try {
        own = OutputFormat.with(own, names.get(i));
      } catch (EspalierException e) {
        throw recipe.formatError(i, e.getMessage());
      }
    }
    return own.isEmpty() ? List.of(OutputFormat.COMPRESSED_TENSORS) : own;
  }

  /** A recipe with its text, which goes into the report and the model card. */
  private record Source(Recipe recipe, String text) {}

  private Source source() {
    if (sparsity != null || pruneMethod != null) {
      return pruningSource();
    }
    long given = Stream.of(recipeFile, readyRecipe, scheme).filter(Objects::nonNull).count();
    if (given == 0 && formats.equals(List.of(OutputFormat.SPARSE))) {
      return new Source(new Recipe("", List.of(), List.of()), UNCHANGED);
    }
    if (given != 1) {
      throw EspalierException.usage(
          given == 0 ? "neither a recipe nor a scheme is given" : "a recipe and a scheme are given",
          "Give one of them: --recipe FILE.yaml, --recipe w4a16-gptq, --scheme W4A16 or --sparsity"
              + " 0.5.");
    }
    if (scheme != null) {
      return source(ShortForm.of(scheme, method, groupSize, Modifiers.REGISTRY));
    }
    if (followDense != null) {
      throw EspalierException.usage(
          "--follow-dense is given beside a recipe",
          "Write espalier: {follow_dense: true} into the recipe.");
    }
    if (method != null || groupSize != null) {
      throw EspalierException.usage(
          "a method or group size is given beside a recipe", "Write them into the recipe.");
    }
    if (readyRecipe != null) {
      String text = ReadyRecipes.text(readyRecipe);
      return new Source(Recipe.parse(text, readyRecipe, Modifiers.REGISTRY), text);
    }
    Recipe recipe = Recipe.read(recipeFile, Modifiers.REGISTRY);
    try {
      return new Source(recipe, Files.readString(recipeFile));
    } catch (IOException e) {
      throw EspalierException.input(recipeFile + ": cannot be read again", "Check the file.");
    }
  }

  private Source pruningSource() {
    if (recipeFile != null || readyRecipe != null) {
      throw EspalierException.usage(
          "a recipe and --sparsity or --prune-method are given", "Write them into the recipe.");
    }
    if (sparsity == null) {
      throw EspalierException.usage(
          "--prune-method is given without --sparsity", "Say how much, such as --sparsity 0.5.");
    }
    PruneForm pruning = PruneForm.of(sparsity, pruneMethod);
    return source(ShortForm.of(pruning, scheme, method, groupSize, Modifiers.REGISTRY));
  }

  private Source source(ShortForm standard) {
    ShortForm form =
        followDense == null ? standard : standard.followingDense(followDense, Modifiers.REGISTRY);
    return new Source(form.recipe(), form.yaml());
  }

  private List<int[]> calibrationTexts(Model opened, Report report) {
    if (data == null) {
      throw EspalierException.usage(
          "this recipe needs calibration text, and none is given",
          sparsity == null
              ? "Name a file with --data, or quantize without data by --method rtn."
              : scheme == null
                  ? "Name a file with --data, or prune without data by --prune-method magnitude."
                  : "Name a file with --data, or do without data by --prune-method magnitude"
                      + " --method rtn.");
    }
    requireCounts();
    Path folder = opened.checkpoint().folder();
    // A model without a tokenizer takes texts that are token ids already.
    try (FolderTokenizer tokenizer = new FolderTokenizer(folder)) {
      TextData text = TextData.openLazily(data, tokenizer, () -> ChatTemplate.open(folder));
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

  private void requireCounts() {
    if (samples < 1 || maxLength < 1) {
      throw EspalierException.usage(
          "--samples and --max-length must be 1 or more", "Leave them out for the defaults.");
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
