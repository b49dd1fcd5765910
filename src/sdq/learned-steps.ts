/**
 * Learned steps of the weights in phase 2 (LSQ, Esser et al., 2020): one variable a layer, [C] or [], started from the
 * step that the weights' statistics give.
 */
import * as tf from '@tensorflow/tfjs-core';

import type {WeightLayer} from '../graph/layer-table.ts';
import {fullPrecision} from './strategy.ts';
import {asMatrix, outputChannels, statisticScale, type WeightQuantizer} from './weight-quantizer.ts';

/**
 * Steps by layer name for the layers with fewer than 32 weight bits, layers of the same weights having the same one; empty when the quantizer takes its step from the
 * statistics throughout.
 * @param weights a layer's weights in run layout
 */
export function createLearnedSteps(
  layers: readonly WeightLayer[],
  weights: (layer: WeightLayer) => tf.Tensor,
  weightBits: (layer: WeightLayer) => number,
  quantizer: WeightQuantizer,
): Map<string, tf.Variable> {
  const steps = new Map<string, tf.Variable>();
  if (!quantizer.learnsScale) return steps;
  for (const layer of layers) {
    const bits = weightBits(layer);
    if (bits === fullPrecision) continue;
    const shared = layer.sharedWith === undefined ? undefined : steps.get(layer.sharedWith);
    if (shared !== undefined) {
      steps.set(layer.name, shared);
      continue;
    }
    const step = tf.tidy(() => {
      const t = quantizer.transform(asMatrix(weights(layer), outputChannels(layer)));
      return statisticScale(t, quantizer, bits);
    });
    steps.set(layer.name, tf.variable(step, true));
    step.dispose();
  }
  return steps;
}
