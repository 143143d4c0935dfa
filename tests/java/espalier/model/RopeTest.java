// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.internal.Json;
import espalier.report.EspalierException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.FloatBuffer;
import org.junit.jupiter.api.Test;

/** Frequencies by variant and by style of config; whole-model goldens cover the rest. */
class RopeTest {
  private static Rope read(String json, int width, int context) {
    try {
      ObjectNode node = (ObjectNode) Json.STRICT.readTree(json.replace('\'', '"'));
      return Rope.read(new ConfigFields("config.json", node), width, context);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static EspalierException refused(String json) {
    return assertThrows(EspalierException.class, () -> read(json, 8, 64));
  }

  @Test
  void absentThetaIsTenThousand() {
    Rope rope = read("{}", 8, 64);
    assertEquals(4, rope.pairs());
    assertEquals("default", rope.type());
    for (int i = 0; i < 4; i++) {
      assertEquals(Math.pow(10000, -i / 4.0), rope.frequency(i), 1e-15);
    }
  }

  @Test
  void ropeScalingWinsOverRopeParameters() {
    String both =
        "{'rope_theta': 100, 'rope_scaling': {'type': 'linear', 'factor': 2},"
            + " 'rope_parameters': {'rope_type': 'linear', 'factor': 4, 'rope_theta': 7}}";
    assertEquals(Math.pow(100, -0.25) / 2, read(both, 8, 64).frequency(1), 1e-15);
    String one = "{'rope_theta': 100, 'rope_parameters': {'rope_type': 'default'}}";
    assertEquals(Math.pow(100, -0.25), read(one, 8, 64).frequency(1), 1e-15);
    String inner = "{'rope_theta': 100, 'rope_parameters': {'rope_theta': 50}}";
    assertEquals(Math.pow(50, -0.25), read(inner, 8, 64).frequency(1), 1e-15);
  }

  @Test
  void llama3KeepsBlendsAndDivides() {
    // Turns in 32 positions: 32 θ^(−i/4) / 2π = 5.09, 0.51, … for θ = 10^4.
    Rope rope =
        read(
            "{'rope_scaling': {'rope_type': 'llama3', 'factor': 8, 'low_freq_factor': 1,"
                + " 'high_freq_factor': 4, 'original_max_position_embeddings': 128}}",
            8,
            1024);
    assertEquals(1, rope.frequency(0), 1e-15); // 20.4 turns: kept
    double turns = 128 * 0.1 / (2 * Math.PI);
    double kept = (turns - 1) / 3;
    assertEquals(0.1 * kept + 0.1 / 8 * (1 - kept), rope.frequency(1), 1e-15);
    assertEquals(0.01 / 8, rope.frequency(2), 1e-15);
  }

  @Test
  void yarnWithoutTruncationAndWithMscale() {
    String head = "{'rope_scaling': {'rope_type': 'yarn', 'factor': 4, ";
    String context = "'original_max_position_embeddings': 64";
    Rope plain = read(head + context + "}}", 16, 256);
    assertEquals(0.1 * Math.log(4) + 1, plain.attentionFactor(), 1e-15);
    // lo = 16 ln(64/64π)/(2 ln 10^4) < 0 → 0; hi = 16 ln(64/2π)/(2 ln 10^4) = 2.0157 → 3
    double third = 1 / 3.0;
    assertEquals(Math.pow(10, -0.5) * (third / 4 + 1 - third), plain.frequency(1), 1e-12);
    double high = 16 * Math.log(64 / (2 * Math.PI)) / (2 * Math.log(10000));
    Rope exact = read(head + context + ", 'truncate': false}}", 16, 256);
    double ramp = 1 / high;
    assertEquals(Math.pow(10, -0.5) * (ramp / 4 + 1 - ramp), exact.frequency(1), 1e-12);
    Rope both = read(head + context + ", 'mscale': 1.0, 'mscale_all_dim': 0.5}}", 16, 256);
    assertEquals((0.1 * Math.log(4) + 1) / (0.05 * Math.log(4) + 1), both.attentionFactor(), 1e-15);
    assertEquals(
        1.25, read(head + context + ", 'attention_factor': 1.25}}", 16, 256).attentionFactor());
    // Without a factor it is the ratio of the contexts.
    String bare = "{'rope_scaling': {'rope_type': 'yarn', " + context + "}}";
    assertEquals(plain.frequency(5), read(bare, 16, 256).frequency(5), 1e-15);
  }

  @Test
  void otherVariantsAreRefusedByName() {
    for (String type : new String[] {"dynamic", "longrope", "su", "mrope", "ntk"}) {
      EspalierException e = refused("{'rope_scaling': {'type': '" + type + "', 'factor': 2}}");
      assertEquals(EspalierException.Kind.UNSUPPORTED, e.kind());
      assertTrue(e.getMessage().contains("rope_scaling.type \"" + type + "\""), e.getMessage());
    }
    assertTrue(
        refused("{'rope_parameters': {'full_attention': {'rope_theta': 1}}}")
            .getMessage()
            .contains("rope_parameters"));
    assertTrue(
        refused("{'rope_scaling': {'rope_type': 'linear'}}").getMessage().contains("factor"));
    assertTrue(
        refused("{'rope_scaling': {'rope_type': 'linear', 'factor': 0}}")
            .getMessage()
            .contains("rope_scaling.factor"));
    assertTrue(
        refused("{'rope_scaling': {'rope_type': 'default', 'partial_rotary_factor': 0.5}}")
            .getMessage()
            .contains("partial_rotary_factor"));
  }

  @Test
  void tablesCarryTheAttentionFactor() {
    Rope rope =
        read("{'rope_scaling': {'rope_type': 'yarn', 'factor': 4, 'attention_factor': 2}}", 4, 64);
    FloatBuffer cosines = FloatBuffer.allocate(6);
    FloatBuffer sines = FloatBuffer.allocate(6);
    rope.fill(cosines, sines, 7);
    for (int i = 0; i < 6; i++) {
      double angle = (7 + i / 2) * rope.frequency(i % 2);
      assertEquals((float) (2 * Math.cos(angle)), cosines.get(i));
      assertEquals((float) (2 * Math.sin(angle)), sines.get(i));
    }
  }
}
