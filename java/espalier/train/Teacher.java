// SPDX-License-Identifier: Apache-2.0
package espalier.train;

import espalier.gradient.LanguageLoss;
import espalier.gradient.Tape;
import espalier.kernel.LossGradient.Divergence;
import espalier.model.Model;
import espalier.recipe.TrainingRecipe;
import espalier.report.EspalierException;
import espalier.report.Event;
import espalier.tensor.Context;
import java.util.List;

/** The objective of a recipe, with the model it distils from, if there is one. */
record Teacher(TrainingRecipe.Loss loss, Model model, Tape tape) implements AutoCloseable {
  /**
   * Opens the teacher of a recipe.
   *
   * @throws EspalierException (INPUT) when it does not fit the student
   */
  static Teacher open(TrainingRecipe.Loss loss, Model student, Context context) {
    if (loss.teacher() == null) {
      return new Teacher(loss, null, null);
    }
    Model model = Model.open(loss.teacher(), context);
    try {
      if (model.vocabulary() != student.vocabulary()) {
        throw misfit(loss, "a vocabulary of " + model.vocabulary(), "" + student.vocabulary());
      }
      boolean alike =
          model.config().hiddenSize() == student.config().hiddenSize()
              && model.blocks().size() == student.blocks().size();
      if (loss.hidden() > 0 && !alike) {
        throw misfit(
            loss,
            model.blocks().size() + " blocks of width " + model.config().hiddenSize(),
            student.blocks().size() + " of " + student.config().hiddenSize());
      }
      return new Teacher(loss, model, new Tape(context, List.of()));
    } catch (Throwable e) {
      model.close();
      throw e;
    }
  }

  private static EspalierException misfit(TrainingRecipe.Loss loss, String has, String wanted) {
    return EspalierException.input(
        loss.teacher() + ": the teacher has " + has + ", the student " + wanted,
        "Take a teacher of the same kind.");
  }

  /** Returns the objective for a student on the tape that trains it. */
  Objective objective(LanguageLoss student) {
    if (model == null) {
      return new CrossEntropy(student);
    }
    Divergence kind =
        switch (loss.divergence()) {
          case "reverse" -> Divergence.reverse(loss.temperature());
          case "jensen-shannon" -> Divergence.jensenShannon(loss.beta());
          default -> Divergence.forward(loss.temperature());
        };
    LanguageLoss own = new LanguageLoss(model, tape, false);
    return new Distillation(student, own, kind, loss.labels(), loss.hidden());
  }

  /** Returns what a user should know about the teacher. */
  List<Event> events() {
    return model == null ? List.of() : model.events();
  }

  @Override
  public void close() {
    if (model != null) {
      tape.close();
      model.close();
    }
  }
}
