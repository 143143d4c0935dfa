// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import espalier.recipe.Places.Place;
import espalier.recipe.Targets.Assignment;
import espalier.recipe.Targets.Module;
import espalier.recipe.Targets.Resolution;
import espalier.report.EspalierException;
import espalier.report.Event;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.BiPredicate;
import java.util.regex.Pattern;

/** One resolution of a recipe over a model; see {@link Targets} for the rules. */
final class TargetResolver {
  /** Names of attention modules that own a key/value cache. */
  private static final Pattern CACHED = Pattern.compile("(.*(self_attn|attention))$");

  private static final List<String> TARGET_FIELDS = List.of("config_groups", "scheme", "targets");

  private final Recipe recipe;
  private final Places places;
  private final List<Module> modules;
  private final Map<String, Assignment> assigned = new HashMap<>();
  private final Set<String> spared = new LinkedHashSet<>();
  private final Map<String, QuantizationArgs> attention = new LinkedHashMap<>();
  private final Set<String> unmatchedTargets = new LinkedHashSet<>();
  private final Set<String> unmatchedIgnores = new LinkedHashSet<>();
  private final List<EspalierException> errors = new ArrayList<>();
  private final List<EspalierException> indivisible = new ArrayList<>();
  private final List<Event> notes = new ArrayList<>();

  /** A target with what it asks for: the group that holds it, or a width. */
  private record Claim<T>(Selector selector, T wish) {}

  /** A claim that matched a module, and how. */
  private record Hit<T>(Claim<T> claim, Selector.Match match) {}

  TargetResolver(Recipe recipe, List<Module> modules) {
    this.recipe = recipe;
    this.places = recipe.origin().places;
    this.modules = modules;
  }

  Resolution resolve() {
    for (Modifier modifier : recipe.modifiers()) {
      if (modifier.follows()) {
        follow(modifier);
      } else {
        quantize(modifier);
        reportEntries(modifier);
      }
    }
    widen();
    Map<String, Assignment> inOrder = new LinkedHashMap<>();
    List<String> ignored = new ArrayList<>();
    List<String> untargeted = new ArrayList<>();
    for (Module module : modules) {
      if (!module.isOne(Targets.QUANTIZABLE)) {
        continue;
      }
      Assignment assignment = assigned.get(module.name());
      if (assignment != null) {
        inOrder.put(module.name(), assignment);
      } else {
        (spared.contains(module.name()) ? ignored : untargeted).add(module.name());
      }
    }
    checkDivisibility(inOrder);
    errors.addAll(indivisible);
    return new Resolution(
        Collections.unmodifiableMap(inOrder),
        List.copyOf(ignored),
        List.copyOf(untargeted),
        Collections.unmodifiableMap(attention),
        List.copyOf(unmatchedTargets),
        List.copyOf(unmatchedIgnores),
        List.copyOf(errors),
        List.copyOf(notes));
  }

  /** Gives the modules that {@link Extension#bits} names their own width. */
  private void widen() {
    List<Claim<Integer>> claims = new ArrayList<>();
    recipe
        .extension()
        .bits()
        .forEach((text, bits) -> claims.add(new Claim<>(Selector.of(text), bits)));
    Set<Selector> reached = new HashSet<>();
    Set<String> overlaps = new LinkedHashSet<>();
    for (Module module : modules) {
      Assignment assignment = assigned.get(module.name());
      if (assignment == null || assignment.group().weights() == null) {
        continue;
      }
      SchemeGroup group = assignment.group();
      best(claims, module, Integer::equals, overlaps)
          .map(Hit::claim)
          .ifPresent(
              claim -> {
                reached.add(claim.selector());
                SchemeGroup own = group.withWeights(group.weights().withBits(claim.wish()));
                assigned.put(
                    module.name(), new Assignment(assignment.modifier(), own, assignment.target()));
              });
    }
    noteOverlaps(overlaps, places.at(Extension.BITS));
    claims.stream()
        .map(Claim::selector)
        .filter(selector -> !reached.contains(selector))
        .forEach(this::refuseWidth);
  }

  private void refuseWidth(Selector selector) {
    String text = selector.text();
    String why =
        matched(selector).isEmpty()
            ? "target " + text + " matches no module of the model" + hint(text)
            : "target "
                + text
                + " gives a width to nothing: no modifier quantizes what it matches, or a more"
                + " specific target goes before it";
    errors.add(places.error(places.at(Document.join(Extension.BITS, text)), why));
  }

  private void follow(Modifier modifier) {
    assigned.replaceAll(
        (name, earlier) -> new Assignment(modifier, earlier.group(), earlier.target()));
  }

  private void quantize(Modifier modifier) {
    List<Claim<SchemeGroup>> claims = new ArrayList<>();
    for (SchemeGroup group : modifier.groups()) {
      group.targets().forEach(text -> claims.add(new Claim<>(Selector.of(text), group)));
    }
    List<Selector> ignores = Selector.all(modifier.ignore());
    Set<String> overlaps = new LinkedHashSet<>();
    for (Module module : modules) {
      boolean weights = module.isOne(Targets.QUANTIZABLE);
      if (!weights && !module.isAttention()) {
        continue;
      }
      Optional<Hit<SchemeGroup>> best = best(claims, module, SchemeGroup::sameScheme, overlaps);
      if (best.isEmpty()) {
        continue;
      }
      Claim<SchemeGroup> claim = best.get().claim();
      if (Selector.any(ignores, module)) {
        spared.add(module.name());
      } else if (!weights) {
        attend(module, claims, claim.wish());
      } else if (claim.wish().isEmpty()) {
        assigned.remove(module.name());
      } else {
        String target = claim.selector().text();
        assigned.put(module.name(), new Assignment(modifier, claim.wish(), target));
      }
    }
    modifier.cache().ifPresent(this::cache);
    noteOverlaps(overlaps, places.of(modifier, ""));
  }

  private void noteOverlaps(Set<String> overlaps, Place place) {
    for (String overlap : overlaps) {
      notes.add(Event.info("overlapping-targets", places.where(place), overlap));
    }
  }

  /** Returns the claim that wins a module: by kind of match, then by text. */
  private static <T> Optional<Hit<T>> best(
      List<Claim<T>> claims, Module module, BiPredicate<T, T> alike, Set<String> overlaps) {
    List<Hit<T>> hits = new ArrayList<>();
    for (Claim<T> claim : claims) {
      claim.selector().match(module).ifPresent(match -> hits.add(new Hit<>(claim, match)));
    }
    hits.sort(
        Comparator.comparing((Hit<T> hit) -> hit.match())
            .thenComparing(hit -> hit.claim().selector().text(), Selector.CODE_POINTS));
    if (hits.size() > 1) {
      Hit<T> first = hits.get(0);
      Hit<T> second = hits.get(1);
      if (second.match() == Selector.Match.REGEX
          && first.match() == Selector.Match.REGEX
          && !alike.test(first.claim().wish(), second.claim().wish())) {
        overlaps.add(
            first.claim().selector().text()
                + " and "
                + second.claim().selector().text()
                + " both match some modules; the first wins there because its text sorts first");
      }
    }
    return hits.stream().findFirst();
  }

  /** An attention module counts as targeted only if neither its parent nor a child is. */
  private void attend(Module module, List<Claim<SchemeGroup>> claims, SchemeGroup group) {
    if (group.inputs() == null) {
      return;
    }
    String name = module.name();
    String parent = name.contains(".") ? name.substring(0, name.lastIndexOf('.')) : "";
    for (Module other : modules) {
      boolean child =
          other.name().startsWith(name + ".") && other.name().indexOf('.', name.length() + 1) < 0;
      boolean near = child || other.name().equals(parent) && !parent.isEmpty();
      if (near && claims.stream().anyMatch(c -> c.selector().match(other).isPresent())) {
        return;
      }
    }
    attention.put(name, group.inputs());
  }

  private void cache(QuantizationArgs args) {
    for (Module module : modules) {
      if (module.isAttention() && CACHED.matcher(module.name()).matches()) {
        attention.put(module.name(), args);
      }
    }
  }

  private void reportEntries(Modifier modifier) {
    for (String text : modifier.targets()) {
      Selector selector = Selector.of(text);
      List<Module> matched = matched(selector);
      if (matched.isEmpty()) {
        unmatchedTargets.add(text);
        Place place = places.ofText(modifier, text, TARGET_FIELDS);
        errors.add(
            places.error(place, "target " + text + " matches no module of the model" + hint(text)));
      } else if (!modifier.groups().isEmpty() && onlyContainers(matched)) {
        Place place = places.ofText(modifier, text, TARGET_FIELDS);
        notes.add(
            Event.warning(
                "target-without-effect",
                places.where(place),
                place.field()
                    + ": "
                    + text
                    + " matches containers only; schemes go to the"
                    + " linears inside, which it does not match"));
      }
    }
    for (String text : modifier.ignore()) {
      List<Module> matched = matched(Selector.of(text));
      Place place = places.ofText(modifier, text, List.of("ignore"));
      if (matched.isEmpty()) {
        unmatchedIgnores.add(text);
        notes.add(
            Event.warning(
                "unmatched-ignore",
                places.where(place),
                place.field()
                    + ": ignore entry "
                    + text
                    + " matches no module of the model"
                    + hint(text)));
      } else if (onlyContainers(matched)) {
        notes.add(
            Event.warning(
                "ignore-without-effect",
                places.where(place),
                place.field()
                    + ": "
                    + text
                    + " matches containers only; the linears inside"
                    + " are not spared"));
      }
    }
  }

  private List<Module> matched(Selector selector) {
    return modules.stream().filter(module -> selector.match(module).isPresent()).toList();
  }

  private static boolean onlyContainers(List<Module> matched) {
    return matched.stream().noneMatch(m -> m.isOne(Targets.QUANTIZABLE) || m.isAttention());
  }

  /** Returns what an entry that names nothing was probably meant to be. */
  private String hint(String text) {
    if (text.startsWith("re:")) {
      return "";
    }
    if (text.contains("*") || text.contains("?")) {
      String pattern = text.replace(".", "\\.").replace("*", ".*").replace("?", ".");
      return "; patterns are regular expressions after re:, did you mean re:" + pattern + "?";
    }
    if (modules.stream().anyMatch(module -> module.name().endsWith("." + text))) {
      return RecipeError.didYouMean(Optional.of("re:.*" + text.replace(".", "\\.") + "$"));
    }
    Set<String> known = new LinkedHashSet<>();
    for (Module module : modules) {
      known.add(module.name());
      known.add(module.className());
    }
    return RecipeError.didYouMean(Nearest.of(text, known));
  }

  /** Names, per group, the layers whose columns are no multiple of the group size. */
  private void checkDivisibility(Map<String, Assignment> inOrder) {
    Map<SchemeGroup, List<String>> layers = new LinkedHashMap<>();
    Map<SchemeGroup, Modifier> owners = new HashMap<>();
    for (Module module : modules) {
      Assignment assignment = inOrder.get(module.name());
      if (assignment == null || assignment.modifier().bypassesDivisibility()) {
        continue;
      }
      QuantizationArgs weights = assignment.group().weights();
      if (weights == null || !weights.strategy().isGrouped()) {
        continue;
      }
      int size = weights.groupSize();
      if (module.columns() >= size && module.columns() % size != 0) {
        String layer = module.name() + " (" + module.columns() + ")";
        layers.computeIfAbsent(assignment.group(), g -> new ArrayList<>()).add(layer);
        owners.put(assignment.group(), assignment.modifier());
      }
    }
    layers.forEach(
        (group, names) -> {
          Modifier owner = owners.get(group);
          boolean preset = owner instanceof Quantizer q && !q.options().schemes().isEmpty();
          String field = "config_groups." + group.name() + ".weights.group_size";
          Place place = places.of(owner, preset ? "scheme" : field);
          indivisible.add(
              places.error(
                  place,
                  "the columns of "
                      + names.size()
                      + " layers are no multiple of group_size "
                      + group.weights().groupSize()
                      + ": "
                      + some(names)
                      + "; ignore them or set bypass_divisibility_checks"));
        });
  }

  private static String some(List<String> names) {
    int shown = Math.min(5, names.size());
    return String.join(", ", names.subList(0, shown)) + (names.size() > shown ? ", …" : "");
  }
}
