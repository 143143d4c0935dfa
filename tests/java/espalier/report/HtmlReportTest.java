// SPDX-License-Identifier: Apache-2.0
package espalier.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.Base64;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The page of a report: all of it, in order, and never more markup than our own. */
class HtmlReportTest {
  private static final String HOSTILE = "<script>alert(1)</script>";
  private static final String BREAKING = "a\"><img src=x onerror='alert(1)'>&amp;";

  private Report report;

  @BeforeEach
  void fill() {
    report = new Report(Listener.NONE);
    report.fact("source", HOSTILE);
    report.fact("output", BREAKING);
    report.fact("recipe", "stage:\n  # " + HOSTILE + "\n");
    report.fact("odd_fact", HOSTILE);
    for (int block = 0; block < 12; block++) {
      for (String kind : new String[] {"q_proj", "down_proj"}) {
        String name = "model.layers." + block + "." + kind;
        double error = 0.001 * (block + 1);
        report.row(
            new LinearRow(
                name,
                "gptq",
                "W4",
                64,
                4.5,
                null,
                error,
                2 * error,
                0.5,
                "gptq_columns/reference"));
        report.timings().add(Phase.SOLVE, name, 0.25);
      }
    }
    report.row(LinearRow.untouched(BREAKING, HOSTILE, 64, 16));
    report.event(Event.warning("dead-columns", HOSTILE, "first " + BREAKING));
    report.event(Event.info("file-copied", "b", "second " + HOSTILE));
  }

  private String page() {
    return HtmlReport.of(report.toJson());
  }

  @Test
  void namesFromOutsideStayText() {
    String page = page();
    assertFalse(page.contains(HOSTILE), "a script from a name");
    assertFalse(page.contains("<img"), "an element from a name");
    // recipe, source, odd fact, reason, where, message
    int found = page.split(Pattern.quote("&lt;script&gt;alert(1)&lt;/script&gt;"), -1).length - 1;
    assertEquals(6, found);
    assertTrue(page.contains("a&quot;&gt;&lt;img src=x onerror=&#39;alert(1)&#39;&gt;&amp;amp;"));
  }

  @Test
  void everyLinearAndEventIsThereInOrder() {
    String page = page();
    int at = page.indexOf("id=\"linears\"");
    for (LinearRow row : report.rows()) {
      int next = page.indexOf("<td class=\"name\">" + Markup.escaped(row.name()) + "</td>", at);
      assertTrue(next > at, row.name());
      at = next;
    }
    at = page.indexOf("id=\"events\"");
    for (Event event : report.events()) {
      int next = page.indexOf(Markup.escaped(event.message()), at);
      assertTrue(next > at, event.message());
      at = next;
    }
    assertTrue(page.contains("warnings (1)") && page.contains("bookkeeping (1)"));
  }

  @Test
  void theLargestErrorsComeFirst() {
    String page = page();
    String worst = page.substring(page.indexOf("id=\"worst\""), page.indexOf("id=\"linears\""));
    Matcher names = Pattern.compile("model\\.layers\\.(\\d+)\\.").matcher(worst);
    StringBuilder order = new StringBuilder();
    while (names.find()) {
      order.append(names.group(1)).append(' ');
    }
    assertEquals("11 11 10 10 9 9 8 8 7 7 ", order.toString());
  }

  @Test
  void oneReportGivesOnePage() {
    ObjectNode json = report.toJson();
    assertEquals(HtmlReport.of(json), HtmlReport.of(json.deepCopy()));
  }

  @Test
  void thePolicyAllowsItsOwnScriptsAndNothingElse() throws Exception {
    String page = page();
    Matcher policy =
        Pattern.compile("http-equiv=\"Content-Security-Policy\" content=\"([^\"]*)\"")
            .matcher(page);
    assertTrue(policy.find());
    assertTrue(policy.group(1).startsWith("default-src &#39;none&#39;"), policy.group(1));
    assertFalse(policy.group(1).matches(".*script-src[^;]*unsafe.*"), policy.group(1));
    Matcher scripts = Pattern.compile("(?s)<script>(.*?)</script>").matcher(page);
    int count = 0;
    while (scripts.find()) {
      byte[] digest =
          MessageDigest.getInstance("SHA-256")
              .digest(scripts.group(1).getBytes(StandardCharsets.UTF_8));
      String hash = "sha256-" + Base64.getEncoder().encodeToString(digest);
      assertTrue(policy.group(1).contains(hash), "script " + count);
      count++;
    }
    assertEquals(2, count, "the chart library and ours");
    assertFalse(
        Pattern.compile("<(link|script|img|iframe)[^>]*\\s(src|href)=").matcher(page).find());
    assertFalse(page.contains("@import") || page.contains("url(http"));
  }

  @Test
  void theChartLibraryKeepsItsLicence() throws IOException {
    try (InputStream in =
        getClass().getResourceAsStream("/META-INF/resources/webjars/uplot/1.6.30/LICENSE")) {
      String licence = new String(in.readAllBytes(), StandardCharsets.UTF_8);
      assertTrue(licence.contains("MIT") && page().contains(Markup.escaped(licence)));
    }
  }

  @Test
  void withoutAMeasurementThePageSaysHowToGetOne() {
    assertTrue(page().contains("<code>--eval FILE</code>"));
  }

  @Test
  void figuresAreReadable() {
    assertEquals("999 B", Figures.bytes(999));
    assertEquals("1.50 kB", Figures.bytes(1500));
    assertEquals("141.1 GB", Figures.bytes(141_107_412_992L));
    assertEquals("5.00 ms", Figures.seconds(0.005));
    assertEquals("2 min 5 s", Figures.seconds(125));
    assertEquals("2 h 05 min", Figures.seconds(7500));
    assertEquals("1.23e-04", Figures.error(0.0001234));
  }

  @Test
  void aBlockIsNamedByItsNumber() {
    assertEquals("model.layers.3", LinearRow.blockOf("model.layers.3.mlp.experts.7.up_proj"));
    assertEquals("lm_head", LinearRow.blockOf("lm_head"));
  }
}
