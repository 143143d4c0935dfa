// SPDX-License-Identifier: Apache-2.0
package espalier.train;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.checkpoint.Checkpoint;
import espalier.checkpoint.CheckpointWriter;
import espalier.checkpoint.PartialFolder;
import espalier.checkpoint.ShardPlan;
import espalier.gradient.Clipping;
import espalier.gradient.LanguageLoss;
import espalier.gradient.ModelParameters;
import espalier.gradient.Optimizer;
import espalier.gradient.Parameter;
import espalier.gradient.Schedule;
import espalier.gradient.Tape;
import espalier.internal.Json;
import espalier.internal.Version;
import espalier.kernel.Convert;
import espalier.model.FreshWeights;
import espalier.model.Model;
import espalier.recipe.TrainingRecipe;
import espalier.report.EspalierException;
import espalier.report.Event;
import espalier.report.Listener;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import espalier.text.ChatTemplate;
import espalier.text.Samples;
import espalier.text.TextData;
import espalier.text.TokenStream;
import espalier.text.Tokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;

/**
 * A training recipe from first weights to a model folder. What an interrupted or killed run did up
 * to its last state is not done again, and what comes out is the same to the bit.
 *
 * @param output must not exist
 * @param restart whether to begin anew instead of going on
 */
public record TrainingRun(TrainingRecipe recipe, Path output, boolean restart, Listener listener) {
  private static final String INITIAL = "initial";

  /**
   * What came out.
   *
   * @param losses of every step, in nats
   * @param heldOut the mean loss on held-out text before the first and after the last step, NaN
   *     without such text
   * @param resumed the step from which this process went on, 0 for a run of one piece
   */
  public record Result(
      Path output, long parameters, List<Double> losses, double[] heldOut, long resumed) {}

  /**
   * Runs to the end.
   *
   * @throws EspalierException for a recipe, texts or weights that do not fit, before any step;
   *     (FAILED) when the loss is not finite; (INTERRUPTED) when the listener cancels. The last
   *     state stays
   */
  public Result run(Context context) {
    try (PartialFolder folder = PartialFolder.open(output)) {
      if (folder.found() && restart) {
        folder.clear();
      }
      try {
        return run(folder, context);
      } catch (Throwable e) {
        if (TrainingState.present(folder.path())) {
          folder.leave();
        }
        throw e;
      }
    }
  }

  private Result run(PartialFolder folder, Context context) {
    Path start = recipe.model() != null ? recipe.model() : fresh(folder, context);
    try (Tokenizer tokenizer = Tokenizer.find(start).orElse(null);
        Model model = Model.open(start, context)) {
      model.events().forEach(listener::event);
      if (recipe.length() > model.contextLength()) {
        throw EspalierException.usage(
            "train.length is " + recipe.length() + ", the model's context " + model.contextLength(),
            "Take a shorter length.");
      }
      List<Sequence> sequences = sequences(start, tokenizer, model, recipe.data());
      List<Sequence> heldOut =
          recipe.heldOut() == null
              ? List.of()
              : sequences(start, tokenizer, model, recipe.heldOut());
      String identity = identity(model, sequences, heldOut);
      try (ModelParameters parameters = new ModelParameters(model, context);
          Tape tape = new Tape(context, parameters.list());
          Teacher teacher = Teacher.open(recipe.loss(), model, context);
          Optimizer optimizer = Optimizers.make(recipe.update(), parameters.list())) {
        teacher.events().forEach(listener::event);
        TrainingState state =
            new TrainingState(folder.path(), identity, parameters.list(), optimizer);
        Curve curve = state.load();
        long resumed = curve.next();
        if (resumed > 0) {
          listener.event(Event.info("resumed", output.toString(), "went on from step " + resumed));
        }
        LanguageLoss student = new LanguageLoss(model, tape, recipe.recompute());
        Trainer trainer =
            new Trainer(
                context,
                parameters,
                teacher.objective(student),
                optimizer,
                new ShuffledBatches(sequences, recipe.batch(), recipe.seed()),
                schedule(),
                new Clipping(
                    recipe.update().clip() == 0
                        ? Double.POSITIVE_INFINITY
                        : recipe.update().clip()),
                recipe.accumulation());
        try (HeldOutLoss evaluation = new HeldOutLoss(model, context, heldOut)) {
          if (resumed == 0) {
            measure(evaluation, curve);
          }
          trainer.run(
              resumed, recipe.steps(), step -> after(step, curve, evaluation, state), listener);
        }
        write(folder, model, parameters, curve, context);
        double[] ends =
            curve.heldOut().isEmpty()
                ? new double[] {Double.NaN, Double.NaN}
                : new double[] {
                  curve.heldOut().get(0).loss(),
                  curve.heldOut().get(curve.heldOut().size() - 1).loss()
                };
        List<Double> losses = curve.steps().stream().map(StepResult::loss).toList();
        return new Result(folder.publish(), parameters.count(), losses, ends, resumed);
      }
    }
  }

  private void after(StepResult step, Curve curve, HeldOutLoss evaluation, TrainingState state) {
    curve.add(step);
    boolean last = curve.next() == recipe.steps();
    if (last || curve.next() % recipe.checkpoint() == 0) {
      measure(evaluation, curve);
    }
    if (!last && curve.next() % recipe.checkpoint() == 0) {
      state.save(curve);
    }
  }

  private void measure(HeldOutLoss evaluation, Curve curve) {
    if (!evaluation.isEmpty()) {
      curve.add(new Curve.HeldOut(curve.next(), evaluation.mean()));
    }
  }

  private Schedule schedule() {
    TrainingRecipe.Update update = recipe.update();
    return new Schedule(
        Schedule.Curve.valueOf(update.curve().toUpperCase(Locale.ROOT)),
        update.rate(),
        update.floor(),
        update.warmup(),
        recipe.steps());
  }

  // ---- what a run begins with

  /** Returns a folder with fresh weights for the config, made once for this output. */
  private Path fresh(PartialFolder folder, Context context) {
    Path initial = folder.path().resolve(INITIAL);
    if (Files.isDirectory(initial)) {
      return initial;
    }
    ObjectNode json = config(recipe.config());
    FreshWeights weights = new FreshWeights(recipe.config().toString(), json);
    try (CheckpointWriter writer =
        CheckpointWriter.create(initial, ShardPlan.DEFAULT_SHARD_BYTES)) {
      weights.write(writer, context, recipe.deviation(), recipe.seed());
      writer.text("config.json", json.toPrettyString());
      writer.copyCompanions(recipe.tokenizer());
      return writer.finish();
    }
  }

  private static ObjectNode config(Path file) {
    try {
      if (Json.STRICT.readTree(Files.readAllBytes(file)) instanceof ObjectNode json) {
        return json;
      }
      throw EspalierException.input(file + ": not a JSON object", "Give a config.json.");
    } catch (IOException e) {
      throw EspalierException.input(
          file + ": cannot be read: " + e.getMessage(), "Give a config.json.");
    }
  }

  private List<Sequence> sequences(Path start, Tokenizer tokenizer, Model model, Path file) {
    Samples samples = TextData.open(file, tokenizer, () -> ChatTemplate.open(start)).documents();
    samples.requireRows(model.vocabulary());
    List<int[]> documents = List.of(samples.ids());
    if (recipe.packing().equals("rows")) {
      return Packing.rows(documents, recipe.length());
    }
    return Packing.documents(documents.stream().map(Sequence::new).toList(), recipe.length());
  }

  /** Names everything that the result depends on, so that a state is not taken for another's. */
  private String identity(Model model, List<Sequence> sequences, List<Sequence> heldOut) {
    Checkpoint checkpoint = model.checkpoint();
    List<String> parts = new ArrayList<>(List.of(Version.TEXT, recipe.numbers()));
    checkpoint.weightFiles().forEach(file -> parts.add(checkpoint.sha256(file)));
    parts.add(tokens(sequences));
    parts.add(tokens(heldOut));
    if (recipe.loss().teacher() != null) {
      try (Checkpoint teacher = Checkpoint.open(recipe.loss().teacher())) {
        teacher.weightFiles().forEach(file -> parts.add(teacher.sha256(file)));
      }
    }
    return String.join("\n", parts);
  }

  private static String tokens(List<Sequence> sequences) {
    return TokenStream.sha256(sequences.stream().map(Sequence::ids).toArray(int[][]::new));
  }

  // ---- what it ends with

  private void write(
      PartialFolder folder, Model model, ModelParameters parameters, Curve curve, Context context) {
    Checkpoint source = model.checkpoint();
    clear(folder.payload());
    CheckpointWriter writer = CheckpointWriter.in(folder, "", ShardPlan.DEFAULT_SHARD_BYTES);
    for (Parameter parameter : parameters.list()) {
      writer.declare(parameter.name(), type(source, parameter), parameter.value().shape());
    }
    writer.begin();
    for (Parameter parameter : parameters.list()) {
      DType type = type(source, parameter);
      try (Context.Scope scope = context.scope()) {
        Tensor value = parameter.value();
        writer.write(
            parameter.name(), type == DType.F32 ? value : Convert.fromFloat(context, value, type));
      }
    }
    writer.text("config.json", outputConfig(source).toPrettyString());
    writer.copyCompanions(source);
    writer.text("espalier-training.json", report(curve, parameters).toPrettyString());
    writer.seal();
  }

  /** Removes what a run left that was killed while it wrote its output. */
  private static void clear(Path payload) {
    try (Stream<Path> files = Files.walk(payload)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        if (!file.equals(payload)) {
          Files.delete(file);
        }
      }
    } catch (IOException e) {
      throw PartialFolder.failure(payload, e);
    }
  }

  private DType type(Checkpoint source, Parameter parameter) {
    if (recipe.dtype() != null) {
      return DType.valueOf(recipe.dtype());
    }
    DType stored = source.get(parameter.name()).dtype();
    return stored == DType.F16 || stored == DType.BF16 ? stored : DType.F32;
  }

  private ObjectNode outputConfig(Checkpoint source) {
    ObjectNode config = source.json("config.json").orElseThrow().deepCopy();
    if (recipe.dtype() != null) {
      String type =
          switch (recipe.dtype()) {
            case "BF16" -> "bfloat16";
            case "F16" -> "float16";
            default -> "float32";
          };
      config.put(config.has("dtype") ? "dtype" : "torch_dtype", type);
    }
    return config;
  }

  private ObjectNode report(Curve curve, ModelParameters parameters) {
    ObjectNode report = Json.STRICT.createObjectNode();
    report.put("schema", 1).put("version", Version.TEXT).put("recipe", recipe.numbers());
    report.put("parameters", parameters.count());
    ArrayNode steps = report.putArray("steps");
    for (StepResult step : curve.steps()) {
      steps
          .addObject()
          .put("loss", step.loss())
          .put("gradient_norm", step.gradientNorm())
          .put("rate", step.rate())
          .put("tokens", step.tokens());
    }
    ArrayNode heldOut = report.putArray("held_out");
    for (Curve.HeldOut measured : curve.heldOut()) {
      heldOut.addObject().put("step", measured.step()).put("loss", measured.loss());
    }
    return report;
  }
}
