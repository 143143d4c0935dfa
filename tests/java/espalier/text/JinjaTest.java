// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.report.EspalierException;
import java.time.Duration;
import java.time.LocalDateTime;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The language itself. Expectations agree with Jinja2 3.1.6 set up as transformers does. */
class JinjaTest {
  private static final LocalDateTime NOW = LocalDateTime.of(2026, 3, 7, 4, 5, 6);

  private static Map<String, Object> variables() {
    Map<String, Object> d = new LinkedHashMap<>();
    d.put("y", 1);
    d.put("x", java.util.Arrays.asList(true, null));
    Map<String, Object> variables = new LinkedHashMap<>();
    variables.put("L", List.of(3, 1, 2));
    variables.put("s", "Hello, World");
    variables.put("z", "a🙂b");
    variables.put("e", "");
    variables.put("d", d);
    variables.put("x", Map.of("items", 1));
    Map<String, Object> reply = new LinkedHashMap<>();
    reply.put("role", "assistant");
    reply.put("content", "Yo");
    reply.put("n", 3);
    variables.put(
        "M", List.of(Map.of("role", "user", "content", " Hi "), reply, Map.of("role", "user")));
    return variables;
  }

  private static String render(String source) {
    return ChatTemplate.of("t", source, Map.of()).at(NOW).render(List.of(), false, variables());
  }

  @ParameterizedTest
  @CsvSource(
      delimiterString = " => ",
      quoteCharacter = '§',
      value = {
        "1 + 2 * 3 => 7",
        "2 ** 3 ** 2 => 64",
        "-7 // 2 ~ ' ' ~ (-7 % 3) ~ ' ' ~ 7 / 2 => -4 2 3.5",
        "5.0 // 2 ~ ' ' ~ 5 % 2.5 ~ ' ' ~ -5.5 % 2 => 2.0 0.0 0.5",
        "1e3 ~ ' ' ~ 1_000 ~ ' ' ~ 1e16 ~ ' ' ~ 1.5e-5 => 1000.0 1000 1e+16 1.5e-05",
        "'a' 'b' \"\\x41\\u00e9\" => abAé",
        "L[::-1] => [2, 1, 3]",
        "z[::-1] ~ z[1] ~ z[-1] ~ z|length => b🙂a🙂b3",
        "s[1:4] ~ s[:-9] ~ s[::4] ~ s[10:100] ~ s[5:2] ~ s[4::-1] => ellHelHooldolleH",
        "L[5] is defined => False",
        "[1, 'a', none, true, 2.5, [1], {'k': \"it's\"}] => [1, 'a', None, True, 2.5, [1], {'k': "
            + "\"it's\"}]",
        "(1, 2) ~ (1,) ~ () => (1, 2)(1,)()",
        "x['items'] ~ x.items()|list => 1[('items', 1)]",
        "d|tojson => {\"y\": 1, \"x\": [true, null]}",
        "d|tojson(sort_keys=true, separators=(',', ':')) => {\"x\":[true,null],\"y\":1}",
        "'</é🙂>\"'|tojson => \"</é🙂>\\\"\"",
        "M|selectattr('role', 'equalto', 'user')|list|length => 2",
        "M|rejectattr('n', 'defined')|map(attribute='role')|join('+') => user+user",
        "M|map(attribute='n', default=0)|sum => 3",
        "L|sort|join(',') ~ L|max ~ L|min ~ L|first ~ L|last => 1,2,33132",
        "none|map('upper')|list ~ nothing|selectattr('a')|list => [][]",
        "(1, 2)[:1] ~ none[:2] ~ 'ab' * true => (1,)ab",
        "L|select('odd')|list ~ L|reject('gt', 1)|list => [3, 1][1]",
        "'a,b,,c'.split(',') => ['a', 'b', '', 'c']",
        "' a  b c '.split() ~ 'a b c'.split(' ', 1) ~ 'a b c'.rsplit(' ', 1) => ['a', 'b', "
            + "'c']['a', 'b c']['a b', 'c']",
        "'abcabc'.replace('b', 'X', 1) ~ 'abcabc'|replace('b', 'Y') => aXcabcaYcaYc",
        "'abc'.find('c') ~ 'abc'.find('z') ~ 'abab'.count('ab') ~ '🙂a'.find('a') => 2-121",
        "\"it's a-b\"|title ~ \"it's a-b\".title() => It's A-BIt'S A-B",
        "s.startswith('Hell') ~ s.endswith(('x', 'ld')) => TrueTrue",
        "'xxaxx'.strip('x') ~ '|' ~ '  a '.lstrip() ~ '|' ~ 'a\\n'.rstrip('\\n') => a|a |a",
        "nothing ~ 'x' ~ nothing|length ~ (nothing is defined) => x0False",
        "nothing|default('d') ~ e|default('q') ~ e|default('q', true) ~ none|default('z') => "
            + "dqNone",
        "M[2].content is defined ~ M[0].get('q', 'none') ~ M[0].get('q') => FalsenoneNone",
        "none is none and s is string and d is mapping and L is iterable and 3 is number => True",
        "true is true and 1 is not true and 3 is odd and 9 is divisibleby 3 => True",
        "1 == 1.0 and 'a' < 'b' and 1 < 2 < 3 and not 1 < 3 < 2 => True",
        "'ell' in s and 'role' in M[0] and 3 in L and 9 not in L => True",
        "not 3 == 3 => False",
        "1 if false => §§",
        "'a' if e else 'b' if s else 'c' => b",
        "e or none or 'last' ~ '!' => last!",
        "0 and 1 => 0",
        "'12'|int ~ 'q'|int ~ 'q'|int(7) ~ '1.5'|float ~ 3.7|int => 12071.53",
        "3.14159|round(2) ~ ' ' ~ 2.5|round ~ ' ' ~ 7|round => 3.14 2.0 7",
        "range(2, 10, 3)|list ~ range(3, 0, -2)|list => [2, 5, 8][3, 1]",
        "'ab' * 3 ~ [1] * 2 ~ ([1] + [2]) => ababab[1, 1][1, 2]",
        "'x\\ny\\n\\nz'|indent(2)|replace('\\n', '/') => x/  y//  z",
        "'a<b'|e ~ 'a<b'|safe => a&lt;ba<b",
        "strftime_now('%d %b %Y %A %H:%M:%S %-d') => 07 Mar 2026 Saturday 04:05:06 7",
        "namespace(a=1).a ~ dict(b=2).b => 12",
        "'a-b-c'.partition('-') => ('a', '-', 'b-c')",
        "'a\\nb\\r\\nc\\n'.splitlines() => ['a', 'b', 'c']",
        "{'b': 1, 'a': 2}|dictsort ~ d|items|list|length => [('a', 2), ('b', 1)]2",
        "['b', 'a', 'B']|unique|list ~ L|reverse|list ~ 'abc'|reverse => ['b', 'a'][2, 1, 3]cba",
        "{'a': {'b': 1}}.a.b ~ {'a': 1}['a'] => 11",
        "'}}' ~ '%}' => }}%}",
      })
  void expressionsHavePythonsValues(String expression, String expected) {
    assertEquals(expected == null ? "" : expected, render("{{ " + expression + " }}"));
  }

  @Test
  void blocksTakeTheirLineAndLeaveTheRest() {
    assertEquals(
        "  a\nb c\nd\ne  f\n",
        render(
            "  {% if true %}\n  a\n    {% endif %}\nb {% if true %}c\n{% endif %}\nd\n{# gone #}\ne {# c #} f\n\n"));
    assertEquals("", render("  {# a #}\n"));
    assertEquals("  1\n", render("  {{ 1 }}\n\n"));
    assertEquals("xyz", render("x   {%- if true -%}   y   {%- endif -%}   z"));
    assertEquals("x\n  y\nz", render("x\n  {%+ if true %}y{% endif +%}\nz"));
    assertEquals("a1b", render("a  \n {{- 1 -}} \n b"));
    assertEquals("{{ x }}{% if %}\nz", render("{% raw %}{{ x }}{% if %}{% endraw %}\n\nz"));
    assertEquals("a\nb", render("a\r\n{% if true %}\r\nb{% endif %}\r\n"));
  }

  @Test
  void loopsKnowWhereTheyAre() {
    assertEquals(
        "1/0/True/False/3 2/1/False/False/2 3/2/False/True/1 ",
        render(
            "{% for i in L %}{{ loop.index }}/{{ loop.index0 }}/{{ loop.first }}/{{ loop.last }}"
                + "/{{ loop.revindex }} {% endfor %}"));
    assertEquals(
        "^3<1 3>1<2 1>2$",
        render(
            "{% for i in L %}{{ (loop.previtem ~ '>') if not loop.first else '^' }}{{ i }}"
                + "{{ '<' ~ loop.nextitem ~ ' ' if loop.nextitem is defined else '$' }}{% endfor %}"));
    assertEquals(
        "y=1;x=[True, None];", render("{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}"));
    assertEquals(
        "1:user2:user",
        render("{% for m in M if m.role == 'user' %}{{ loop.index }}:{{ m.role }}{% endfor %}"));
    assertEquals("none", render("{% for m in [] %}x{% else %}none{% endfor %}"));
    assertEquals(
        "01245",
        render(
            "{% for i in range(9) %}{% if i == 3 %}{% continue %}{% elif i > 5 %}{% break %}{% endif %}{{ i }}{% endfor %}"));
    assertEquals(
        "aTruebTrueaTrue",
        render("{% for i in L %}{{ loop.cycle('a', 'b') }}{{ loop.changed(i) }}{% endfor %}"));
  }

  @Test
  void onlyANamespaceLeavesALoop() {
    assertEquals(
        "4 2 3 1",
        render("{% set a = 1 %}{% for i in L %}{% set a = a + i %}{{ a }} {% endfor %}{{ a }}"));
    assertEquals(
        "6",
        render(
            "{% set n = namespace(t=0) %}{% for i in L %}{% set n.t = n.t + i %}{% endfor %}{{ n.t }}"));
    assertEquals("5", render("{% if true %}{% set q = 5 %}{% endif %}{{ q }}"));
  }

  @Test
  void setTakesSeveralNamesAndBlocks() {
    assertEquals(
        "1243",
        render("{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set (p, q) = (4, 3) %}{{ p }}{{ q }}"));
    assertEquals(
        "[  in Hello, World\n]", render("{% set c %}\n  in {{ s }}\n{% endset %}[{{ c }}]"));
  }

  @Test
  void macrosTakeDefaultsAndSeeTheTemplatesVariables() {
    String macro = "{% macro f(x, y=2) -%}\n  [{{ x }}{{ y }}{{ later }}]\n{%- endmacro %}";
    assertEquals(
        "[125][135][25]", render(macro + "{% set later = 5 %}{{ f(1) }}{{ f(1, y=3) }}{{ f() }}"));
    assertEquals(
        "321",
        render(
            "{% macro a(n) %}{% if n %}{{ n }}{{ a(n - 1) }}{% endif %}{% endmacro %}{{ a(3) }}"));
  }

  @Test
  void generationMarksAreTransparent() {
    assertEquals("a b", render("a{% generation %} b{% endgeneration %}"));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{% include 'x' %}",
        "{% with a = 1 %}{% endwith %}",
        "{{ 'a'|nofilter }}",
        "{{ 1 is notest }}",
        "{{ L.append(4) }}",
        "{{ '{}'.format(1) }}",
        "{{ '%s' % 1 }}",
        "{{ joiner() }}",
        "{{ f(*L) }}",
        "{% for a in L recursive %}{% endfor %}",
        "{% for a, (b, c) in L %}{% endfor %}",
        "{{ 99999999999999999999 }}"
      })
  void whatIsBeyondTheSubsetIsNamedWithItsLine(String construct) {
    EspalierException e =
        assertThrows(EspalierException.class, () -> render("one\n\n" + construct));
    assertEquals(EspalierException.Kind.UNSUPPORTED, e.kind(), e.getMessage());
    assertTrue(e.getMessage().startsWith("chat template t, line 3: "), e.getMessage());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{{ nothing.more }}",
        "{{ M[0].missing.more }}",
        "{{ nothing() }}",
        "{{ 'a' + 1 }}",
        "{{ 1 < 'a' }}",
        "{{ 1 // 0 }}",
        "{{ 9223372036854775807 + 1 }}",
        "{{ '-'.join([1]) }}",
        "{{ none|length }}",
        "{% for a in 5 %}{% endfor %}",
        "{% for a, b in [[1]] %}{% endfor %}",
        "{% set x.y = 3 %}",
        "{{ nothing|tojson }}",
        "{{ [1][1:2:0] }}",
        "{{ raise_exception('no') }}",
        "{{ range(100001) }}",
        "{% if true %}a",
        "{% if %}a{% endif %}",
        "{% endif %}",
        "{% break %}",
        "{{ 1 ",
        "{{ (1 }}",
        "{{ 'a }}",
        "{{ a b }}",
        "{{ a[] }}",
        "{{ '\\x4' }}",
        "{{ ? }}",
        "{# a",
        "{% raw %} a"
      })
  void misuseIsRefusedWithItsLine(String construct) {
    EspalierException e =
        assertThrows(EspalierException.class, () -> render("one\n\n" + construct));
    assertEquals(EspalierException.Kind.INPUT, e.kind(), e.getMessage());
    assertTrue(e.getMessage().startsWith("chat template t, line 3: "), e.getMessage());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% set n = namespace(s='xx') %}{% for a in range(99) %}{% set n.s = n.s + n.s %}{% "
            + "endfor %}",
        "{% set n = namespace(s=[1]) %}{% for a in range(99) %}{% set n.s = [n.s, n.s] %}{% "
            + "endfor %}{{ n.s }}",
        "{% set n = namespace(s=[1]) %}{% for a in range(99) %}{% set n.s = n.s + n.s %}{% endfor "
            + "%}",
        "{{ 'x' * 9223372036854775807 }}",
        "{{ [1] * 9223372036854775807 }}",
        "{{ '' * 9223372036854775807 }}{{ ('x' * 99999)|replace('', 'y' * 99999) }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
        "{% for a in range(99999) %}{{ 'x' * 9999 }}{% endfor %}",
        "{{ ('x' * 99999)|list|map('replace', 'x', 'y' * 99999)|join }}"
      })
  void templatesWithoutEndAreStopped(String source) {
    assertTimeoutPreemptively(
        Duration.ofSeconds(30),
        () -> {
          EspalierException e = assertThrows(EspalierException.class, () -> render(source));
          assertEquals(EspalierException.Kind.INPUT, e.kind(), e.getMessage());
        });
  }

  @ParameterizedTest
  @ValueSource(strings = {"(", "[", "{'a':", "-", "not ", "a.", "a|", "1 if ", "f(", "1 + ", "{{"})
  void deepNestingIsRefusedNotOverflowed(String part) {
    for (String source :
        List.of("{{ " + part.repeat(20_000), "{{ " + part.repeat(20_000) + "a }}")) {
      try {
        render(source);
      } catch (EspalierException e) {
        assertTrue(e.getMessage().startsWith("chat template t, line 1"), e.getMessage());
      }
    }
    String blocks = "{% if true %}".repeat(20_000) + "{% endif %}".repeat(20_000);
    assertThrows(EspalierException.class, () -> render(blocks));
  }

  /** Shuffled pieces of templates: an answer or one of our refusals, nothing else. */
  @Test
  void brokenTemplatesGiveOneClearError() {
    String[] pieces = {
      "{{",
      "}}",
      "{%",
      "%}",
      "{#",
      "#}",
      "-",
      "+",
      " if ",
      " for i in L ",
      " endif ",
      " endfor ",
      " set a = ",
      "'",
      "\"",
      "(",
      ")",
      "[",
      "]",
      "{",
      "}",
      "|",
      "trim",
      " is ",
      " not ",
      "L",
      "s",
      ".",
      ",",
      ":",
      "1",
      "2.5",
      "~",
      "*",
      "\n",
      " else ",
      " macro f(x) ",
      " endmacro ",
      "f",
      "raw"
    };
    long seed = 20260307;
    Random random = new Random(seed);
    for (int turn = 0; turn < 20_000; turn++) {
      StringBuilder source = new StringBuilder();
      for (int i = random.nextInt(14); i >= 0; i--) {
        source.append(pieces[random.nextInt(pieces.length)]);
      }
      try {
        render(source.toString());
      } catch (EspalierException e) {
        assertTrue(e.getMessage().startsWith("chat template t, line "), "seed " + seed);
      }
    }
  }
}
