// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import espalier.recipe.Datum.Entry;
import espalier.recipe.Datum.Kind;
import espalier.recipe.Datum.Mapping;
import espalier.recipe.Datum.Scalar;
import espalier.recipe.Datum.Sequence;
import espalier.report.EspalierException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.yaml.snakeyaml.LoaderOptions;
import org.yaml.snakeyaml.composer.Composer;
import org.yaml.snakeyaml.composer.ComposerException;
import org.yaml.snakeyaml.error.Mark;
import org.yaml.snakeyaml.error.MarkedYAMLException;
import org.yaml.snakeyaml.error.YAMLException;
import org.yaml.snakeyaml.nodes.MappingNode;
import org.yaml.snakeyaml.nodes.Node;
import org.yaml.snakeyaml.nodes.NodeTuple;
import org.yaml.snakeyaml.nodes.ScalarNode;
import org.yaml.snakeyaml.nodes.SequenceNode;
import org.yaml.snakeyaml.nodes.Tag;
import org.yaml.snakeyaml.parser.ParserException;
import org.yaml.snakeyaml.parser.ParserImpl;
import org.yaml.snakeyaml.reader.ReaderException;
import org.yaml.snakeyaml.reader.StreamReader;
import org.yaml.snakeyaml.resolver.Resolver;

/**
 * YAML 1.1 text to {@link Datum}. Nothing is ever constructed from a tag. Aliases are counted
 * before they are expanded, merge keys are applied, duplicate keys are refused.
 */
final class Document {
  /** An expanded tree beyond this is a bomb, not a recipe. */
  private static final long MAX_NODES = 100_000;

  private static final int MAX_DEPTH = 64;

  /**
   * The composer recurses; this keeps it off the end of the stack. Depth proper is ours to check.
   */
  private static final int COMPOSER_DEPTH = 500;

  private static final String PYTHON = "tag:yaml.org,2002:python/";

  /**
   * What llm-compressor writes for "not given" and cannot read back: the field counts as absent.
   */
  private static final String SENTINEL = PYTHON + "object/apply:llmcompressor.sentinel.Sentinel";

  private final String source;

  /** The expanded size of a node and the levels below it; an alias counts wherever it stands. */
  private record Extent(long nodes, int levels) {}

  private final Map<Node, Extent> extents = new IdentityHashMap<>();
  private final Map<Node, Boolean> open = new IdentityHashMap<>();

  private Document(String source) {
    this.source = source;
  }

  /** Returns the root map of the one document in {@code text}; throws a usage error otherwise. */
  static Mapping yaml(String text, String source) {
    Node root = compose(text, source);
    if (root == null) {
      throw RecipeError.at(source, 1, RecipeError.FILE, "the recipe is empty");
    }
    Document document = new Document(source);
    document.measure(root, "", line(root), 0);
    return root(document.convert(root, ""), source);
  }

  /** Returns {@code root} as a map; throws the usage error that says what it is instead. */
  static Mapping root(Datum root, String source) {
    if (root instanceof Mapping map) {
      return map;
    }
    if (root instanceof Scalar scalar && scalar.isNull()) {
      throw RecipeError.at(source, 1, RecipeError.FILE, "the recipe is empty");
    }
    throw RecipeError.at(
        source,
        root.line(),
        RecipeError.FILE,
        "a map of stages is wanted, " + root.kindName() + " was given");
  }

  /** Returns {@code path.key}, or the key alone at the top. */
  static String join(String path, String key) {
    return path.isEmpty() ? key : path + "." + key;
  }

  private static Node compose(String text, String source) {
    LoaderOptions options = options();
    try {
      return new Composer(new ParserImpl(new StreamReader(text), options), new Yaml11(), options)
          .getSingleNode();
    } catch (MarkedYAMLException e) {
      throw syntax(text, source, e);
    } catch (ReaderException e) {
      int end = Math.min(e.getPosition(), text.length());
      int line = 1 + (int) text.substring(0, end).chars().filter(c -> c == '\n').count();
      String why = String.format("character U+%04X is not allowed in YAML", e.getCodePoint());
      throw RecipeError.at(source, line, RecipeError.SYNTAX, why);
    } catch (YAMLException e) {
      throw RecipeError.at(source, 1, RecipeError.FILE, "not readable as YAML: " + e.getMessage());
    }
  }

  private static LoaderOptions options() {
    LoaderOptions options = new LoaderOptions();
    options.setMaxAliasesForCollections(Integer.MAX_VALUE); // expanded size is bounded instead
    options.setNestingDepthLimit(COMPOSER_DEPTH);
    options.setAllowDuplicateKeys(true); // checked here, with both lines named
    options.setTagInspector(tag -> true); // nodes only carry a tag's name; convert() judges it
    return options;
  }

  private static EspalierException syntax(String text, String source, MarkedYAMLException e) {
    Mark mark = e.getProblemMark() != null ? e.getProblemMark() : e.getContextMark();
    int line = mark == null ? 1 : mark.getLine() + 1;
    String problem = String.valueOf(e.getProblem());
    if (e instanceof ComposerException) {
      if (String.valueOf(e.getContext()).contains("single document")) {
        return RecipeError.at(source, line, RecipeError.FILE, "one document per recipe");
      }
      String advice = "A plain scalar that begins with * is an alias; quote a name or a pattern.";
      return RecipeError.at(source, line, YamlPath.at(mark, text, options()), problem, advice);
    }
    if (e instanceof ParserException) {
      String why = problem + "; a plain scalar inside [ ] ends at [ ] { } and a comma, so quote it";
      return RecipeError.at(source, line, YamlPath.at(mark, text, options()), why);
    }
    String lineText = line <= text.lines().count() ? text.lines().toList().get(line - 1) : "";
    String why = problem;
    if (lineText.stripTrailing().matches("\\s*\\t.*")) {
      why = "tabs cannot indent YAML";
    } else if (problem.contains("escape")) {
      why = problem + "; write a pattern in single quotes, where a backslash is a backslash";
    }
    return RecipeError.at(source, line, RecipeError.SYNTAX, why);
  }

  /** Returns the expanded size of a node; refuses cycles, bombs and depth at the first level. */
  private Extent measure(Node node, String path, int line, int depth) {
    if (open.containsKey(node)) {
      throw RecipeError.at(source, line, path, "alias refers to a node that contains it");
    }
    Extent known = extents.get(node);
    if (known != null && depth + known.levels() <= MAX_DEPTH) {
      return known;
    }
    if (depth > MAX_DEPTH) {
      throw RecipeError.at(source, line, path, "nested deeper than " + MAX_DEPTH + " levels");
    }
    open.put(node, true);
    long size = 1;
    int levels = 0;
    if (node instanceof SequenceNode sequence) {
      int index = 0;
      for (Node item : sequence.getValue()) {
        Extent inner = measure(item, path + "[" + index++ + "]", line, depth + 1);
        size += inner.nodes();
        levels = Math.max(levels, 1 + inner.levels());
      }
    } else if (node instanceof MappingNode mapping) {
      for (NodeTuple tuple : mapping.getValue()) {
        int keyLine = line(tuple.getKeyNode());
        if (!(tuple.getKeyNode() instanceof ScalarNode key)) {
          throw RecipeError.at(
              source,
              keyLine,
              path.isEmpty() ? RecipeError.FILE : path,
              "a map or list cannot be a key; {{ }} is an unfilled template variable");
        }
        String inside = join(path, key.getValue());
        Extent inner = measure(tuple.getValueNode(), inside, keyLine, depth + 1);
        size += 1 + inner.nodes();
        levels = Math.max(levels, 1 + inner.levels());
      }
    }
    open.remove(node);
    if (size > MAX_NODES) {
      String why = "aliases expand to " + size + " values, more than the " + MAX_NODES + " allowed";
      throw RecipeError.at(source, line, path.isEmpty() ? RecipeError.FILE : path, why);
    }
    Extent extent = new Extent(size, levels);
    extents.put(node, extent);
    return extent;
  }

  private Datum convert(Node node, String path) {
    if (node instanceof ScalarNode scalar) {
      return new Scalar(kind(scalar, path), scalar.getValue(), line(node));
    }
    if (node instanceof SequenceNode sequence) {
      require(node, Tag.SEQ, path);
      List<Datum> items = new ArrayList<>();
      for (Node item : sequence.getValue()) {
        items.add(convert(item, path + "[" + items.size() + "]"));
      }
      return new Sequence(List.copyOf(items), line(node));
    }
    require(node, Tag.MAP, path);
    Map<String, Entry> entries = new LinkedHashMap<>();
    Map<String, Integer> own = new LinkedHashMap<>();
    merge(((MappingNode) node).getValue(), path, entries);
    for (NodeTuple tuple : ((MappingNode) node).getValue()) {
      ScalarNode key = (ScalarNode) tuple.getKeyNode();
      if (isMerge(key) || isSentinel(tuple.getValueNode())) {
        continue;
      }
      String text = key.getValue();
      String inner = join(path, text);
      Integer first = own.putIfAbsent(text, line(key));
      if (first != null) {
        throw RecipeError.at(
            source, line(key), inner, "key given twice (first on line " + first + ")");
      }
      boolean isText = kind(key, inner) == Kind.STRING;
      entries.put(text, new Entry(text, line(key), isText, convert(tuple.getValueNode(), inner)));
    }
    return new Mapping(Collections.unmodifiableMap(entries), line(node));
  }

  /**
   * Puts the entries of {@code <<} keys; among several maps the first wins, own keys come later.
   */
  private void merge(List<NodeTuple> tuples, String path, Map<String, Entry> entries) {
    for (NodeTuple tuple : tuples) {
      if (!isMerge((ScalarNode) tuple.getKeyNode())) {
        continue;
      }
      Node value = tuple.getValueNode();
      List<Node> maps = value instanceof SequenceNode list ? list.getValue() : List.of(value);
      for (Node map : maps) {
        if (!(convert(map, path) instanceof Mapping merged)) {
          throw RecipeError.at(
              source, line(tuple.getKeyNode()), join(path, "<<"), "only a map can be merged");
        }
        merged.entries().forEach(entries::putIfAbsent);
      }
    }
  }

  private static boolean isMerge(ScalarNode key) {
    return key.getTag().equals(Tag.MERGE);
  }

  private static boolean isSentinel(Node value) {
    return value.getTag().getValue().equals(SENTINEL);
  }

  private void require(Node node, Tag tag, String path) {
    if (!node.getTag().equals(tag)) {
      throw badTag(node, path);
    }
  }

  private EspalierException badTag(Node node, String path) {
    String tag = node.getTag().getValue();
    return RecipeError.at(
        source,
        line(node),
        path.isEmpty() ? RecipeError.FILE : path,
        "tag " + tag + " is not allowed here; nothing is ever built from a tag");
  }

  private Kind kind(ScalarNode node, String path) {
    Tag tag = node.getTag();
    if (tag.equals(Tag.STR) || tag.equals(Tag.MERGE)) {
      return Kind.STRING;
    }
    if (tag.equals(Tag.NULL)) {
      return Kind.NULL;
    }
    if (tag.equals(Tag.TIMESTAMP)) {
      return Kind.DATE;
    }
    Kind kind;
    boolean sound;
    String text = node.getValue();
    if (tag.equals(Tag.BOOL)) {
      kind = Kind.BOOLEAN;
      sound = Resolver.BOOL.matcher(text).matches();
    } else if (tag.equals(Tag.INT)) {
      kind = Kind.INTEGER;
      sound = Resolver.INT.matcher(text).matches();
    } else if (tag.equals(Tag.FLOAT)) {
      kind = Kind.FLOAT;
      sound = Resolver.FLOAT.matcher(text).matches() || Resolver.INT.matcher(text).matches();
    } else {
      throw badTag(node, path);
    }
    if (!sound) { // only an explicit tag can promise what the text does not hold
      throw RecipeError.at(
          source, line(node), path, "tagged " + tag.getValue() + " but reads '" + text + "'");
    }
    return kind;
  }

  private static int line(Node node) {
    return node.getStartMark().getLine() + 1;
  }

  /**
   * The implicit types of YAML 1.1 as PyYAML applies them. SnakeYAML's own float takes {@code
   * 1e-2}; PyYAML wants a dot and a signed exponent, and reads the rest as text.
   */
  private static final class Yaml11 extends Resolver {
    private static final String EXPONENT = "([eE][-+][0-9]+)?";
    private static final Pattern DOTTED =
        Pattern.compile(
            String.join(
                "|",
                "[-+]?[0-9][0-9_]*\\.[0-9_]*" + EXPONENT,
                "\\.[0-9][0-9_]*" + EXPONENT,
                "[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+\\.[0-9_]*",
                "[-+]?\\.(inf|Inf|INF)",
                "\\.(nan|NaN|NAN)"));

    @Override
    protected void addImplicitResolvers() {
      Pattern dotted = Pattern.compile("^(?:" + DOTTED.pattern() + ")$");
      addImplicitResolver(Tag.BOOL, BOOL, "yYnNtTfFoO");
      addImplicitResolver(Tag.INT, INT, "-+0123456789");
      addImplicitResolver(Tag.FLOAT, dotted, "-+0123456789.");
      addImplicitResolver(Tag.MERGE, MERGE, "<");
      addImplicitResolver(Tag.NULL, NULL, "~nN\0");
      addImplicitResolver(Tag.NULL, EMPTY, null);
      addImplicitResolver(Tag.TIMESTAMP, TIMESTAMP, "0123456789");
    }
  }
}
