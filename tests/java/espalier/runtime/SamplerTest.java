// SPDX-License-Identifier: Apache-2.0
package espalier.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.report.EspalierException;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;

class SamplerTest {
  private static final int[] NO_TEXT = {};

  private static Sampling sampling(double temperature, int topK, double topP, double penalty) {
    return new Sampling(false, temperature, topK, topP, penalty, 42);
  }

  /** Returns the tokens that ever come out of many draws. */
  private static Set<Integer> support(Sampling rules, int[] text, float... logits) {
    Sampler sampler = new Sampler(rules);
    Set<Integer> seen = new TreeSet<>();
    for (int i = 0; i < 4000; i++) {
      seen.add(sampler.next(logits.clone(), text, text.length));
    }
    return seen;
  }

  @Test
  void greedyTakesTheFirstOfTheLargest() {
    assertEquals(1, new Sampler(Sampling.GREEDY).next(new float[] {0, 3, 3, -1}, NO_TEXT, 0));
  }

  @Test
  void theSameSeedDrawsTheSameTokensAndAnotherSeedOthers() {
    int[] first = draws(7);
    assertArrayEquals(first, draws(7));
    assertTrue(java.util.Arrays.mismatch(first, draws(8)) >= 0);
  }

  private static int[] draws(long seed) {
    Sampler sampler = new Sampler(new Sampling(false, 1, 0, 1, 1, seed));
    int[] drawn = new int[50];
    for (int i = 0; i < drawn.length; i++) {
      drawn[i] = sampler.next(new float[] {1, 1, 1, 1, 1, 1}, NO_TEXT, 0);
    }
    return drawn;
  }

  @Test
  void frequenciesFollowTheSoftmaxOfTheTemperedLogits() {
    int n = 40000;
    Sampler sampler = new Sampler(sampling(2, 0, 1, 1));
    int ones = 0;
    for (int i = 0; i < n; i++) {
      ones += sampler.next(new float[] {0, 1}, NO_TEXT, 0);
    }
    double p = 1 / (1 + Math.exp(-0.5)); // logit difference 1 at temperature 2
    double deviation = Math.sqrt(p * (1 - p) / n);
    assertEquals(p, ones / (double) n, 5 * deviation);
  }

  @Test
  void topKKeepsTheKLargestAndWhatEqualsTheKth() {
    assertEquals(Set.of(1, 3), support(sampling(1, 2, 1, 1), NO_TEXT, 0, 2, -1, 1));
    assertEquals(Set.of(0, 1, 3), support(sampling(1, 2, 1, 1), NO_TEXT, 1, 2, -1, 1));
    assertEquals(Set.of(0, 1), support(sampling(1, 99, 1, 1), NO_TEXT, 1, 1));
  }

  @Test
  void topPKeepsTheSmallestSetThatReachesP() {
    // Probabilities 0.5, 0.3, 0.2.
    float[] logits = {(float) Math.log(5), (float) Math.log(3), (float) Math.log(2)};
    assertEquals(Set.of(0), support(sampling(1, 0, 0.4, 1), NO_TEXT, logits));
    assertEquals(Set.of(0, 1), support(sampling(1, 0, 0.6, 1), NO_TEXT, logits));
    assertEquals(Set.of(0, 1, 2), support(sampling(1, 0, 0.9, 1), NO_TEXT, logits));
    assertEquals(Set.of(0), support(sampling(1, 0, 1e-9, 1), NO_TEXT, logits));
  }

  @Test
  void temperatureActsBeforeTopP() {
    // At temperature 0.25 the odds of 5 to 3 become 625 to 81: the first alone passes 0.8.
    float[] logits = {(float) Math.log(5), (float) Math.log(3)};
    assertEquals(Set.of(0, 1), support(sampling(1, 0, 0.8, 1), NO_TEXT, logits));
    assertEquals(Set.of(0), support(sampling(0.25, 0, 0.8, 1), NO_TEXT, logits));
  }

  @Test
  void thePenaltyDividesPositiveAndMultipliesNegativeLogitsOnce() {
    Sampler greedy = new Sampler(new Sampling(true, 1, 0, 1, 2, 0));
    float[] logits = {4, 3, -1};
    assertEquals(1, greedy.next(logits, new int[] {0, 0, 2, 7}, 3));
    assertArrayEquals(new float[] {2, 3, -2}, logits);
  }

  @Test
  void thePenaltyActsBeforeTopK() {
    assertEquals(Set.of(1), support(sampling(1, 1, 1, 3), new int[] {0}, 4, 3, 0));
  }

  @Test
  void extremeLogitsNeitherOverflowNorVanish() {
    assertEquals(Set.of(0), support(sampling(1e-6, 0, 1, 1), NO_TEXT, 3e38f, -3e38f));
    assertEquals(
        Set.of(1), support(sampling(1, 0, 1, 1), NO_TEXT, Float.NEGATIVE_INFINITY, -3e38f));
  }

  @Test
  void logitsThatAreNotNumbersAreAnError() {
    Sampler sampler = new Sampler(Sampling.GREEDY);
    assertThrows(
        EspalierException.class, () -> sampler.next(new float[] {1, Float.NaN}, NO_TEXT, 0));
    assertThrows(
        EspalierException.class,
        () -> sampler.next(new float[] {Float.NEGATIVE_INFINITY}, NO_TEXT, 0));
  }

  @Test
  void optionsOutOfRangeAreRefusedByName() {
    assertRefused("temperature", 0, 0, 1, 1);
    assertRefused("temperature", Double.NaN, 0, 1, 1);
    assertRefused("top-k", 1, -1, 1, 1);
    assertRefused("top-p", 1, 0, 0, 1);
    assertRefused("top-p", 1, 0, 1.5, 1);
    assertRefused("repetition penalty", 1, 0, 1, 0);
  }

  private static void assertRefused(String name, double temperature, int k, double p, double r) {
    EspalierException refusal =
        assertThrows(EspalierException.class, () -> sampling(temperature, k, p, r));
    assertEquals(EspalierException.Kind.USAGE, refusal.kind());
    assertTrue(refusal.getMessage().startsWith(name), refusal.getMessage());
  }
}
