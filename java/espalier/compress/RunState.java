// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.checkpoint.DurableFiles;
import espalier.checkpoint.PartialFolder;
import espalier.internal.Json;
import espalier.report.EspalierException;
import espalier.report.Event;
import espalier.report.LinearRow;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;

/**
 * What a run knows about itself when a stage (a block, or the head) is done: all that a later
 * process needs to go on, together with the files named in it.
 *
 * <pre>
 * file = {"sha256":"64 hex digits","state":json}\n        the digest is of the bytes of json
 * json = {"schema":1, "inputs":{"facts":{…},"weights":{tensor: CRC-32C}},
 *         "finished":n, "states":{…} or null,
 *         "tensors":{written tensor: CRC-32C}, "linears":[row …], "events":[event …]}
 * </pre>
 *
 * @param finished stages that are done
 * @param states the hidden states after them; null when what is left needs none
 * @param tensors checksums of the compressed tensors that are on the disk
 * @param linears rows of the report of the stages done
 * @param events of the report since the first stage began
 */
record RunState(
    RunInputs inputs,
    int finished,
    States states,
    Map<String, Long> tensors,
    List<LinearRow> linears,
    List<Event> events) {
  private static final int SCHEMA = 1;
  private static final String HEAD = "{\"sha256\":\"";
  private static final String MIDDLE = "\",\"state\":";
  private static final String END = "}\n";
  private static final int DIGEST = 64;

  /** A file of hidden states: its name, length and CRC-32C. */
  record States(String file, long bytes, long checksum) {}

  /** Puts the state on the disk: a crash leaves the one before or this one. */
  void write(Path file) throws IOException {
    ObjectNode node = Json.STRICT.createObjectNode();
    node.put("schema", SCHEMA);
    node.set("inputs", Json.STRICT.valueToTree(inputs));
    node.put("finished", finished);
    node.set("states", Json.STRICT.valueToTree(states));
    node.set("tensors", Json.STRICT.valueToTree(tensors));
    node.set("linears", Json.STRICT.valueToTree(linears));
    node.set("events", Json.STRICT.valueToTree(events));
    String text = Json.STRICT.writeValueAsString(node);
    String whole = HEAD + sha256(text) + MIDDLE + text + END;
    DurableFiles.replace(file, whole.getBytes(StandardCharsets.UTF_8));
  }

  /**
   * Reads the state of an earlier process, if it was begun with the same inputs.
   *
   * @throws EspalierException (INPUT) when the file is damaged; (USAGE) naming every input that has
   *     changed
   */
  static RunState read(Path file, RunInputs inputs) {
    try {
      JsonNode node = verified(file);
      RunInputs begun = Json.STRICT.treeToValue(node.path("inputs"), RunInputs.class);
      if (begun == null) {
        throw damaged(file, "names no inputs", null);
      }
      List<String> changes = inputs.changesSince(begun);
      if (!changes.isEmpty()) {
        throw EspalierException.usage(
            file.getParent()
                + " holds a run that was begun with other inputs; changed since: "
                + String.join("; ", changes),
            "Restore them to go on with that run; or " + PartialFolder.ADVICE + ".");
      }
      // The form of the rest belongs to the version, which is the same.
      return new RunState(
          begun,
          node.path("finished").intValue(),
          Json.STRICT.treeToValue(node.get("states"), States.class),
          Json.STRICT.convertValue(node.get("tensors"), new TypeReference<Map<String, Long>>() {}),
          Json.STRICT.convertValue(node.get("linears"), new TypeReference<List<LinearRow>>() {}),
          Json.STRICT.convertValue(node.get("events"), new TypeReference<List<Event>>() {}));
    } catch (JsonProcessingException | IllegalArgumentException e) {
      throw damaged(file, "is not the state of a run", e);
    } catch (IOException e) {
      throw damaged(file, "cannot be read: " + e.getMessage(), e);
    }
  }

  private static JsonNode verified(Path file) throws IOException {
    String whole = new String(Files.readAllBytes(file), StandardCharsets.UTF_8);
    int begin = HEAD.length() + DIGEST + MIDDLE.length();
    boolean framed =
        whole.length() >= begin + END.length()
            && whole.startsWith(HEAD)
            && whole.startsWith(MIDDLE, HEAD.length() + DIGEST)
            && whole.endsWith(END);
    if (!framed) {
      throw damaged(file, "is cut off or is not the state of a run", null);
    }
    String text = whole.substring(begin, whole.length() - END.length());
    if (!whole.startsWith(sha256(text), HEAD.length())) {
      throw damaged(file, "is not what was written (its digest differs)", null);
    }
    return Json.STRICT.readTree(text);
  }

  /** Returns the failure of a resume over a file that is not as the earlier process left it. */
  static EspalierException damaged(Path file, String what, Throwable cause) {
    return new EspalierException(
        EspalierException.Kind.INPUT,
        file + ": " + what + "; the run cannot go on from it",
        "Restore the file; or " + PartialFolder.ADVICE + ".",
        cause);
  }

  static String sha256(String text) {
    try {
      byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
      return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError("every Java platform has SHA-256", e);
    }
  }
}
