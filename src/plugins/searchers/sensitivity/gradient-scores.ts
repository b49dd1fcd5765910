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

import {
  hasWeights,
  inputSites,
  type ActivationSite,
  type QuantizedLayer,
  type WeightLayer,
} from '../../../graph/layer-table.ts';
import {entry, item} from '../../../lookup.ts';
import type {SearchContext} from '../../../plugin-api/searcher.ts';
import {uniform} from '../../../random.ts';
import {createInputQuantizers, inputGrid, type InputQuantizer} from '../../../sdq/activation-quantizer.ts';
import {outputChannels, quantizeWeights, roundToGrid} from '../../../sdq/weight-quantizer.ts';
import {withGradient} from '../../../tensor/custom-gradient.ts';
import {sum, type Precision} from '../../../sdq/search/problem.ts';
import {fullPrecision} from '../../../sdq/strategy.ts';
import {calibrateInputs, type InputSample} from '../../../training/calibration.ts';
import {siteBits} from '../../../training/quantized-network.ts';

/** Images whose gradients are taken, where the sample has so many. [ours] */
const taylorImages = 256;
/** The same for the trace, with two backward passes each. [ours] */
const hessianImages = 128;
/** The step of the difference quotient, in parts of the root mean square of a layer's weights. [ours] */
const hessianStep = 0.01;

/** Sums by any key, on the engine until they are freed. */
class Sums {
  readonly #sums = new Map<string, tf.Tensor>();

  /** @param value of the caller's scope; of one shape for a key */
  add(key: string, value: tf.Tensor): void {
    const before = this.#sums.get(key);
    this.#sums.set(key, tf.keep(before === undefined ? tf.clone(value) : tf.add(before, value)));
    before?.dispose();
  }

  get(key: string): tf.Tensor | undefined {
    return this.#sums.get(key);
  }

  /** Reads all of them, which are scalars, in one transfer, and frees them. */
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

/** Something that a candidate rounds: the weights of a layer, or an input. Candidates that round it to the same bits share it. */
interface Rounded {
  readonly key: string;
  readonly bits: number;
}
interface RoundedWeights extends Rounded {
  readonly layer: WeightLayer;
}
interface RoundedInput extends Rounded {
  readonly site: ActivationSite;
}

/** By decision and candidate; nothing where there is nothing to choose. Weights that layers share are counted once. */
interface Roundings {
  readonly weights: readonly (readonly (readonly RoundedWeights[])[])[];
  readonly inputs: readonly (readonly (readonly RoundedInput[])[])[];
}

function roundingsOf({network, problem}: Pick<SearchContext, 'network' | 'problem'>): Roundings {
  const byCandidate = <T>(of: (layer: QuantizedLayer, precision: Precision) => readonly T[]): T[][][] =>
    problem.decisions.map(({candidates, layers}) =>
      candidates.map(({weightBits = fullPrecision, activationBits = fullPrecision}) =>
        candidates.length === 1 ? [] : layers.flatMap((l) => of(item(network.layers, l), {weightBits, activationBits})),
      ),
    );
  return {
    weights: byCandidate((layer, {weightBits: bits}) =>
      !hasWeights(layer) || layer.sharedWith !== undefined || bits === fullPrecision
        ? []
        : [{key: `${layer.weight}/${bits}`, bits, layer}],
    ),
    inputs: byCandidate((layer, precision) =>
      inputSites(layer).flatMap((site) => {
        const bits = siteBits(site, precision);
        return bits === fullPrecision ? [] : [{key: `${site.id}/${bits}`, bits, site}];
      }),
    ),
  };
}

/** Each once. */
const distinct = <T extends Rounded>(rounded: readonly (readonly (readonly T[])[])[]): T[] => [
  ...new Map(rounded.flat(2).map((one) => [one.key, one])).values(),
];

const rounding = ({quantizers, network}: SearchContext, layer: WeightLayer, bits: number): tf.Tensor => {
  const w = entry(network.parameters, layer.weight);
  return tf.sub(quantizeWeights(w, quantizers.weights, bits, outputChannels(layer)), w);
};

/** The quantizers that an input may get, by id of its site; calibrated. */
function inputQuantizers(
  {quantizers: {activations, signedActivations}}: SearchContext,
  rounded: readonly RoundedInput[],
  sample: InputSample,
): Map<string, {readonly key: string; readonly quantizer: InputQuantizer}[]> {
  const bySite = new Map<string, {key: string; quantizer: InputQuantizer}[]>();
  for (const {bits, key, site} of rounded) {
    const made = createInputQuantizers([site], () => bits, activations, signedActivations);
    calibrateInputs(made, sample);
    bySite.set(site.id, [...(bySite.get(site.id) ?? []), {key, quantizer: entry(made, site.id)}]);
  }
  return bySite;
}

/**
 * For each decision, of each candidate, nats. The squared gradient of a batch's mean loss, times its images, stands for the mean
 * of the squares of single images. Full precision has 0.
 */
export async function taylorScores(context: SearchContext, sample: InputSample): Promise<number[][]> {
  const {weights, inputs} = roundingsOf(context);
  const roundedWeights = distinct(weights);
  const quantizers = inputQuantizers(context, distinct(inputs), sample);
  const sums = new Sums();
  /** Of the squared gradients of weights, by parameter. Their roundings come once, after the last batch. */
  const squares = new Sums();
  /** Of the inputs in the present batch. */
  let batch: {readonly key: string; readonly value: tf.Tensor}[] = [];
  let batches = 0;
  let done = 0;
  const squared = (gradient: tf.Tensor, error: tf.Tensor): tf.Tensor => tf.sum(tf.square(tf.mul(gradient, error)));
  const input = ({id}: ActivationSite, x: tf.Tensor): tf.Tensor | null => {
    const choices = quantizers.get(id);
    if (choices === undefined) return null;
    return withGradient(
      [x],
      (save) => {
        save([x]);
        return tf.clone(x);
      },
      (dy, saved) => {
        const value = item(saved, 0);
        for (const {key, quantizer} of choices) {
          const {grid, scale} = inputGrid(quantizer);
          const score = tf.tidy(() => squared(dy, tf.sub(roundToGrid(value, scale, grid), value)));
          batch.push({key, value: tf.keep(score)});
        }
        return [tf.clone(dy)];
      },
    );
  };
  try {
    await context.sampleGradients(taylorImages, {input}, (images, gradients) => {
      context.progress('measuring sensitivity', Math.min((done += images), taylorImages), taylorImages);
      tf.tidy(() => {
        for (const {key, value} of batch) sums.add(key, tf.mul(value, images));
        tf.dispose(batch.map(({value}) => value));
        batch = [];
        for (const name of new Set(roundedWeights.map(({layer}) => layer.weight))) {
          const gradient = gradients.get(name);
          if (gradient !== undefined) squares.add(name, tf.mul(tf.square(gradient), images));
        }
        batches += 1;
      });
    });
    for (const {bits, key, layer} of roundedWeights) {
      const square = squares.get(layer.weight);
      if (square === undefined) continue;
      tf.tidy(() => sums.add(key, tf.sum(tf.mul(square, tf.square(rounding(context, layer, bits))))));
    }
    const read = await sums.read();
    return weights.map((candidates, d) =>
      candidates.map((ofWeights, c) => {
        const keys = [...ofWeights, ...item(item(inputs, d), c)].map(({key}) => key);
        return sum(keys.map((key) => (read.get(key) ?? 0) / (2 * Math.max(1, batches))));
      }),
    );
  } finally {
    tf.dispose(batch.map(({value}) => value));
    squares.dispose();
    sums.dispose();
    for (const choices of quantizers.values()) tf.dispose(choices.map(({quantizer}) => quantizer.parameter));
  }
}

/**
 * For each decision, of each candidate of its weights, nats; a layer whose trace is below 0, as an estimate can be, has 0. Each batch has
 * one random direction of ±1 for all layers at once. The Hessian times it comes from the gradients at a small step to both sides.
 */
export async function hessianScores(context: SearchContext): Promise<number[][]> {
  const {network, problem} = context;
  const {weights} = roundingsOf(context);
  const roundedWeights = distinct(weights);
  const sums = new Sums();
  try {
    const statistics = await weightStatistics(context, roundedWeights);
    /** The step of a layer's weights, by name of the parameter. */
    const steps = new Map(
      roundedWeights.map(({layer}) => [layer.weight, hessianStep * entry(statistics, layer.weight)]),
    );
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
    return weights.map((candidates) =>
      candidates.map((rounded) =>
        sum(
          rounded.map(({key, layer}) => {
            const trace = (traces.get(layer.weight) ?? 0) / Math.max(1, batches);
            const perWeight = Math.max(0, trace) / entry(network.parameters, layer.weight).size;
            return (perWeight / 2) * entry(statistics, key);
          }),
        ),
      ),
    );
  } finally {
    sums.dispose();
  }
}

/** The root mean square of each layer's weights, by parameter, and ‖Δ‖² of each rounding, by its key. */
async function weightStatistics(
  context: SearchContext,
  rounded: readonly RoundedWeights[],
): Promise<ReadonlyMap<string, number>> {
  const sums = new Sums();
  tf.tidy(() => {
    for (const layer of new Set(rounded.map((one) => one.layer))) {
      sums.add(layer.weight, tf.sqrt(tf.mean(tf.square(entry(context.network.parameters, layer.weight)))));
    }
    for (const {bits, key, layer} of rounded) sums.add(key, tf.sum(tf.square(rounding(context, layer, bits))));
  });
  return sums.read();
}
