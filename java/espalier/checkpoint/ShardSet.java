// SPDX-License-Identifier: Apache-2.0
package espalier.checkpoint;

import espalier.report.EspalierException;
import espalier.report.Event;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * The shards an index names, opened and compared with it both ways: every listed tensor lies in its
 * shard, every tensor of a shard is listed, none lies in two. A file that is named like a shard of
 * the same count is one, listed or not; shards of another count are leftovers, reported and
 * ignored.
 */
record ShardSet(Path folder, Path indexFile, ShardIndex index, List<Event> events) {
  private static final Pattern SHARD = Pattern.compile("(.*)-\\d{5}-of-(\\d{5})\\.safetensors");

  /** Opens the shards into {@code shards}, which the caller closes, also after an exception. */
  void open(List<Safetensors> shards) {
    SortedSet<String> files = index.files();
    files.addAll(unlisted(files));
    for (String name : files) {
      Path file = folder.resolve(name);
      if (!Files.isRegularFile(file)) {
        throw EspalierException.input(
            indexFile + ": names shard " + name + ", which is missing",
            "Fetch " + name + " into " + folder + ".");
      }
      shards.add(Safetensors.open(file));
    }
    check(shards);
  }

  private void check(List<Safetensors> shards) {
    Map<String, String> holders = new HashMap<>();
    long bytes = 0;
    for (Safetensors shard : shards) {
      String file = shard.file().getFileName().toString();
      for (TensorEntry entry : shard.entries()) {
        String other = holders.put(entry.name(), file);
        if (other != null) {
          throw fault(entry.name(), "lies in two shards: " + other + " and " + file);
        }
        bytes += entry.sizeBytes();
      }
    }
    index
        .weightMap()
        .forEach(
            (name, file) -> {
              if (!file.equals(holders.get(name))) {
                throw fault(name, "is listed in shard " + file + ", which does not hold it");
              }
            });
    holders.forEach(
        (name, file) -> {
          if (!index.weightMap().containsKey(name)) {
            throw fault(name, "lies in shard " + file + " but the index does not list it");
          }
        });
    if (index.totalBytes() >= 0 && index.totalBytes() != bytes) {
      events.add(
          Event.info(
              "total-size-differs",
              indexFile.toString(),
              "total_size is " + index.totalBytes() + ", the tensors take " + bytes + " bytes"));
    }
  }

  /** Returns the files named like shards of the same set; notes those of another set. */
  private List<String> unlisted(SortedSet<String> listed) {
    SortedSet<String> families = new TreeSet<>();
    listed.forEach(name -> family(name).ifPresent(families::add));
    try (Stream<Path> children = Files.list(folder)) {
      List<String> others =
          children
              .map(child -> child.getFileName().toString())
              .filter(name -> !listed.contains(name) && name.endsWith(Checkpoint.EXTENSION))
              .sorted()
              .toList();
      List<String> siblings =
          others.stream()
              .filter(name -> family(name).filter(families::contains).isPresent())
              .toList();
      List<String> ignored = others.stream().filter(name -> !siblings.contains(name)).toList();
      if (!ignored.isEmpty()) {
        events.add(
            Event.warning(
                "weights-ignored",
                folder.toString(),
                "not in the index and not read: " + String.join(", ", ignored)));
      }
      return siblings;
    } catch (IOException e) {
      throw EspalierException.input(
          folder + ": cannot be listed: " + e.getMessage(), "Check the permissions of the folder.");
    }
  }

  /** Returns the stem and count of a shard's name. */
  private static Optional<String> family(String name) {
    Matcher matcher = SHARD.matcher(name);
    return matcher.matches()
        ? Optional.of(matcher.group(1) + " of " + matcher.group(2))
        : Optional.empty();
  }

  private EspalierException fault(String name, String what) {
    return EspalierException.input(
        indexFile + ": tensor " + TensorSpec.quoted(name) + " " + what,
        "Fetch the index and its shards again.");
  }
}
