// SPDX-License-Identifier: Apache-2.0
package espalier.train;

/**
 * What one step of training was.
 *
 * @param step counted from 0
 * @param loss the mean over its predictions, before the update, in nats
 * @param gradientNorm over all parameters, before clipping
 * @param rate the learning rate
 * @param tokens read
 */
public record StepResult(long step, double loss, double gradientNorm, double rate, long tokens) {}
