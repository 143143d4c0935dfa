// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import java.util.List;

/** The syntax tree of a template. Every node is immutable and knows its line. */
final class JinjaNodes {
  private JinjaNodes() {}

  /** Something that has a value. */
  sealed interface Expression {
    int line();
  }

  record Literal(Object value, int line) implements Expression {}

  record Name(String name, int line) implements Expression {}

  /** A list or, written with parentheses, a tuple. */
  record Items(List<Expression> items, int line) implements Expression {}

  record Dictionary(List<Expression> keys, List<Expression> values, int line)
      implements Expression {}

  /** {@code object.name}: an attribute or method first, an entry second. */
  record Attribute(Expression object, String name, int line) implements Expression {}

  /** {@code object[key]}: an entry first, an attribute second. */
  record Entry(Expression object, Expression key, int line) implements Expression {}

  /** {@code object[start:stop:step]}; each bound may be null. */
  record Slice(Expression object, Expression start, Expression stop, Expression step, int line)
      implements Expression {}

  /** Arguments of a call, filter or test. {@code names} belong to {@code named}, in order. */
  record Arguments(List<Expression> positional, List<String> names, List<Expression> named) {
    static final Arguments NONE = new Arguments(List.of(), List.of(), List.of());
  }

  record Call(Expression target, Arguments arguments, int line) implements Expression {}

  record Filter(Expression input, String name, Arguments arguments, int line)
      implements Expression {}

  record Test(Expression input, String name, Arguments arguments, boolean negated, int line)
      implements Expression {}

  /** {@code not}, {@code -} or {@code +}. */
  record Unary(String operator, Expression operand, int line) implements Expression {}

  /** Arithmetic, {@code ~}, {@code and}, {@code or}. */
  record Binary(String operator, Expression left, Expression right, int line)
      implements Expression {}

  /** {@code a < b <= c}: holds if every neighbouring pair does. */
  record Comparison(Expression first, List<String> operators, List<Expression> others, int line)
      implements Expression {}

  /** {@code yes if condition else no}; {@code no} may be null. */
  record Choice(Expression condition, Expression yes, Expression no, int line)
      implements Expression {}

  /** Something that writes output or changes variables. */
  sealed interface Statement {
    int line();
  }

  record Text(String text, int line) implements Statement {}

  record Output(Expression value, int line) implements Statement {}

  /** Branches in order; a null condition is the else branch. */
  record If(List<Expression> conditions, List<List<Statement>> bodies, int line)
      implements Statement {}

  /** {@code filter} may be null; {@code otherwise} runs if there was no item. */
  record For(
      List<String> targets,
      Expression items,
      Expression filter,
      List<Statement> body,
      List<Statement> otherwise,
      int line)
      implements Statement {}

  /** Assigns to names, or to an attribute of a namespace if {@code attribute} is not null. */
  record Set(List<String> targets, String attribute, Expression value, int line)
      implements Statement {}

  /** Assigns what its body writes. */
  record SetBlock(String target, String attribute, List<Statement> body, int line)
      implements Statement {}

  /** {@code defaults} stand for the last parameters. */
  record Macro(
      String name,
      List<String> parameters,
      List<Expression> defaults,
      List<Statement> body,
      int line)
      implements Statement {}

  /** A body that is written as it stands ({@code generation} marks what an assistant said). */
  record Group(List<Statement> body, int line) implements Statement {}

  /** {@code break} or {@code continue}. */
  record Jump(boolean leaves, int line) implements Statement {}
}
