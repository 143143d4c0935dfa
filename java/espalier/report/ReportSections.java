// SPDX-License-Identifier: Apache-2.0
package espalier.report;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/** The parts of the report's page, in the order a reader asks for them. */
final class ReportSections {
  /** Linears named as the ones to look at first. */
  private static final int WORST = 10;

  /** Facts that have a place of their own, or are too long for a table. */
  private static final Set<String> SHOWN =
      Set.of(
          "schema",
          "recipe",
          "size",
          "quality",
          "time",
          "linears",
          "events",
          "source",
          "output",
          "kernel_variants",
          "mean_relative_error");

  private final Markup page;
  private final ObjectNode report;
  private final boolean charts;

  ReportSections(Markup page, ObjectNode report, boolean charts) {
    this.page = page;
    this.report = report;
    this.charts = charts;
  }

  /** Returns how many events have a severity. */
  static long count(JsonNode report, String severity) {
    long count = 0;
    for (JsonNode event : report.path("events")) {
      count += event.path("severity").asText().equals(severity) ? 1 : 0;
    }
    return count;
  }

  void write() {
    quality();
    layers();
    size();
    time();
    events();
    recipe();
    environment();
  }

  private void section(String title) {
    page.raw("<section>\n").element("h2", title);
  }

  private void end() {
    page.raw("</section>\n");
  }

  private void quality() {
    section("Quality before and after");
    JsonNode quality = report.path("quality");
    if (!quality.isObject()) {
      page.raw(
              "<p class=\"hint\">Not measured. Add <code>--eval FILE</code> to the compress command")
          .raw(" to have perplexity, KL divergence and top-1 agreement here, or run")
          .raw(" <code>espalier eval OUT --data FILE --against MODEL</code>.</p>\n");
      end();
      return;
    }
    double before = quality.path("perplexity_before").asDouble();
    double after = quality.path("perplexity_after").asDouble();
    page.table("quality", List.of("measure", ">before", ">after", ">change"));
    page.raw("<tr>").element("td", "perplexity");
    page.number(Figures.fixed(before, 4)).number(Figures.fixed(after, 4));
    page.number(String.format(Locale.ROOT, "%+.2f %%", 100 * (after / before - 1))).raw("</tr>\n");
    page.raw("<tr>").element("td", "KL divergence, nats a token").number("0");
    page.number(Figures.fixed(quality.path("kl").asDouble(), 5)).number("").raw("</tr>\n");
    page.raw("<tr>").element("td", "same most likely token").number(Figures.percent(1));
    page.number(Figures.percent(quality.path("top1").asDouble())).number("").raw("</tr>\n");
    page.endTable();
    page.element(
        "p",
        String.format(
            Locale.ROOT,
            "Protocol %s, window %d: %d documents of %s, %d predictions, both models on the same"
                + " tokens in %s. SHA-256 of the tokens: %s",
            quality.path("protocol").asText(),
            quality.path("window").asLong(),
            quality.path("passages").asLong(),
            quality.path("file").asText(),
            quality.path("predictions").asLong(),
            quality.path("precision").asText(),
            quality.path("token_sha256").asText()),
        "class",
        "note");
    end();
  }

  private void layers() {
    section("Error of every layer");
    page.element(
        "p",
        "tr((W−Q) H (W−Q)ᵀ) / tr(W H Wᵀ), where H is what calibration saw (the identity where there"
            + " was none): the share of a layer's output that its error makes. Beside it the same"
            + " for plain rounding to nearest.",
        "class",
        "note");
    chart("error-chart", "Relative error by block, one line for every kind of linear.");
    worst();
    page.raw("<details open><summary>All linears</summary>\n");
    List<String> heads =
        new ArrayList<>(
            List.of(
                "linear",
                "method",
                "scheme",
                ">bits a weight",
                ">error",
                ">plain way",
                ">gain",
                ">seconds",
                "kernel"));
    boolean sparse = false;
    for (JsonNode row : report.path("linears")) {
      sparse |= row.has("density");
    }
    if (sparse) {
      heads.addAll(List.of(">density", "pattern", "zeros", ">a token", ">with zeros"));
    }
    page.table("linears", heads);
    for (JsonNode row : report.path("linears")) {
      linear(row, sparse);
    }
    page.endTable().raw("</details>\n");
    end();
  }

  private void linear(JsonNode row, boolean sparse) {
    String name = row.path("name").asText();
    String block = LinearRow.blockOf(name);
    page.open(
        "tr",
        "data-block",
        block,
        "data-kind",
        name.substring(name.lastIndexOf('.') + 1),
        "data-error",
        row.path("relative_error").asText(""),
        "data-rounding",
        row.path("relative_error_rtn").asText(""));
    page.element("td", name, "class", "name");
    page.element("td", row.path("method").asText()).element("td", row.path("scheme").asText());
    page.number(Figures.fixed(row.path("bits_per_weight").asDouble(), 3));
    boolean both = row.has("relative_error_rtn");
    double error = row.path("relative_error").asDouble();
    double rounding = row.path("relative_error_rtn").asDouble();
    page.number(row.has("relative_error") ? Figures.error(error) : "");
    page.number(both ? Figures.error(rounding) : "");
    page.number(both && error > 0 ? Figures.fixed(rounding / error, 2) + "×" : "");
    page.number(row.has("seconds") ? Figures.seconds(row.path("seconds").asDouble()) : "");
    page.element("td", row.path("variant").asText(""));
    if (sparse) {
      zeros(row);
    }
    page.raw("</tr>\n");
  }

  private void zeros(JsonNode row) {
    boolean timed = row.has("token_microseconds");
    page.number(row.has("density") ? Figures.percent(row.path("density").asDouble()) : "");
    page.element("td", row.path("pattern").asText(""));
    page.element("td", row.has("density") ? row.path("stored").asText("in place") : "");
    page.number(timed ? Figures.seconds(row.path("token_microseconds").asDouble() / 1e6) : "");
    page.number(
        timed ? Figures.seconds(row.path("token_microseconds_dense").asDouble() / 1e6) : "");
  }

  private void worst() {
    List<JsonNode> rows = new ArrayList<>();
    report.path("linears").forEach(rows::add);
    rows.removeIf(row -> !row.has("relative_error"));
    if (rows.size() <= WORST) {
      return;
    }
    rows.sort(Comparator.comparingDouble((JsonNode row) -> -row.path("relative_error").asDouble()));
    page.element("h3", "The " + WORST + " largest errors");
    page.table("worst", List.of("linear", "scheme", ">error", ">of the mean"));
    double mean = report.path("mean_relative_error").asDouble();
    for (JsonNode row : rows.subList(0, WORST)) {
      double error = row.path("relative_error").asDouble();
      page.raw("<tr>").element("td", row.path("name").asText(), "class", "name");
      page.element("td", row.path("scheme").asText()).number(Figures.error(error));
      page.number(Figures.fixed(error / mean, 1) + "×").raw("</tr>\n");
    }
    page.endTable();
  }

  private void size() {
    JsonNode size = report.path("size");
    if (!size.isObject()) {
      return;
    }
    section("Where the bytes are");
    page.table("size", List.of("part", ">before", ">after", "share of after"));
    double whole = 0;
    for (JsonNode part : size.path("parts")) {
      whole += part.path("after_bytes").asDouble();
    }
    for (JsonNode part : size.path("parts")) {
      long after = part.path("after_bytes").asLong();
      page.raw("<tr>").element("td", part.path("part").asText());
      page.number(Figures.bytes(part.path("before_bytes").asLong())).number(Figures.bytes(after));
      meter(after / whole);
      page.raw("</tr>\n");
    }
    page.raw("<tr class=\"sum\">").element("td", "weight files, headers included");
    page.number(Figures.bytes(size.path("before_bytes").asLong()));
    page.number(Figures.bytes(size.path("after_bytes").asLong())).raw("<td></td></tr>\n");
    page.endTable();
    end();
  }

  private void meter(double share) {
    double percent = Double.isFinite(share) ? 100 * share : 0;
    page.open("td", "class", "meter").open("span", "class", "bar", "aria-hidden", "true");
    page.open("i", "style", String.format(Locale.ROOT, "width:%.1f%%", percent)).raw("</i></span>");
    page.text(Figures.percent(percent / 100)).raw("</td>");
  }

  private void time() {
    JsonNode time = report.path("time");
    section("Where the time went");
    chart("time-chart", "Seconds by block and phase.");
    double total = time.path("total_seconds").asDouble();
    page.table("phases", List.of("phase", ">time", "share"));
    double known = 0;
    for (Phase phase : Phase.values()) {
      if (time.path("phases").has(phase.key())) {
        double seconds = time.path("phases").path(phase.key()).asDouble();
        known += seconds;
        phase(phase.title(), seconds, total);
      }
    }
    phase("everything else", Math.max(0, total - known), total);
    page.endTable();
    if (!time.path("blocks").isEmpty()) {
      blocks(time);
    }
    end();
  }

  private void phase(String title, double seconds, double total) {
    page.raw("<tr>").element("td", title).number(Figures.seconds(seconds));
    meter(seconds / total);
    page.raw("</tr>\n");
  }

  private void blocks(JsonNode time) {
    List<Phase> phases = new ArrayList<>();
    for (Phase phase : Phase.values()) {
      for (JsonNode block : time.path("blocks")) {
        if (block.has(phase.key())) {
          phases.add(phase);
          break;
        }
      }
    }
    page.raw("<details><summary>Block by block</summary>\n");
    List<String> heads = new ArrayList<>(List.of("block"));
    phases.forEach(phase -> heads.add(">" + phase.title()));
    page.table("blocks", heads);
    for (JsonNode block : time.path("blocks")) {
      page.raw("<tr>").element("td", block.path("block").asText(), "class", "name");
      for (Phase phase : phases) {
        double seconds = block.path(phase.key()).asDouble();
        page.element(
            "td", Figures.seconds(seconds), "class", "n", "data-seconds", String.valueOf(seconds));
      }
      page.raw("</tr>\n");
    }
    page.endTable().raw("</details>\n");
  }

  private void events() {
    JsonNode events = report.path("events");
    section("Events");
    if (events.isEmpty()) {
      page.raw("<p class=\"hint\">None.</p>\n");
      end();
      return;
    }
    page.raw("<div class=\"filtered\">\n");
    filter("all", "all", events.size(), true);
    filter("warnings", "warnings", count(report, "warning"), false);
    filter("infos", "bookkeeping", count(report, "info"), false);
    page.table("events", List.of("level", "kind", "where", "what"));
    for (JsonNode event : events) {
      String severity = event.path("severity").asText();
      page.open("tr", "class", severity);
      page.open("td").element("span", severity, "class", "badge").raw("</td>");
      page.element("td", event.path("kind").asText());
      page.element("td", event.path("where").asText(), "class", "wrap");
      page.element("td", event.path("message").asText(), "class", "wrap").raw("</tr>\n");
    }
    page.endTable().raw("</div>\n");
    end();
  }

  /** A radio button that styles alone act on: filtering needs no script. */
  private void filter(String id, String label, long count, boolean chosen) {
    page.raw(
        "<input type=\"radio\" name=\"level\" id=\""
            + id
            + "\""
            + (chosen ? " checked" : "")
            + ">");
    page.element("label", label + " (" + count + ")", "for", id);
  }

  private void recipe() {
    section("Recipe");
    page.open("pre").text(report.path("recipe").asText("not recorded")).raw("</pre>\n");
    end();
  }

  private void environment() {
    section("Run");
    page.table("facts", List.of("fact", "value"));
    for (Map.Entry<String, JsonNode> fact : report.properties()) {
      if (!SHOWN.contains(fact.getKey())) {
        page.raw("<tr>").element("td", fact.getKey().replace('_', ' '));
        page.element("td", Figures.words(fact.getValue()), "class", "wrap").raw("</tr>\n");
      }
    }
    page.endTable();
    if (report.path("kernel_variants").isObject()) {
      page.raw("<details><summary>Kernel variants</summary>\n");
      page.element("pre", Figures.words(report.path("kernel_variants"))).raw("</details>\n");
    }
    end();
  }

  private void chart(String id, String label) {
    if (charts) {
      page.open("div", "class", "chart", "id", id, "role", "img", "aria-label", label);
      page.raw("<noscript><p class=\"hint\">Scripts are off; the figures are in the tables.</p>");
      page.raw("</noscript></div>\n");
    } else {
      page.element(
          "p",
          "The chart library was not on the class path; the figures are below.",
          "class",
          "hint");
    }
  }
}
