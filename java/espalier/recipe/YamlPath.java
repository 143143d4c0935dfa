// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Iterator;
import org.yaml.snakeyaml.LoaderOptions;
import org.yaml.snakeyaml.error.Mark;
import org.yaml.snakeyaml.error.YAMLException;
import org.yaml.snakeyaml.events.AliasEvent;
import org.yaml.snakeyaml.events.Event;
import org.yaml.snakeyaml.events.MappingStartEvent;
import org.yaml.snakeyaml.events.ScalarEvent;
import org.yaml.snakeyaml.events.SequenceStartEvent;
import org.yaml.snakeyaml.parser.ParserImpl;
import org.yaml.snakeyaml.reader.StreamReader;

/** Follows the events of a text that does not parse, to name the field in which it broke. */
final class YamlPath {
  /** An open map or list. */
  private static final class Level {
    final boolean map;
    String key;

    Level(boolean map) {
      this.map = map;
    }
  }

  private final Deque<Level> levels = new ArrayDeque<>();

  private YamlPath() {}

  /** Returns the dotted path of the field that holds {@code end}; {@code (syntax)} if none does. */
  static String at(Mark end, String text, LoaderOptions options) {
    YamlPath path = new YamlPath();
    try {
      ParserImpl parser = new ParserImpl(new StreamReader(text), options);
      Event event = parser.getEvent();
      while (event != null && (end == null || event.getStartMark().getIndex() < end.getIndex())) {
        path.accept(event);
        event = parser.getEvent();
      }
    } catch (YAMLException expected) {
      // the same error that brought us here: what was read before it is the answer
    }
    return path.dotted();
  }

  private void accept(Event event) {
    Level top = levels.peek();
    if (event instanceof MappingStartEvent) {
      levels.push(new Level(true));
    } else if (event instanceof SequenceStartEvent) {
      levels.push(new Level(false));
    } else if (event.is(Event.ID.MappingEnd) || event.is(Event.ID.SequenceEnd)) {
      levels.pop();
      valueDone();
    } else if (event instanceof ScalarEvent scalar) {
      if (top != null && top.map && top.key == null) {
        top.key = scalar.getValue();
      } else {
        valueDone();
      }
    } else if (event instanceof AliasEvent) {
      valueDone();
    }
  }

  private void valueDone() {
    if (levels.peek() != null) {
      levels.peek().key = null;
    }
  }

  private String dotted() {
    StringBuilder dotted = new StringBuilder();
    for (Iterator<Level> i = levels.descendingIterator(); i.hasNext(); ) {
      Level level = i.next();
      if (level.map && level.key != null) {
        dotted.append(dotted.length() == 0 ? "" : ".").append(level.key);
      }
    }
    return dotted.length() == 0 ? RecipeError.SYNTAX : dotted.toString();
  }
}
