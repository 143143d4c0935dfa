// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.Shared;
import espalier.report.EspalierException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Templates in the style of the common families, written for these tests. */
class ChatTemplateTest {
  private static final Map<String, String> TOKENS = Map.of("bos_token", "<s>", "eos_token", "</s>");

  @TempDir Path folder;

  /** Messages with alternating roles from user on; a text that starts with "system:" is one. */
  private static List<Map<String, Object>> talk(String... texts) {
    List<Map<String, Object>> messages = new ArrayList<>();
    int turn = 0;
    for (String text : texts) {
      if (text.startsWith("system:")) {
        messages.add(Map.of("role", "system", "content", text.substring(7)));
      } else {
        messages.add(Map.of("role", turn++ % 2 == 0 ? "user" : "assistant", "content", text));
      }
    }
    return messages;
  }

  private static ChatTemplate template(String... lines) {
    return ChatTemplate.of("test", String.join("\n", lines), TOKENS);
  }

  @Test
  void chatMl() {
    ChatTemplate template =
        template(
            "{% for message in messages %}",
            "    {%- if loop.first and message['role'] != 'system' %}",
            "        {{- '<|im_start|>system\\nYou help.<|im_end|>\\n' }}",
            "    {%- endif %}",
            "    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}",
            "{%- endfor %}",
            "{% if add_generation_prompt %}",
            "{{ '<|im_start|>assistant\\n' }}",
            "{% endif %}");
    assertEquals(
        "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            + "<|im_start|>assistant\n\n",
        template.render(talk("Hi"), true));
    assertEquals(
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            + "<|im_start|>assistant\nYo<|im_end|>\n",
        template.render(talk("system:S", "Hi", "Yo"), false));
  }

  @Test
  void llama3WithDateAndTrimmedContent() {
    ChatTemplate template =
        template(
            "{{- bos_token }}",
            "{%- if not date_string is defined %}",
            "    {%- if strftime_now is defined %}",
            "        {%- set date_string = strftime_now(\"%d %b %Y\") %}",
            "    {%- else %}",
            "        {%- set date_string = \"26 Jul 2024\" %}",
            "    {%- endif %}",
            "{%- endif %}",
            "{%- if messages[0]['role'] == 'system' %}",
            "    {%- set system_message = messages[0]['content']|trim %}",
            "    {%- set messages = messages[1:] %}",
            "{%- else %}",
            "    {%- set system_message = \"\" %}",
            "{%- endif %}",
            "{{- \"<|start_header_id|>system<|end_header_id|>\\n\\n\" }}",
            "{{- \"Today: \" + date_string + \"\\n\\n\" }}",
            "{{- system_message }}",
            "{{- \"<|eot_id|>\" }}",
            "{%- for message in messages %}",
            "    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'",
            "        + message['content'] | trim + '<|eot_id|>' }}",
            "{%- endfor %}",
            "{%- if add_generation_prompt %}",
            "    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}",
            "{%- endif %}");
    String head = "<s><|start_header_id|>system<|end_header_id|>\n\nToday: 07 Mar 2026\n\n";
    assertEquals(
        head
            + "Be brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            + "<|start_header_id|>assistant<|end_header_id|>\n\n",
        template
            .at(LocalDateTime.of(2026, 3, 7, 0, 0))
            .render(talk("system: Be brief. ", "  Hi\n"), true));
  }

  @Test
  void mistralMergesSystemAndChecksAlternation() {
    ChatTemplate template =
        template(
            "{%- if messages[0]['role'] == 'system' %}",
            "    {%- set system_message = messages[0]['content'] %}",
            "    {%- set loop_messages = messages[1:] %}",
            "{%- else %}",
            "    {%- set loop_messages = messages %}",
            "{%- endif %}",
            "{{- bos_token }}",
            "{%- for message in loop_messages %}",
            "    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}",
            "        {{- raise_exception('Roles must alternate') }}",
            "    {%- endif %}",
            "    {%- if message['role'] == 'user' %}",
            "        {%- if loop.last and system_message is defined %}",
            "            {{- '[INST] ' + system_message + '\\n\\n' + message['content'] + ' [/INST]' }}",
            "        {%- else %}",
            "            {{- '[INST] ' + message['content'] + ' [/INST]' }}",
            "        {%- endif %}",
            "    {%- else %}",
            "        {{- ' ' + message['content'] + eos_token }}",
            "    {%- endif %}",
            "{%- endfor %}");
    assertEquals(
        "<s>[INST] a [/INST] b</s>[INST] S\n\nc [/INST]",
        template.render(talk("system:S", "a", "b", "c"), false));
    List<Map<String, Object>> twice = new ArrayList<>(talk("a"));
    twice.addAll(talk("b"));
    EspalierException e =
        assertThrows(EspalierException.class, () -> template.render(twice, false));
    assertEquals(EspalierException.Kind.INPUT, e.kind());
    assertTrue(e.getMessage().contains("Roles must alternate"), e.getMessage());
    assertTrue(e.getMessage().contains("line 10"), e.getMessage());
  }

  @Test
  void gemmaRenamesTheAssistant() {
    ChatTemplate template =
        template(
            "{{ bos_token }}",
            "{%- if messages[0].role == 'system' -%}",
            "    {%- set first_user_prefix = messages[0].content + '\\n\\n' -%}",
            "    {%- set loop_messages = messages[1:] -%}",
            "{%- else -%}",
            "    {%- set first_user_prefix = '' -%}",
            "    {%- set loop_messages = messages -%}",
            "{%- endif -%}",
            "{%- for message in loop_messages -%}",
            "    {%- set role = 'model' if message.role == 'assistant' else message.role -%}",
            "    {{ '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first) }}",
            "    {%- if message.content is string -%}",
            "        {{ message.content | trim }}",
            "    {%- elif message.content is iterable -%}",
            "        {%- for item in message.content -%}",
            "            {%- if item.type == 'text' -%}{{ item.text | trim }}{%- endif -%}",
            "        {%- endfor -%}",
            "    {%- else -%}{{ raise_exception('Invalid content') }}{%- endif -%}",
            "    {{ '<end_of_turn>\\n' }}",
            "{%- endfor -%}",
            "{%- if add_generation_prompt -%}{{ '<start_of_turn>model\\n' }}{%- endif -%}");
    String turn = "<start_of_turn>user\nS\n\nHi<end_of_turn>\n";
    assertEquals("<s>" + turn, template.render(talk("system:S", " Hi "), false));
    List<Map<String, Object>> parts =
        List.of(
            Map.of(
                "role",
                "user",
                "content",
                List.of(
                    Map.of("type", "text", "text", " Hi"),
                    Map.of("type", "image"),
                    Map.of("type", "text", "text", "there"))));
    assertEquals(
        "<s><start_of_turn>user\nHithere<end_of_turn>\n<start_of_turn>model\n",
        template.render(parts, true));
  }

  @Test
  void qwen3CutsThinkingOutOfEarlierTurns() {
    ChatTemplate template =
        template(
            "{%- if tools %}",
            "    {{- '<|im_start|>system\\n# Tools\\n' }}",
            "    {%- for tool in tools %}",
            "        {{- \"\\n\" }}",
            "        {{- tool | tojson }}",
            "    {%- endfor %}",
            "    {{- '<|im_end|>\\n' }}",
            "{%- endif %}",
            "{%- set ns = namespace(more=true, last=messages|length - 1) %}",
            "{%- for message in messages[::-1] %}",
            "    {%- set index = (messages|length - 1) - loop.index0 %}",
            "    {%- if ns.more and message.role == \"user\" and message.content is string"
                + " and not(message.content.startswith('<tool>')"
                + " and message.content.endswith('</tool>')) %}",
            "        {%- set ns.more = false %}",
            "        {%- set ns.last = index %}",
            "    {%- endif %}",
            "{%- endfor %}",
            "{%- for message in messages %}",
            "    {%- set content = message.content %}",
            "    {%- if message.role == \"assistant\" %}",
            "        {%- set thoughts = '' %}",
            "        {%- if message.thoughts is string %}",
            "            {%- set thoughts = message.thoughts %}",
            "        {%- elif '</think>' in content %}",
            "            {%- set thoughts = content.split('</think>')[0].rstrip('\\n')"
                + ".split('<think>')[-1].lstrip('\\n') %}",
            "            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}",
            "        {%- endif %}",
            "        {%- if loop.index0 > ns.last and (loop.last or thoughts) %}",
            "            {{- '<|im_start|>' + message.role + '\\n<think>\\n'"
                + " + thoughts.strip('\\n') + '\\n</think>\\n\\n' + content }}",
            "        {%- else %}",
            "            {{- '<|im_start|>' + message.role + '\\n' + content }}",
            "        {%- endif %}",
            "        {%- for call in message.calls or [] %}",
            "            {{- '\\n<tool_call>\\n{\"name\": \"' ~ call.name ~ '\", \"arguments\": ' }}",
            "            {{- call.arguments if call.arguments is string else call.arguments | tojson }}",
            "            {{- '}\\n</tool_call>' }}",
            "        {%- endfor %}",
            "        {{- '<|im_end|>\\n' }}",
            "    {%- else %}",
            "        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}",
            "    {%- endif %}",
            "{%- endfor %}",
            "{%- if add_generation_prompt %}",
            "    {{- '<|im_start|>assistant\\n' }}",
            "    {%- if enable_thinking is defined and enable_thinking is false %}",
            "        {{- '<think>\\n\\n</think>\\n\\n' }}",
            "    {%- endif %}",
            "{%- endif %}");
    String thinking = "<think>\nhm\n</think>\n\nYo";
    String start = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n";
    assertEquals(start + thinking + "<|im_end|>\n", template.render(talk("Hi", thinking), false));
    assertEquals(
        start
            + "Yo<|im_end|>\n<|im_start|>user\nOk<|im_end|>\n"
            + "<|im_start|>assistant\n<think>\n\n</think>\n\n",
        template.render(talk("Hi", thinking, "Ok"), true, Map.of("enable_thinking", false)));
    List<Map<String, Object>> messages = new ArrayList<>(talk("Hi"));
    messages.add(
        Map.of(
            "role",
            "assistant",
            "content",
            "",
            "calls",
            List.of(Map.of("name", "add", "arguments", Map.of("x", 1)))));
    assertEquals(
        "<|im_start|>system\n# Tools\n\n{\"é\": [1, 2.5, null]}<|im_end|>\n"
            + start
            + "<think>\n\n</think>\n\n\n<tool_call>\n{\"name\": \"add\", \"arguments\": {\"x\": 1}}\n"
            + "</tool_call><|im_end|>\n",
        template.render(
            messages,
            false,
            Map.of("tools", List.of(Map.of("é", java.util.Arrays.asList(1, 2.5, null))))));
  }

  @Test
  void templateFileWinsOverConfigAndConfigOverTheOldFile() throws IOException {
    assertTrue(ChatTemplate.find(folder).isEmpty());
    EspalierException e = assertThrows(EspalierException.class, () -> ChatTemplate.open(folder));
    assertEquals(EspalierException.Kind.INPUT, e.kind());
    write("chat_template.json", "{\"chat_template\": \"old\"}");
    assertEquals("old", rendered("default"));
    write("tokenizer_config.json", "{\"chat_template\": \"config\"}");
    assertEquals("config", rendered("default"));
    write(
        "tokenizer_config.json",
        "{\"chat_template\": [{\"name\": \"default\", \"template\": \"listed\"},"
            + " {\"name\": \"rag\", \"template\": \"listed rag\"}]}");
    assertEquals("listed", rendered("default"));
    assertEquals("listed rag", rendered("rag"));
    write("chat_template.jinja", "file\n");
    assertEquals("file", rendered("default"));
    write("additional_chat_templates/rag.jinja", "file rag");
    assertEquals("file rag", rendered("rag"));
    assertTrue(ChatTemplate.find(folder, "../chat_template").isEmpty());
  }

  @Test
  void specialTokensMayBeObjectsOrStandInTheirOwnFile() throws IOException {
    write(
        "tokenizer_config.json",
        "{\"bos_token\": {\"content\": \"<b>\"}, \"eos_token\": null,"
            + " \"chat_template\": \"{{ bos_token }}|{{ eos_token }}|{{ pad_token }}\"}");
    write("special_tokens_map.json", "{\"eos_token\": \"<e>\", \"pad_token\": \"<p>\"}");
    assertEquals("<b>||<p>", rendered("default"));
  }

  private void write(String name, String content) throws IOException {
    Path file = folder.resolve(name);
    Files.createDirectories(file.getParent());
    Files.writeString(file, content);
  }

  private String rendered(String name) {
    return ChatTemplate.find(folder, name).orElseThrow().render(List.of(), false);
  }

  @Test
  void fieldCaseRendersItsTemplateFile() {
    Path golden = Shared.path("golden", "field", "chat-template-file");
    assertEquals(
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
        ChatTemplate.open(golden).render(talk("Hi"), true));
  }

  @Test
  void brokenConfigIsNamed() throws IOException {
    write("tokenizer_config.json", "{\"chat_template\": ");
    EspalierException e = assertThrows(EspalierException.class, () -> ChatTemplate.find(folder));
    assertTrue(e.getMessage().contains("tokenizer_config.json"), e.getMessage());
  }
}
