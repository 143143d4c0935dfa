// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import espalier.report.EspalierException;
import espalier.text.JinjaLexer.Kind;
import espalier.text.JinjaLexer.Token;
import espalier.text.JinjaNodes.Expression;
import espalier.text.JinjaNodes.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/**
 * Reads the statements of a template; expressions are read by {@link JinjaExpressions}.
 *
 * <pre>
 * statement = text | "{{" expression "}}" | "{%" ( if | for | set | macro | generation | break
 *           | continue ) "%}"
 * </pre>
 */
final class JinjaParser {
  /** Tags nested deeper than this are not a chat template. */
  private static final int MAX_DEPTH = 100;

  private final String origin;
  private final JinjaExpressions expressions;
  private int depth;
  private int loops;

  private JinjaParser(String origin, List<Token> tokens) {
    this.origin = origin;
    this.expressions = new JinjaExpressions(origin, tokens);
  }

  /** Returns the statements of {@code source}; {@code origin} names it in messages. */
  static List<Statement> parse(String origin, String source) {
    JinjaParser parser = new JinjaParser(origin, JinjaLexer.tokens(origin, source));
    List<Statement> statements = parser.body(Set.of());
    return statements;
  }

  /** Reads up to a block that starts with one of {@code ends}, whose name is then current. */
  private List<Statement> body(Set<String> ends) {
    if (++depth > MAX_DEPTH) {
      throw syntax("tags are nested more than " + MAX_DEPTH + " deep");
    }
    List<Statement> statements = new ArrayList<>();
    while (true) {
      Token token = expressions.next();
      switch (token.kind()) {
        case TEXT -> statements.add(new JinjaNodes.Text(token.text(), token.line()));
        case VARIABLE_BEGIN -> {
          Expression value = expressions.tuple();
          expressions.expect(Kind.VARIABLE_END, "}}");
          statements.add(new JinjaNodes.Output(value, token.line()));
        }
        case BLOCK_BEGIN -> {
          if (ends.contains(expressions.peek().text())) {
            depth--;
            return List.copyOf(statements);
          }
          statements.add(block());
        }
        default -> {
          if (!ends.isEmpty()) {
            throw syntax("the template ends before " + String.join(" or ", ends));
          }
          depth--;
          return List.copyOf(statements);
        }
      }
    }
  }

  private Statement block() {
    Token name = expressions.expect(Kind.NAME, "the name of a tag");
    int line = name.line();
    return switch (name.text()) {
      case "if" -> conditional(line);
      case "for" -> loop(line);
      case "set" -> assignment(line);
      case "macro" -> macro(line);
      case "generation" -> {
        endTag();
        List<Statement> body = body(Set.of("endgeneration"));
        closing();
        yield new JinjaNodes.Group(body, line);
      }
      case "break", "continue" -> {
        if (loops == 0) {
          throw syntax("'" + name.text() + "' stands outside a loop");
        }
        endTag();
        yield new JinjaNodes.Jump(name.text().equals("break"), line);
      }
      case "elif", "else", "endif", "endfor", "endset", "endmacro", "endgeneration" ->
          throw syntax("unexpected '" + name.text() + "'");
      default -> throw JinjaFault.unsupported(origin, line, "the tag '" + name.text() + "'");
    };
  }

  private void endTag() {
    expressions.expect(Kind.BLOCK_END, "%}");
  }

  /** Passes the name of a closing tag and its end. */
  private void closing() {
    expressions.next();
    endTag();
  }

  private Statement conditional(int line) {
    List<Expression> conditions = new ArrayList<>();
    List<List<Statement>> bodies = new ArrayList<>();
    conditions.add(expressions.tuple());
    endTag();
    while (true) {
      bodies.add(body(Set.of("elif", "else", "endif")));
      Token end = expressions.next();
      if (end.isName("elif")) {
        conditions.add(expressions.tuple());
        endTag();
        continue;
      }
      if (end.isName("else")) {
        endTag();
        conditions.add(null);
        bodies.add(body(Set.of("endif")));
        expressions.next();
      }
      endTag();
      return new JinjaNodes.If(conditions, List.copyOf(bodies), line);
    }
  }

  private Statement loop(int line) {
    List<String> targets = targets();
    if (!expressions.next().isName("in")) {
      throw syntax("'for' wants 'in'");
    }
    Expression items = expressions.iterable();
    Expression filter = null;
    if (expressions.peek().isName("if")) {
      expressions.next();
      filter = expressions.expression();
    }
    if (expressions.peek().isName("recursive")) {
      throw JinjaFault.unsupported(origin, line, "a recursive loop");
    }
    endTag();
    loops++;
    List<Statement> body = body(Set.of("else", "endfor"));
    loops--;
    List<Statement> otherwise = List.of();
    if (expressions.next().isName("else")) {
      endTag();
      otherwise = body(Set.of("endfor"));
      expressions.next();
    }
    endTag();
    return new JinjaNodes.For(targets, items, filter, body, otherwise, line);
  }

  /** {@code a}, {@code a, b} or {@code (a, b)}. */
  private List<String> targets() {
    boolean wrapped = expressions.take("(");
    List<String> targets = new ArrayList<>();
    do {
      targets.add(expressions.expect(Kind.NAME, "a name").text());
    } while (expressions.take(","));
    if (wrapped && !expressions.take(")")) {
      throw syntax("')' is missing");
    }
    return List.copyOf(targets);
  }

  private Statement assignment(int line) {
    List<String> targets = targets();
    String attribute = null;
    if (targets.size() == 1 && expressions.take(".")) {
      attribute = expressions.expect(Kind.NAME, "a name").text();
    }
    if (expressions.take("=")) {
      Expression value = expressions.tuple();
      endTag();
      return new JinjaNodes.Set(targets, attribute, value, line);
    }
    if (expressions.peek().is("|")) {
      throw JinjaFault.unsupported(origin, line, "a filter on a block assignment");
    }
    if (targets.size() > 1) {
      throw syntax("'=' is missing");
    }
    endTag();
    List<Statement> body = body(Set.of("endset"));
    closing();
    return new JinjaNodes.SetBlock(targets.get(0), attribute, body, line);
  }

  private Statement macro(int line) {
    String name = expressions.expect(Kind.NAME, "the name of the macro").text();
    List<String> parameters = new ArrayList<>();
    List<Expression> defaults = new ArrayList<>();
    if (!expressions.take("(")) {
      throw syntax("'(' is missing");
    }
    while (!expressions.take(")")) {
      parameters.add(expressions.expect(Kind.NAME, "a parameter").text());
      if (expressions.take("=")) {
        defaults.add(expressions.expression());
      } else if (!defaults.isEmpty()) {
        throw syntax("a parameter without a default follows one with a default");
      }
      if (!expressions.peek().is(")") && !expressions.take(",")) {
        throw syntax("')' is missing");
      }
    }
    endTag();
    int outer = loops;
    loops = 0;
    List<Statement> body = body(Set.of("endmacro"));
    loops = outer;
    closing();
    return new JinjaNodes.Macro(name, List.copyOf(parameters), defaults, body, line);
  }

  private EspalierException syntax(String message) {
    return JinjaFault.syntax(origin, expressions.peek().line(), message);
  }
}
