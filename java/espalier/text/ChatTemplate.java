// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import espalier.internal.Json;
import espalier.report.EspalierException;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Turns a conversation into the text a model was trained on, by the Jinja template its folder
 * carries.
 *
 * <p>Found in this order: {@code chat_template.jinja}; {@code chat_template} in {@code
 * tokenizer_config.json} (a string, or a list of {@code {name, template}}); {@code
 * chat_template.json}. Named templates also live in {@code additional_chat_templates/NAME.jinja};
 * the name {@code default} is the one without a name. Special tokens come from {@code
 * tokenizer_config.json} and, where it says nothing, {@code special_tokens_map.json}.
 *
 * <p>The engine is a bounded subset of Jinja2 as transformers sets it up (trim_blocks and
 * lstrip_blocks on, no HTML escaping): a template that needs more is refused by construct and line,
 * never rendered approximately. Immutable and safe to share.
 */
public final class ChatTemplate {
  private static final String DEFAULT = "default";

  private static final List<String> SPECIAL_TOKENS =
      List.of(
          "bos_token",
          "eos_token",
          "unk_token",
          "sep_token",
          "pad_token",
          "cls_token",
          "mask_token");

  private final String origin;
  private final String source;
  private final Map<String, String> specialTokens;
  private final List<JinjaNodes.Statement> statements;
  private final LocalDateTime now;

  private ChatTemplate(
      String origin,
      String source,
      Map<String, String> specialTokens,
      List<JinjaNodes.Statement> statements,
      LocalDateTime now) {
    this.origin = origin;
    this.source = source;
    this.specialTokens = specialTokens;
    this.statements = statements;
    this.now = now;
  }

  /**
   * Returns the template {@code source}; {@code origin} names it in messages, {@code specialTokens}
   * holds {@code bos_token} and the like as far as the model has them.
   *
   * @throws EspalierException INPUT if it is not well formed, UNSUPPORTED if it uses a tag beyond
   *     the subset
   */
  public static ChatTemplate of(String origin, String source, Map<String, String> specialTokens) {
    List<JinjaNodes.Statement> statements = JinjaParser.parse(origin, source);
    return new ChatTemplate(origin, source, Map.copyOf(specialTokens), statements, null);
  }

  /**
   * Returns the default template of a model folder.
   *
   * @throws EspalierException INPUT if the folder has none or it is malformed
   */
  public static ChatTemplate open(Path modelFolder) {
    return find(modelFolder)
        .orElseThrow(
            () ->
                EspalierException.input(
                    modelFolder + " has no chat template",
                    "add chat_template.jinja to the folder, or give texts under the key text"));
  }

  /** Returns the default template of a model folder, or nothing if it has none. */
  public static Optional<ChatTemplate> find(Path modelFolder) {
    return find(modelFolder, DEFAULT);
  }

  /** Returns the template called {@code name}, or nothing if the folder has none of that name. */
  public static Optional<ChatTemplate> find(Path modelFolder, String name) {
    Path configFile = modelFolder.resolve("tokenizer_config.json");
    JsonNode config = json(configFile);
    Map<String, String> tokens = specialTokens(config, modelFolder);
    Path single =
        name.equals(DEFAULT)
            ? modelFolder.resolve("chat_template.jinja")
            : modelFolder.resolve("additional_chat_templates").resolve(name + ".jinja");
    if (isPlainName(name) && Files.isRegularFile(single)) {
      return Optional.of(of(single.toString(), read(single), tokens));
    }
    Optional<String> inConfig = named(config.path("chat_template"), name);
    if (inConfig.isPresent()) {
      return Optional.of(of(configFile + " chat_template", inConfig.get(), tokens));
    }
    Path old = modelFolder.resolve("chat_template.json");
    return named(json(old).path("chat_template"), name).map(s -> of(old.toString(), s, tokens));
  }

  /** A name that cannot lead out of the folder. */
  private static boolean isPlainName(String name) {
    return name.matches("[A-Za-z0-9_-][A-Za-z0-9_.-]*");
  }

  private static Optional<String> named(JsonNode template, String name) {
    if (template.isTextual()) {
      return name.equals(DEFAULT) ? Optional.of(template.textValue()) : Optional.empty();
    }
    for (JsonNode entry : template.isArray() ? template : List.<JsonNode>of()) {
      if (name.equals(entry.path("name").asText()) && entry.path("template").isTextual()) {
        return Optional.of(entry.path("template").textValue());
      }
    }
    return Optional.empty();
  }

  private static Map<String, String> specialTokens(JsonNode config, Path folder) {
    JsonNode map = json(folder.resolve("special_tokens_map.json"));
    Map<String, String> tokens = new LinkedHashMap<>();
    for (String name : SPECIAL_TOKENS) {
      JsonNode value = config.has(name) ? config.get(name) : map.path(name);
      JsonNode content = value.isObject() ? value.path("content") : value;
      if (content.isTextual()) {
        tokens.put(name, content.textValue());
      }
    }
    return tokens;
  }

  private static JsonNode json(Path file) {
    if (!Files.isRegularFile(file)) {
      return Json.STRICT.createObjectNode();
    }
    try {
      return Json.STRICT.readTree(read(file));
    } catch (JsonProcessingException e) {
      throw EspalierException.input(
          file + " is not JSON: " + e.getOriginalMessage(), "fetch the file again");
    }
  }

  private static String read(Path file) {
    try {
      return Files.readString(file);
    } catch (CharacterCodingException e) {
      throw EspalierException.input(file + " is not UTF-8", "save the file as UTF-8");
    } catch (IOException e) {
      throw EspalierException.input("cannot read " + file + ": " + e, "check the file's rights");
    }
  }

  /**
   * Returns this template with the clock stopped at {@code time}: some templates write today's
   * date, and calibration on them is repeatable only at a fixed one.
   */
  public ChatTemplate at(LocalDateTime time) {
    return new ChatTemplate(origin, source, specialTokens, statements, time);
  }

  /**
   * Returns the conversation as text. A message maps {@code role} and {@code content} (and whatever
   * else the template reads) to strings, numbers, booleans, lists and maps of those.
   *
   * @param addGenerationPrompt whether to end where the assistant's answer begins
   * @throws EspalierException INPUT if the template refuses the messages or does not come to an
   *     end, UNSUPPORTED if it needs more than the subset
   */
  public String render(List<? extends Map<String, ?>> messages, boolean addGenerationPrompt) {
    return render(messages, addGenerationPrompt, Map.of());
  }

  /** As the other, with further variables, such as {@code tools} or {@code enable_thinking}. */
  public String render(
      List<? extends Map<String, ?>> messages,
      boolean addGenerationPrompt,
      Map<String, ?> variables) {
    Map<String, Object> all = new LinkedHashMap<>(specialTokens);
    all.put("tools", null);
    all.put("documents", null);
    variables.forEach((name, value) -> all.put(name, JinjaJson.adopt(value)));
    all.put("messages", JinjaJson.adopt(messages));
    all.put("add_generation_prompt", addGenerationPrompt);
    return JinjaRuntime.render(origin, statements, all, now == null ? LocalDateTime.now() : now);
  }

  /**
   * Returns the ids of a text this template rendered. The template wrote every special token there
   * is to be, so the tokenizer adds none, as in transformers.
   */
  public int[] encode(Tokenizer tokenizer, String rendered) {
    return tokenizer.encode(rendered, false);
  }

  /** Returns the special tokens the template sees, by name ({@code bos_token}, …). */
  public Map<String, String> specialTokens() {
    return specialTokens;
  }

  /** Returns where the template was found. */
  public String origin() {
    return origin;
  }

  /** Returns the template's own text. */
  public String source() {
    return source;
  }
}
