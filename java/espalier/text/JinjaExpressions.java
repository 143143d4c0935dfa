// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import espalier.text.JinjaLexer.Kind;
import espalier.text.JinjaLexer.Token;
import espalier.text.JinjaNodes.Arguments;
import espalier.text.JinjaNodes.Expression;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/**
 * Reads expressions, loosest binding first.
 *
 * <pre>
 * choice = or ["if" or ["else" choice]]        or   = and {"or" and}
 * and    = not {"and" not}                     not  = "not" not | compare
 * compare = sum {(== != &lt; &lt;= &gt; &gt;= | "in" | "not in") sum}
 * sum    = concat {(+ -) concat}               concat  = product {"~" product}
 * product = power {(* / // %) power}           power = unary {"**" unary}
 * unary  = (- +) unary | primary {.name | [key] | (args)} {"|" filter | "is" test}
 * </pre>
 */
final class JinjaExpressions {
  private static final int MAX_DEPTH = 100;
  private static final Set<String> COMPARISONS = Set.of("==", "!=", "<", "<=", ">", ">=");

  /** Words that end a test's name rather than start its argument. */
  private static final Set<String> NOT_ARGUMENTS = Set.of("else", "or", "and", "if", "in", "is");

  private final String origin;
  private final List<Token> tokens;
  private int at;
  private int depth;

  JinjaExpressions(String origin, List<Token> tokens) {
    this.origin = origin;
    this.tokens = tokens;
  }

  Token peek() {
    return tokens.get(at);
  }

  /** Returns the current token and passes it; the end is never passed. */
  Token next() {
    Token token = tokens.get(at);
    if (token.kind() != Kind.END) {
      at++;
    }
    return token;
  }

  Token expect(Kind kind, String what) {
    Token token = next();
    if (token.kind() != kind) {
      String message = "expected " + what + ", found " + token.shown();
      throw JinjaFault.syntax(origin, token.line(), message);
    }
    return token;
  }

  boolean take(String operator) {
    if (peek().is(operator)) {
      at++;
      return true;
    }
    return false;
  }

  private boolean takeName(String name) {
    if (peek().isName(name)) {
      at++;
      return true;
    }
    return false;
  }

  private void require(String operator) {
    if (!take(operator)) {
      String message = "expected '" + operator + "', found " + peek().shown();
      throw JinjaFault.syntax(origin, peek().line(), message);
    }
  }

  /** An expression, or several with commas between: a tuple. */
  Expression tuple() {
    Expression first = expression();
    if (!peek().is(",")) {
      return first;
    }
    List<Expression> items = new ArrayList<>(List.of(first));
    while (take(",")) {
      Kind kind = peek().kind();
      if (kind == Kind.BLOCK_END || kind == Kind.VARIABLE_END || peek().is(")")) {
        break;
      }
      items.add(expression());
    }
    return new JinjaNodes.Items(items, first.line());
  }

  Expression expression() {
    if (++depth > MAX_DEPTH) {
      String message = "an expression is nested more than " + MAX_DEPTH + " deep";
      throw JinjaFault.syntax(origin, peek().line(), message);
    }
    Expression value = either();
    while (peek().isName("if")) {
      int line = next().line();
      Expression condition = either();
      Expression no = takeName("else") ? expression() : null;
      value = new JinjaNodes.Choice(condition, value, no, line);
    }
    depth--;
    return value;
  }

  /** What a loop runs over: a following {@code if} belongs to the loop, not to the value. */
  Expression iterable() {
    return either();
  }

  private Expression either() {
    Expression left = both();
    while (peek().isName("or")) {
      int line = next().line();
      left = new JinjaNodes.Binary("or", left, both(), line);
    }
    return left;
  }

  private Expression both() {
    Expression left = negation();
    while (peek().isName("and")) {
      int line = next().line();
      left = new JinjaNodes.Binary("and", left, negation(), line);
    }
    return left;
  }

  private Expression negation() {
    int negations = 0;
    int line = peek().line();
    while (takeName("not")) {
      negations++;
    }
    Expression value = comparison();
    for (int i = 0; i < Math.min(negations, 2 + negations % 2); i++) {
      value = new JinjaNodes.Unary("not", value, line);
    }
    return value;
  }

  private Expression comparison() {
    Expression first = sum();
    List<String> operators = new ArrayList<>();
    List<Expression> others = new ArrayList<>();
    while (true) {
      Token token = peek();
      if (token.kind() == Kind.OPERATOR && COMPARISONS.contains(token.text())) {
        operators.add(next().text());
      } else if (takeName("in")) {
        operators.add("in");
      } else if (token.isName("not") && tokens.get(at + 1).isName("in")) {
        at += 2;
        operators.add("not in");
      } else {
        break;
      }
      others.add(sum());
    }
    return others.isEmpty()
        ? first
        : new JinjaNodes.Comparison(first, operators, others, first.line());
  }

  private Expression sum() {
    Expression left = concatenation();
    while (peek().is("+") || peek().is("-")) {
      Token operator = next();
      left = new JinjaNodes.Binary(operator.text(), left, concatenation(), operator.line());
    }
    return left;
  }

  private Expression concatenation() {
    Expression left = product();
    while (peek().is("~")) {
      Token operator = next();
      left = new JinjaNodes.Binary("~", left, product(), operator.line());
    }
    return left;
  }

  private Expression product() {
    Expression left = power();
    while (peek().is("*") || peek().is("/") || peek().is("//") || peek().is("%")) {
      Token operator = next();
      left = new JinjaNodes.Binary(operator.text(), left, power(), operator.line());
    }
    return left;
  }

  private Expression power() {
    Expression left = unary(true);
    while (peek().is("**")) {
      Token operator = next();
      left = new JinjaNodes.Binary("**", left, unary(true), operator.line());
    }
    return left;
  }

  private Expression unary(boolean filtered) {
    Token token = peek();
    Expression value;
    if (take("-") || take("+")) {
      if (++depth > MAX_DEPTH) {
        throw JinjaFault.syntax(origin, token.line(), "too many signs in a row");
      }
      value = new JinjaNodes.Unary(token.text(), unary(false), token.line());
      depth--;
    } else {
      value = postfix(primary());
    }
    return filtered ? filters(value) : value;
  }

  private Expression primary() {
    Token token = next();
    int line = token.line();
    return switch (token.kind()) {
      case NAME ->
          switch (token.text()) {
            case "true", "True" -> new JinjaNodes.Literal(true, line);
            case "false", "False" -> new JinjaNodes.Literal(false, line);
            case "none", "None" -> new JinjaNodes.Literal(null, line);
            default -> new JinjaNodes.Name(token.text(), line);
          };
      case STRING -> {
        StringBuilder text = new StringBuilder(token.text());
        while (peek().kind() == Kind.STRING) {
          text.append(next().text());
        }
        yield new JinjaNodes.Literal(text.toString(), line);
      }
      case INTEGER, FLOAT -> number(token);
      case OPERATOR ->
          switch (token.text()) {
            case "(" -> parenthesis(line);
            case "[" -> new JinjaNodes.Items(list("]"), line);
            case "{" -> dictionary(line);
            default -> throw unexpected(token);
          };
      default -> throw unexpected(token);
    };
  }

  private Expression number(Token token) {
    try {
      Object value =
          token.kind() == Kind.INTEGER
              ? (Object) Long.valueOf(token.text())
              : (Object) Double.valueOf(token.text());
      return new JinjaNodes.Literal(value, token.line());
    } catch (NumberFormatException e) {
      throw JinjaFault.unsupported(origin, token.line(), "the number " + token.text());
    }
  }

  private RuntimeException unexpected(Token token) {
    return JinjaFault.syntax(origin, token.line(), "unexpected " + token.shown());
  }

  private Expression parenthesis(int line) {
    if (take(")")) {
      return new JinjaNodes.Items(List.of(), line);
    }
    Expression value = tuple();
    require(")");
    return value;
  }

  private List<Expression> list(String end) {
    List<Expression> items = new ArrayList<>();
    while (!take(end)) {
      items.add(expression());
      if (!peek().is(end)) {
        require(",");
      }
    }
    return items;
  }

  private Expression dictionary(int line) {
    List<Expression> keys = new ArrayList<>();
    List<Expression> values = new ArrayList<>();
    while (!take("}")) {
      keys.add(expression());
      require(":");
      values.add(expression());
      if (!peek().is("}")) {
        require(",");
      }
    }
    return new JinjaNodes.Dictionary(keys, values, line);
  }

  private Expression postfix(Expression start) {
    Expression value = start;
    while (true) {
      Token token = peek();
      if (take(".")) {
        Token name = next();
        if (name.kind() == Kind.INTEGER) {
          Expression index = new JinjaNodes.Literal(Long.valueOf(name.text()), name.line());
          value = new JinjaNodes.Entry(value, index, name.line());
        } else if (name.kind() == Kind.NAME) {
          value = new JinjaNodes.Attribute(value, name.text(), name.line());
        } else {
          throw unexpected(name);
        }
      } else if (take("[")) {
        value = entry(value, token.line());
      } else if (take("(")) {
        value = new JinjaNodes.Call(value, arguments(), token.line());
      } else {
        return value;
      }
    }
  }

  private Expression entry(Expression object, int line) {
    Expression[] bounds = new Expression[3]; // start, stop, step
    int colons = 0;
    while (!peek().is("]")) {
      if (take(":")) {
        if (++colons > 2) {
          throw JinjaFault.syntax(origin, line, "a slice has more than two colons");
        }
      } else {
        bounds[colons] = tuple();
      }
    }
    require("]");
    if (colons == 0 && bounds[0] == null) {
      throw JinjaFault.syntax(origin, line, "an index is missing");
    }
    return colons == 0
        ? new JinjaNodes.Entry(object, bounds[0], line)
        : new JinjaNodes.Slice(object, bounds[0], bounds[1], bounds[2], line);
  }

  /** Reads arguments up to the closing parenthesis, which is passed. */
  private Arguments arguments() {
    List<Expression> positional = new ArrayList<>();
    List<String> names = new ArrayList<>();
    List<Expression> named = new ArrayList<>();
    while (!take(")")) {
      if (peek().is("*") || peek().is("**")) {
        throw JinjaFault.unsupported(origin, peek().line(), "an unpacked argument");
      }
      if (peek().kind() == Kind.NAME && tokens.get(at + 1).is("=")) {
        names.add(next().text());
        at++;
        named.add(expression());
      } else {
        positional.add(expression());
      }
      if (!peek().is(")")) {
        require(",");
      }
    }
    return new Arguments(positional, names, named);
  }

  private Expression filters(Expression start) {
    Expression value = start;
    while (true) {
      Token token = peek();
      if (take("|")) {
        String name = dotted();
        Arguments arguments = take("(") ? arguments() : Arguments.NONE;
        value = new JinjaNodes.Filter(value, name, arguments, token.line());
      } else if (takeName("is")) {
        boolean negated = takeName("not");
        String name = dotted();
        value = new JinjaNodes.Test(value, name, testArguments(), negated, token.line());
      } else if (take("(")) {
        value = new JinjaNodes.Call(value, arguments(), token.line());
      } else {
        return value;
      }
    }
  }

  private String dotted() {
    StringBuilder name = new StringBuilder(expect(Kind.NAME, "the name of a filter").text());
    while (take(".")) {
      name.append('.').append(expect(Kind.NAME, "a name").text());
    }
    return name.toString();
  }

  /** {@code is divisibleby(3)} and {@code is divisibleby 3} are the same. */
  private Arguments testArguments() {
    if (take("(")) {
      return arguments();
    }
    Token token = peek();
    boolean starts =
        switch (token.kind()) {
          case STRING, INTEGER, FLOAT -> true;
          case NAME -> !NOT_ARGUMENTS.contains(token.text()) && !token.text().equals("not");
          case OPERATOR -> token.is("[") || token.is("{");
          default -> false;
        };
    return starts
        ? new Arguments(List.of(postfix(primary())), List.of(), List.of())
        : Arguments.NONE;
  }
}
