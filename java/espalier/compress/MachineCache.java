// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.internal.Json;
import espalier.internal.Version;
import espalier.tensor.Context;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/**
 * Keeps the profile of a machine, so that it is measured once:
 *
 * <pre>
 * $XDG_CACHE_HOME/espalier/machine.json, or ~/.cache/espalier/machine.json
 * { "schema": 1, "machines": { "CPU, instruction sets, threads, version": { rates … } } }
 * </pre>
 *
 * @param file the cache; may be absent, unreadable or from another version: then it is measured
 */
public record MachineCache(Path file) {
  private static final int SCHEMA = 2; // 2: one thread, by processor time

  /** A profile, and where it comes from in a few words. */
  public record Found(MachineProfile profile, String origin) {}

  /** Returns the user's cache. */
  public static MachineCache ofUser(Map<String, String> environment) {
    String home = environment.getOrDefault("XDG_CACHE_HOME", "");
    Path folder =
        home.isEmpty() ? Path.of(System.getProperty("user.home"), ".cache") : Path.of(home);
    return new MachineCache(folder.resolve("espalier").resolve("machine.json"));
  }

  /** Returns the profile of this machine: kept from before, or measured now and kept. */
  public Found find(Context context) {
    String key = key(context);
    ObjectNode root = read();
    Optional<MachineProfile> kept = profile(root.path("machines").path(key));
    if (kept.isPresent()) {
      return new Found(kept.get(), "measured before, kept in " + file);
    }
    long start = System.nanoTime();
    MachineProfile profile = MachineProfile.measure(context.threads());
    String spent =
        String.format(Locale.ROOT, "measured now in %.1f s", (System.nanoTime() - start) / 1e9);
    root.put("schema", SCHEMA);
    root.withObjectProperty("machines").set(key, Json.STRICT.valueToTree(profile));
    return new Found(
        profile,
        write(root) ? spent + ", kept in " + file : spent + "; " + file + " cannot be written");
  }

  private static Optional<MachineProfile> profile(JsonNode node) {
    if (!node.isObject()) {
      return Optional.empty();
    }
    try {
      return Optional.of(Json.STRICT.treeToValue(node, MachineProfile.class));
    } catch (JsonProcessingException e) {
      return Optional.empty(); // written by hand or by another version: measured anew
    }
  }

  private ObjectNode read() {
    try {
      if (Json.STRICT.readTree(Files.readAllBytes(file)) instanceof ObjectNode root
          && root.path("schema").asInt() == SCHEMA
          && root.path("machines").isObject()) {
        return root;
      }
    } catch (IOException e) {
      // None yet, or spoilt: it is written anew.
    }
    return Json.STRICT.createObjectNode();
  }

  private boolean write(ObjectNode root) {
    try {
      Files.createDirectories(file.getParent());
      Path whole = Files.createTempFile(file.getParent(), "machine", ".json");
      Files.writeString(whole, Output.pretty(root));
      Files.move(whole, file, StandardCopyOption.REPLACE_EXISTING);
      return true;
    } catch (IOException e) {
      return false;
    }
  }

  private static String key(Context context) {
    return cpu()
        + ", "
        + Context.cpuFeatures()
        + ", "
        + context.threads()
        + " threads, espalier "
        + Version.TEXT;
  }

  /** Returns the processor's name. */
  private static String cpu() {
    try {
      for (String line : Files.readAllLines(Path.of("/proc/cpuinfo"))) {
        if (line.startsWith("model name")) {
          return line.substring(line.indexOf(':') + 1).strip();
        }
      }
    } catch (IOException e) {
      // Not Linux: the architecture has to do.
    }
    return System.getProperty("os.arch");
  }
}
