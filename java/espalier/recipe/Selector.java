// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import espalier.report.EspalierException;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;

/** One entry of a target or ignore list, ready to be matched. */
final class Selector {
  /** How an entry matched; a lower ordinal wins over a higher one. */
  enum Match {
    NAME,
    REGEX,
    CLASS
  }

  /** Sorts texts by code points, which is how Python sorts them. */
  static final Comparator<String> CODE_POINTS =
      (a, b) -> Arrays.compare(a.codePoints().toArray(), b.codePoints().toArray());

  private static final String PREFIX = "re:";

  /** Words that older pruning recipes use for every class of a kind. */
  private static final Map<String, Set<String>> KINDS =
      Map.of(
          "__ALL_PRUNABLE__",
          Targets.PRUNABLE,
          "__ALL_QUANTIZABLE__",
          Set.of("Linear", "Conv2d", "Conv3d"));

  private final String text;
  private final Pattern pattern;

  private Selector(String text, Pattern pattern) {
    this.text = text;
    this.pattern = pattern;
  }

  /** Returns the entry as written. */
  String text() {
    return text;
  }

  /** Compiles an entry; throws PatternSyntaxException. */
  static Selector of(String text) {
    boolean regex = text.startsWith(PREFIX);
    return new Selector(text, regex ? PythonRegex.compile(text.substring(PREFIX.length())) : null);
  }

  /** Compiles entries that {@link #check} has passed. */
  static List<Selector> all(List<String> texts) {
    return texts.stream().map(Selector::of).toList();
  }

  /** Refuses, with its place, the first entry that is no regular expression though it says so. */
  static List<String> check(Options options, String field, List<String> texts) {
    for (int i = 0; i < texts.size(); i++) {
      try {
        of(texts.get(i));
      } catch (PatternSyntaxException e) {
        String place = options.isList(field) ? field + "[" + i + "]" : field;
        throw options.error(place, "not a regular expression: " + e.getDescription());
      }
    }
    return texts;
  }

  /** Returns how this entry matches a module, or empty. */
  Optional<Match> match(Targets.Module module) {
    if (pattern != null) {
      return pattern.matcher(new Bounded(module.name(), text)).lookingAt()
          ? Optional.of(Match.REGEX)
          : Optional.empty();
    }
    if (text.equals(module.name())) {
      return Optional.of(Match.NAME);
    }
    Set<String> classes = KINDS.getOrDefault(text, Set.of(text));
    return module.isOne(classes) ? Optional.of(Match.CLASS) : Optional.empty();
  }

  /** Returns whether any of the entries matches a module. */
  static boolean any(List<Selector> selectors, Targets.Module module) {
    return selectors.stream().anyMatch(selector -> selector.match(module).isPresent());
  }

  /** A name that counts how often it is looked at, so that no pattern backtracks for ever. */
  private static final class Bounded implements CharSequence {
    /** Ordinary patterns look at a character of a name a few dozen times. */
    private static final int MAX_LOOKS = 1_000_000;

    private final String name;
    private final String pattern;
    private int looks;

    Bounded(String name, String pattern) {
      this.name = name;
      this.pattern = pattern;
    }

    @Override
    public char charAt(int index) {
      if (++looks > MAX_LOOKS) {
        throw EspalierException.usage(
            "pattern " + pattern + " takes too long on " + name,
            "Avoid a repetition inside a repetition.");
      }
      return name.charAt(index);
    }

    @Override
    public int length() {
      return name.length();
    }

    @Override
    public CharSequence subSequence(int start, int end) {
      return name.substring(start, end);
    }

    @Override
    public String toString() {
      return name;
    }
  }
}
