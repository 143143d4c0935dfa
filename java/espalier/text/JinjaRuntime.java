// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import espalier.report.EspalierException;
import espalier.text.JinjaFault.Misuse;
import espalier.text.JinjaNodes.Arguments;
import espalier.text.JinjaNodes.Expression;
import espalier.text.JinjaNodes.Statement;
import espalier.text.JinjaValues.Callable;
import espalier.text.JinjaValues.Namespace;
import espalier.text.JinjaValues.Undefined;
import java.time.LocalDateTime;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * One rendering of one template: walks the tree, writes the output.
 *
 * <p>Scopes are Jinja's: every turn of a loop, every block assignment and every macro call has its
 * own; {@code if} has none. Only a namespace carries a value out of a loop.
 */
final class JinjaRuntime {
  private enum Flow {
    ON,
    BREAK,
    CONTINUE
  }

  /** Variables of one scope; names not found here are looked up outside. */
  private static final class Scope {
    final Scope outside;
    final Map<String, Object> variables = new HashMap<>();

    Scope(Scope outside) {
      this.outside = outside;
    }

    Object find(String name) {
      for (Scope scope = this; scope != null; scope = scope.outside) {
        Object value = scope.variables.get(name);
        if (value != null || scope.variables.containsKey(name)) {
          return value;
        }
      }
      return new Undefined("'" + name + "'");
    }
  }

  private final String origin;
  private final JinjaBudget budget = new JinjaBudget();
  private final JinjaValues values = new JinjaValues(budget);
  private final JinjaMethods methods = new JinjaMethods(values);
  private final JinjaTests tests = new JinjaTests(values);
  private final JinjaAccess access = new JinjaAccess(values, methods);
  private final JinjaFilters filters = new JinjaFilters(values, methods, tests, access);
  private StringBuilder out = new StringBuilder();
  private Scope scope = new Scope(null);
  private int loopDepth;

  /** The line of the statement or expression at hand, for messages. */
  private int line = 1;

  private JinjaRuntime(String origin, Map<String, ?> variables, LocalDateTime now) {
    this.origin = origin;
    JinjaGlobals.install(scope.variables, values, now);
    scope = new Scope(scope);
    scope.variables.putAll(variables);
  }

  /**
   * Renders {@code template} with {@code variables}.
   *
   * @throws EspalierException INPUT if the template refuses the values or runs without end,
   *     UNSUPPORTED if it uses something this engine does not have
   */
  static String render(
      String origin, List<Statement> template, Map<String, ?> variables, LocalDateTime now) {
    JinjaRuntime runtime = new JinjaRuntime(origin, variables, now);
    try {
      runtime.run(template);
    } catch (Misuse misuse) {
      throw misuse.at(origin, runtime.line);
    }
    return runtime.out.toString();
  }

  private Flow run(List<Statement> statements) {
    for (Statement statement : statements) {
      budget.step();
      line = statement.line();
      Flow flow = run(statement);
      if (flow != Flow.ON) {
        return flow;
      }
    }
    return Flow.ON;
  }

  private Flow run(Statement statement) {
    if (statement instanceof JinjaNodes.Text text) {
      write(text.text());
    } else if (statement instanceof JinjaNodes.Output output) {
      write(values.text(value(output.value())));
    } else if (statement instanceof JinjaNodes.If conditional) {
      return conditional(conditional);
    } else if (statement instanceof JinjaNodes.For loop) {
      loop(loop);
    } else if (statement instanceof JinjaNodes.Set set) {
      assign(set.targets(), set.attribute(), value(set.value()));
    } else if (statement instanceof JinjaNodes.SetBlock set) {
      String text = captured(set.body(), new Scope(scope));
      assign(List.of(set.target()), set.attribute(), text);
    } else if (statement instanceof JinjaNodes.Macro macro) {
      scope.variables.put(macro.name(), macro(macro, scope));
    } else if (statement instanceof JinjaNodes.Group group) {
      return run(group.body());
    } else if (statement instanceof JinjaNodes.Jump jump) {
      return jump.leaves() ? Flow.BREAK : Flow.CONTINUE;
    }
    return Flow.ON;
  }

  private void write(String text) {
    budget.characters(text.length());
    out.append(text);
  }

  private Flow conditional(JinjaNodes.If conditional) {
    for (int i = 0; i < conditional.bodies().size(); i++) {
      Expression condition = conditional.conditions().get(i);
      if (condition == null || JinjaValues.truth(value(condition))) {
        return run(conditional.bodies().get(i));
      }
    }
    return Flow.ON;
  }

  private void loop(JinjaNodes.For loop) {
    List<Object> items = values.iterate(value(loop.items()));
    Scope outside = scope;
    if (loop.filter() != null) {
      List<Object> kept = new ArrayList<>();
      for (Object item : items) {
        scope = new Scope(outside);
        assign(loop.targets(), null, item);
        if (JinjaValues.truth(value(loop.filter()))) {
          kept.add(item);
        }
      }
      items = kept;
    }
    JinjaLoop state = new JinjaLoop(values, items, ++loopDepth);
    for (Object item : items) {
      budget.step();
      scope = new Scope(outside);
      state.advance();
      scope.variables.put("loop", state);
      assign(loop.targets(), null, item);
      if (run(loop.body()) == Flow.BREAK) {
        break;
      }
    }
    loopDepth--;
    scope = outside;
    if (items.isEmpty()) {
      run(loop.otherwise());
    }
  }

  private void assign(List<String> targets, String attribute, Object value) {
    if (attribute != null) {
      Object target = scope.find(targets.get(0));
      if (!(target instanceof Namespace namespace)) {
        throw Misuse.of("'" + targets.get(0) + "' is not a namespace, its entries cannot be set");
      }
      namespace.attributes().put(attribute, value);
    } else if (targets.size() == 1) {
      scope.variables.put(targets.get(0), value);
    } else {
      List<Object> parts = values.iterate(value);
      if (parts.size() != targets.size()) {
        throw Misuse.of(parts.size() + " values for " + targets.size() + " names");
      }
      for (int i = 0; i < parts.size(); i++) {
        scope.variables.put(targets.get(i), parts.get(i));
      }
    }
  }

  private String captured(List<Statement> body, Scope inside) {
    StringBuilder outerOut = out;
    Scope outerScope = scope;
    out = new StringBuilder();
    scope = inside;
    run(body);
    String text = out.toString();
    out = outerOut;
    scope = outerScope;
    return text;
  }

  private Callable macro(JinjaNodes.Macro macro, Scope home) {
    return (positional, named) -> {
      budget.enter();
      JinjaArguments a = new JinjaArguments(macro.name(), positional, named);
      List<String> parameters = macro.parameters();
      if (positional.size() > parameters.size() || !parameters.containsAll(named.keySet())) {
        throw Misuse.of("the macro " + macro.name() + " does not take these arguments");
      }
      Scope inside = new Scope(home);
      int required = parameters.size() - macro.defaults().size();
      for (int i = 0; i < parameters.size(); i++) {
        String name = parameters.get(i);
        Object value = new Undefined("parameter '" + name + "'");
        if (a.has(i, name)) {
          value = a.get(i, name, null);
        } else if (i >= required) {
          Scope outer = scope;
          scope = inside;
          value = value(macro.defaults().get(i - required));
          scope = outer;
        }
        inside.variables.put(name, value);
      }
      String text = captured(macro.body(), inside);
      budget.leave();
      return text;
    };
  }

  private Object value(Expression expression) {
    budget.enter();
    int outer = line;
    line = expression.line();
    Object value = evaluate(expression);
    line = outer;
    budget.leave();
    return value;
  }

  private Object evaluate(Expression expression) {
    if (expression instanceof JinjaNodes.Literal literal) {
      return literal.value();
    }
    if (expression instanceof JinjaNodes.Name name) {
      return scope.find(name.name());
    }
    if (expression instanceof JinjaNodes.Attribute attribute) {
      return access.attribute(value(attribute.object()), attribute.name());
    }
    if (expression instanceof JinjaNodes.Entry entry) {
      return access.entry(value(entry.object()), value(entry.key()));
    }
    if (expression instanceof JinjaNodes.Slice slice) {
      Object object = value(slice.object());
      return access.slice(
          object, optional(slice.start()), optional(slice.stop()), optional(slice.step()));
    }
    if (expression instanceof JinjaNodes.Items items) {
      return all(items.items());
    }
    if (expression instanceof JinjaNodes.Dictionary dictionary) {
      Map<Object, Object> map = new LinkedHashMap<>();
      for (int i = 0; i < dictionary.keys().size(); i++) {
        map.put(value(dictionary.keys().get(i)), value(dictionary.values().get(i)));
      }
      return map;
    }
    if (expression instanceof JinjaNodes.Call call) {
      return call(call);
    }
    if (expression instanceof JinjaNodes.Filter filter) {
      Object input = value(filter.input());
      return filters.apply(filter.name(), input, arguments(filter.name(), filter.arguments()));
    }
    if (expression instanceof JinjaNodes.Test test) {
      Object input = value(test.input());
      return test.negated()
          != tests.holds(test.name(), input, arguments(test.name(), test.arguments()));
    }
    if (expression instanceof JinjaNodes.Unary unary) {
      return unary(unary);
    }
    if (expression instanceof JinjaNodes.Binary binary) {
      return binary(binary);
    }
    if (expression instanceof JinjaNodes.Comparison comparison) {
      return comparison(comparison);
    }
    JinjaNodes.Choice choice = (JinjaNodes.Choice) expression;
    if (JinjaValues.truth(value(choice.condition()))) {
      return value(choice.yes());
    }
    return choice.no() == null ? new Undefined("an if without else") : value(choice.no());
  }

  private Object optional(Expression expression) {
    return expression == null ? null : value(expression);
  }

  private List<Object> all(List<Expression> expressions) {
    List<Object> all = new ArrayList<>(expressions.size());
    for (Expression expression : expressions) {
      all.add(value(expression));
    }
    return all;
  }

  private JinjaArguments arguments(String callee, Arguments arguments) {
    Map<String, Object> named = new LinkedHashMap<>();
    List<Object> positional = all(arguments.positional());
    for (int i = 0; i < arguments.names().size(); i++) {
      named.put(arguments.names().get(i), value(arguments.named().get(i)));
    }
    return new JinjaArguments(callee, positional, named);
  }

  private Object call(JinjaNodes.Call call) {
    Object target = value(call.target());
    JinjaArguments a = arguments("the call", call.arguments());
    if (target instanceof Callable callable) {
      return callable.call(a.positional(), a.named());
    }
    String what = target instanceof Undefined undefined ? undefined.what() : "a value";
    throw Misuse.of(
        what + (target instanceof Undefined ? " is undefined" : "") + " and cannot be called");
  }

  private Object unary(JinjaNodes.Unary unary) {
    Object operand = value(unary.operand());
    if (unary.operator().equals("not")) {
      return !JinjaValues.truth(operand);
    }
    return unary.operator().equals("-")
        ? values.arithmetic("-", 0L, operand)
        : values.arithmetic("+", 0L, operand);
  }

  private Object binary(JinjaNodes.Binary binary) {
    Object left = value(binary.left());
    return switch (binary.operator()) {
      case "and" -> JinjaValues.truth(left) ? value(binary.right()) : left;
      case "or" -> JinjaValues.truth(left) ? left : value(binary.right());
      case "~" -> values.concatenate(left, value(binary.right()));
      default -> values.arithmetic(binary.operator(), left, value(binary.right()));
    };
  }

  private boolean comparison(JinjaNodes.Comparison comparison) {
    Object left = value(comparison.first());
    for (int i = 0; i < comparison.others().size(); i++) {
      Object right = value(comparison.others().get(i));
      boolean holds =
          switch (comparison.operators().get(i)) {
            case "==" -> values.equal(left, right);
            case "!=" -> !values.equal(left, right);
            case "in" -> values.contains(right, left);
            case "not in" -> !values.contains(right, left);
            case "<" -> values.compare(left, right) < 0;
            case "<=" -> values.compare(left, right) <= 0;
            case ">" -> values.compare(left, right) > 0;
            default -> values.compare(left, right) >= 0;
          };
      if (!holds) {
        return false;
      }
      left = right;
    }
    return true;
  }
}
