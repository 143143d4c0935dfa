// SPDX-License-Identifier: Apache-2.0
package espalier.report;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Base64;
import java.util.Optional;

/**
 * A report as one HTML file that needs nothing beside it: styles, scripts and the chart library are
 * in the page, and its policy forbids every request and every script that is not one of these. All
 * figures stand in tables; charts are drawn from the tables where scripts run.
 */
public final class HtmlReport {
  /** The chart library, a WebJar that only the command line brings along. */
  private static final String CHARTS = "/META-INF/resources/webjars/uplot/1.6.30/";

  private HtmlReport() {}

  /**
   * Returns the page of a report.
   *
   * @param report as {@link Report#toJson} makes it
   */
  public static String of(ObjectNode report) {
    Optional<String> library = resource(CHARTS + "dist/uPlot.iife.min.js");
    String drawing = resource("/espalier/report/charts.js").orElseThrow();
    Markup page = new Markup();
    page.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.open("meta", "http-equiv", "Content-Security-Policy", "content", policy(library, drawing));
    page.raw("\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.raw("<meta name=\"color-scheme\" content=\"light dark\">\n");
    page.element(
        "title", report.path("output").asText("a compressed model") + " · Espalier report");
    page.raw("<style>\n");
    resource(CHARTS + "dist/uPlot.min.css").ifPresent(page::raw);
    page.raw(resource("/espalier/report/page.css").orElseThrow())
        .raw("</style>\n</head>\n<body>\n");
    header(page, report);
    page.raw("<main>\n");
    new ReportSections(page, report, library.isPresent()).write();
    page.raw("</main>\n");
    footer(page, report, library.isPresent());
    library.ifPresent(
        code ->
            page.raw("<script>")
                .raw(code)
                .raw("</script>\n<script>")
                .raw(drawing)
                .raw("</script>\n"));
    return page.raw("</body>\n</html>\n").toString();
  }

  private static void header(Markup page, JsonNode report) {
    page.raw("<header>\n<p class=\"brand\">Espalier report</p>\n");
    page.element("h1", report.path("output").asText("Compressed model"));
    page.open("p", "class", "lead").text("from ");
    page.open("b").text(report.path("source").asText("an unnamed model")).close("b");
    page.text(", " + report.path("format").asText("format not recorded"));
    page.close("p").raw("<div class=\"tiles\">\n");
    tile(page, "linears compressed", compressed(report), "");
    JsonNode size = report.path("size");
    if (size.has("after_bytes")) {
      double before = size.path("before_bytes").asDouble();
      double after = size.path("after_bytes").asDouble();
      tile(
          page,
          "weight files",
          Figures.bytes((long) after),
          "from " + Figures.bytes((long) before) + ", " + Figures.percent(after / before));
    }
    tile(
        page,
        "mean relative error",
        Figures.error(report.path("mean_relative_error").asDouble()),
        "of the compressed linears");
    JsonNode quality = report.path("quality");
    if (quality.isObject()) {
      tile(
          page,
          "perplexity",
          Figures.fixed(quality.path("perplexity_after").asDouble(), 3),
          "before: " + Figures.fixed(quality.path("perplexity_before").asDouble(), 3));
    }
    tile(
        page,
        "time",
        Figures.seconds(report.path("time").path("total_seconds").asDouble()),
        report.path("threads").asText("?") + " threads");
    long warnings = ReportSections.count(report, "warning");
    tile(page, "warnings", String.valueOf(warnings), warnings == 0 ? "none" : "see events");
    page.raw("</div>\n</header>\n");
  }

  private static String compressed(JsonNode report) {
    long done = 0;
    for (JsonNode linear : report.path("linears")) {
      done += linear.path("method").asText().equals("none") ? 0 : 1;
    }
    return done + " of " + report.path("linears").size();
  }

  private static void tile(Markup page, String name, String value, String note) {
    page.open("div", "class", "tile");
    page.element("span", name, "class", "name").element("span", value, "class", "value");
    page.element("span", note, "class", "note").close("div");
  }

  private static void footer(Markup page, JsonNode report, boolean charts) {
    page.raw("<footer>\n");
    page.element(
        "p",
        "Written by Espalier "
            + report.path("espalier_version").asText("")
            + ". The same figures for programs: espalier-report.json.");
    if (charts) {
      page.raw("<details><summary>Charts by uPlot 1.6.30, MIT licence</summary>\n");
      page.element("pre", resource(CHARTS + "LICENSE").orElse("")).raw("</details>\n");
    }
    page.raw("</footer>\n");
  }

  /** Only the page's own scripts run, named by their hashes; nothing is ever requested. */
  private static String policy(Optional<String> library, String drawing) {
    String scripts =
        library.map(code -> "'" + hash(code) + "' '" + hash(drawing) + "'").orElse("'none'");
    return "default-src 'none'; style-src 'unsafe-inline'; script-src " + scripts;
  }

  private static String hash(String script) {
    try {
      byte[] digest =
          MessageDigest.getInstance("SHA-256").digest(script.getBytes(StandardCharsets.UTF_8));
      return "sha256-" + Base64.getEncoder().encodeToString(digest);
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError("every Java platform has SHA-256", e);
    }
  }

  private static Optional<String> resource(String path) {
    try (InputStream in = HtmlReport.class.getResourceAsStream(path)) {
      return in == null
          ? Optional.empty()
          : Optional.of(new String(in.readAllBytes(), StandardCharsets.UTF_8));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
