/**
 * Scores from gradients on a sample of training images, without a forward pass for each bitwidth.
 *
 * `taylor`: ½ Σ E[g²] Δ², the loss to second order with the diagonal of the empirical Fisher matrix in place of the Hessian. g is
 * the gradient of one image's loss in a weight or an input, Δ what the rounding changes. The squared perturbation is that of
 * AutoQuantize (NVIDIA ModelOpt), which takes it at the layers' outputs.
 *
 * `hessian`: ½ tr(H) / n · ‖Δ‖² over a layer's n weights, with the trace by Hutchinson's method (HAWQ-V2, Dong et al., 2020).
 */
import * as tf from '@tensorflow/tfjs-core';

import {hasWeights, type ActivationSite, type WeightLayer} from '../../../graph/layer-table.ts';
import {entry, item} from '../../../lookup.ts';
import type {SearchContext} from '../../../plugin-api/searcher.ts';
import {uniform} from '../../../random.ts';
import {inputGrid, type InputQuantizer} from '../../../sdq/activation-quantizer.ts';
import {outputChannels, quantizeWeights, roundToGrid} from '../../../sdq/weight-quantizer.ts';
import {withGradient} from '../../../tensor/custom-gradient.ts';
import type {InputSample} from '../../../training/calibration.ts';
import {quantizedAlone} from './quantized-alone.ts';

/** Images whose gradients are taken, where the sample has so many. [ours] */
const taylorImages = 256;
/** The same for the trace, with two backward passes each. [ours] */
const hessianImages = 128;
/** The step of the difference quotient, in parts of the root mean square of a layer's weights. [ours] */
const hessianStep = 0.01;

/** Sums by any key, on the engine until they are read. */
class Sums {
  readonly #sums = new Map<string, tf.Tensor>();

  /** @param value scalar, of the caller's scope */
  add(key: string, value: tf.Tensor): void {
    const before = this.#sums.get(key);
    this.#sums.set(key, tf.keep(before === undefined ? tf.clone(value) : tf.add(before, value)));
    before?.dispose();
  }

  /** Reads all of them in one transfer, and frees them. */
  async read(): Promise<ReadonlyMap<string, number>> {
    const keys = [...this.#sums.keys()];
    if (keys.length === 0) return new Map();
    const stacked = tf.tidy(() => tf.stack([...this.#sums.values()].map((value) => tf.reshape(value, []))));
    this.dispose();
    try {
      const values = await stacked.data();
      return new Map(keys.map((key, i) => [key, item(values, i)]));
    } finally {
      stacked.dispose();
    }
  }

  dispose(): void {
    tf.dispose([...this.#sums.values()]);
    this.#sums.clear();
  }
}

/** A decision's weights, once for all layers that share them, and the candidates that round them. */
interface WeightChoice {
  readonly d: number;
  readonly layer: WeightLayer;
  readonly candidates: readonly {readonly c: number; readonly bits: number}[];
}

function weightChoices({network, problem}: Pick<SearchContext, 'network' | 'problem'>): WeightChoice[] {
  return problem.decisions.flatMap(({candidates, layers}, d) =>
    layers.flatMap((l): WeightChoice[] => {
      const layer = item(network.layers, l);
      if (candidates.length === 1 || !hasWeights(layer) || layer.sharedWith !== undefined) return [];
      const rounded = candidates.flatMap(({weightBits}, c) =>
        weightBits === undefined ? [] : [{c, bits: weightBits}],
      );
      return rounded.length === 0 ? [] : [{d, layer, candidates: rounded}];
    }),
  );
}

const rounding = ({quantizers, network}: SearchContext, layer: WeightLayer, bits: number): tf.Tensor => {
  const w = entry(network.parameters, layer.weight);
  return tf.sub(quantizeWeights(w, quantizers.weights, bits, outputChannels(layer)), w);
};

/** The quantizers that an input may get, by id of its site. */
type InputChoices = ReadonlyMap<string, readonly {readonly key: string; readonly quantizer: InputQuantizer}[]>;

function inputChoices(context: SearchContext, inputs: InputSample): {choices: InputChoices; dispose: () => void} {
  const choices = new Map<string, {key: string; quantizer: InputQuantizer}[]>();
  const quantizations = context.problem.decisions.flatMap((decision, d) =>
    decision.candidates.length === 1
      ? []
      : decision.candidates.map((candidate, c) => {
          const quantization = quantizedAlone(context, decision, candidate, inputs);
          for (const [site, quantizer] of quantization.inputs) {
            choices.set(site, [...(choices.get(site) ?? []), {key: keyOf(d, c), quantizer}]);
          }
          return quantization;
        }),
  );
  return {choices, dispose: () => quantizations.forEach((quantization) => quantization.dispose())};
}

const keyOf = (d: number, c: number): string => `${d}/${c}`;

/**
 * For each decision, of each candidate, nats. The squared gradient of a batch's mean loss, times its images, stands for the mean
 * of the squares of single images. Full precision has 0.
 */
export async function taylorScores(context: SearchContext, inputs: InputSample): Promise<number[][]> {
  const {problem} = context;
  const weights = weightChoices(context);
  const {choices, dispose} = inputChoices(context, inputs);
  const sums = new Sums();
  /** Of the inputs in the present batch. */
  let batch: {readonly key: string; readonly value: tf.Tensor}[] = [];
  let batches = 0;
  const squared = (gradient: tf.Tensor, error: tf.Tensor): tf.Tensor => tf.sum(tf.square(tf.mul(gradient, error)));
  const input = ({id}: ActivationSite, x: tf.Tensor): tf.Tensor | null => {
    const quantizers = choices.get(id);
    if (quantizers === undefined) return null;
    return withGradient(
      [x],
      (save) => {
        save([x]);
        return tf.clone(x);
      },
      (dy, saved) => {
        const value = item(saved, 0);
        for (const {key, quantizer} of quantizers) {
          const {grid, scale} = inputGrid(quantizer);
          const score = tf.tidy(() => squared(dy, tf.sub(roundToGrid(value, scale, grid), value)));
          batch.push({key, value: tf.keep(score)});
        }
        return [tf.clone(dy)];
      },
    );
  };
  try {
    await context.sampleGradients(taylorImages, {input}, (images, gradients) =>
      tf.tidy(() => {
        for (const {key, value} of batch) sums.add(key, tf.mul(value, images));
        tf.dispose(batch.map(({value}) => value));
        batch = [];
        for (const {candidates, d, layer} of weights) {
          const gradient = gradients.get(layer.weight);
          if (gradient === undefined) continue;
          for (const {bits, c} of candidates) {
            sums.add(keyOf(d, c), tf.mul(squared(gradient, rounding(context, layer, bits)), images));
          }
        }
        batches += 1;
      }),
    );
    const read = await sums.read();
    return problem.decisions.map(({candidates}, d) =>
      candidates.map((_, c) => (read.get(keyOf(d, c)) ?? 0) / (2 * Math.max(1, batches))),
    );
  } finally {
    tf.dispose(batch.map(({value}) => value));
    sums.dispose();
    dispose();
  }
}

/**
 * For each decision, of each candidate of its weights, nats; a layer whose trace is below 0, as an estimate can be, has 0. Each batch has
 * one random direction of ±1 for all layers at once. The Hessian times it comes from the gradients at a small step to both sides.
 */
export async function hessianScores(context: SearchContext): Promise<number[][]> {
  const {network, problem} = context;
  const choices = weightChoices(context);
  const sums = new Sums();
  try {
    const statistics = await weightStatistics(context, choices);
    /** The step of a layer's weights, by name of the parameter. */
    const steps = new Map(choices.map(({layer}) => [layer.weight, hessianStep * entry(statistics, layer.weight)]));
    const direction = (name: string, batch: number): tf.Tensor => {
      const {shape, size} = entry(network.parameters, name);
      const draw = uniform(problem.seed, 'hessian', batch, [...steps.keys()].indexOf(name));
      return tf.tensor(
        Float32Array.from({length: size}, () => (draw() < 0.5 ? -1 : 1)),
        shape,
      );
    };
    let batches = 0;
    // Both passes see the same batches in the same order.
    for (const side of [1, -1]) {
      batches = 0;
      const weight = ({weight: name}: WeightLayer, w: tf.Tensor): tf.Tensor => {
        const step = steps.get(name);
        return step === undefined ? w : tf.add(w, tf.mul(direction(name, batches), side * step));
      };
      await context.sampleGradients(hessianImages, {weight}, (_, gradients) =>
        tf.tidy(() => {
          for (const [name, step] of steps) {
            const gradient = gradients.get(name);
            if (gradient === undefined) continue;
            sums.add(name, tf.mul(tf.sum(tf.mul(direction(name, batches), gradient)), side / (2 * step)));
          }
          batches += 1;
        }),
      );
    }
    const traces = await sums.read();
    const scores = problem.decisions.map(({candidates}) => candidates.map(() => 0));
    for (const {candidates, d, layer} of choices) {
      const trace = (traces.get(layer.weight) ?? 0) / Math.max(1, batches);
      const perWeight = Math.max(0, trace) / entry(network.parameters, layer.weight).size;
      for (const {bits, c} of candidates) {
        item(scores, d)[c] = (perWeight / 2) * entry(statistics, keyOf(d, bits));
      }
    }
    return scores;
  } finally {
    sums.dispose();
  }
}

/** The root mean square of each layer's weights, by parameter, and ‖Δ‖² of each candidate, by decision and bits. */
async function weightStatistics(
  context: SearchContext,
  choices: readonly WeightChoice[],
): Promise<ReadonlyMap<string, number>> {
  const sums = new Sums();
  tf.tidy(() => {
    for (const {candidates, d, layer} of choices) {
      sums.add(layer.weight, tf.sqrt(tf.mean(tf.square(entry(context.network.parameters, layer.weight)))));
      for (const {bits} of candidates) sums.add(keyOf(d, bits), tf.sum(tf.square(rounding(context, layer, bits))));
    }
  });
  return sums.read();
}
