// SPDX-License-Identifier: Apache-2.0
package espalier;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * W8A8 of real small models, weights and dynamic int8 inputs, against llm-compressor 0.14.0.1 on
 * the same texts (calibration: 128 documents; evaluation: documents, KL on the first 50).
 */
@Tag("slow")
class QuantizedActivationsQualityTest {
  /** Perplexities agree to a thousandth; KL is a small difference and gets a tenth. */
  @ParameterizedTest
  @CsvSource({
    "stories3M, rtn, 5.1029, 0.0061",
    "stories3M, gptq, 5.1035, 0.0053",
    "babyllama105, rtn, 2.1348, 0.0009",
    "babyllama105, gptq, 2.1346, 0.0007"
  })
  void w8a8HasThePerplexityOfItsPeer(String name, String method, double perplexity, double kl) {
    String modifier = method.equals("gptq") ? "GPTQModifier" : "QuantizationModifier";
    String recipe =
        "s_stage:\n  m_modifiers:\n    " + modifier + ": {scheme: W8A8, ignore: [lm_head]}\n";
    try (QualityBench bench = new QualityBench(name)) {
      QualityBench.Figures figures = bench.figuresOf(recipe);
      System.out.printf(
          "%s w8a8.%s: perplexity %.5f (peer %.4f), KL %.5f (peer %.4f), top-1 %.4f%n",
          name, method, figures.perplexity(), perplexity, figures.kl(), kl, figures.top1());
      assertEquals(1, figures.perplexity() / perplexity, 1e-3);
      // The table rounds KL to 1e-4.
      assertTrue(figures.kl() <= kl * 1.1 + 5e-5, "KL " + figures.kl());
    }
  }
}
