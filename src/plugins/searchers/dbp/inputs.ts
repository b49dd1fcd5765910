/** The inputs of layers in a search that learns their bits: a quantizer with a learned range of its own for every candidate. [ours] */
import type * as tf from '@tensorflow/tfjs-core';

import type {QuantizedLayer} from '../../../graph/layer-table.ts';
import type {ForwardOptions, InputQuantizer as ForwardQuantizer, Network} from '../../../graph/network.ts';
import {createInputQuantizers, inputGrid, type InputQuantizer} from '../../../sdq/activation-quantizer.ts';
import type {Choice} from '../../../sdq/search/dbp-step.ts';
import {inputCandidates, type Precision, type SearchProblem} from '../../../sdq/search/problem.ts';
import {searchInput} from '../../../sdq/stochastic.ts';
import {fakeQuantize} from '../../../tensor/fake-quantize.ts';
import {calibrateInputs, type InputSample} from '../../../training/calibration.ts';
import type {TrainedParameter} from '../../../training/optimizers.ts';
import {rangeName, type Quantizers} from '../../../training/quantized-network.ts';

export interface SearchInputs {
  /** The ranges, for the optimizer. */
  readonly parameters: readonly TrainedParameter[];
  /** Names of the layers whose bits are learned. */
  readonly layers: readonly string[];
  /** Sets every range from full-precision inputs. @returns as `calibrateInputs` */
  calibrate(sample: InputSample): string | undefined;
  /** The forward pass of one step. @param indicators one a decision */
  forward(plan: readonly Choice[], indicators: readonly tf.Tensor[]): NonNullable<ForwardOptions['input']>;
  /** The quantizer of a layer at committed bits; null for a layer whose bits are not learned. */
  at(layer: QuantizedLayer, bits: Precision): ForwardQuantizer | null;
  dispose(): void;
}

export function createSearchInputs(
  network: Network,
  {activations, signedActivations}: Quantizers,
  problem: SearchProblem,
): SearchInputs {
  const learned = new Map(
    network.layers
      .map((layer, l): [string, number[]] => [layer.name, inputCandidates(problem, l)])
      .filter(([, bits]) => bits.length > 1),
  );
  const decisionOf = new Map(
    network.layers.map(({name}, l): [string, number] => [
      name,
      problem.decisions.findIndex(
        ({layers, candidates}) => layers.includes(l) && candidates[0]!.activationBits !== undefined,
      ),
    ]),
  );
  /** Bits → layer name → quantizer. */
  const quantizers = new Map<number, Map<string, InputQuantizer>>();
  for (const bits of new Set([...learned.values()].flat())) {
    const layers = network.layers.filter(({name}) => learned.get(name)?.includes(bits) === true);
    const made = createInputQuantizers(layers, () => bits, activations, signedActivations);
    quantizers.set(bits, made);
  }
  const variables = [...quantizers].flatMap(([bits, layers]) =>
    [...layers].map(([layer, {parameter}]) => ({name: `${rangeName(layer)}.${bits}`, variable: parameter})),
  );
  const grid = (layer: string, bits: number): ForwardQuantizer => inputGrid(quantizers.get(bits)!.get(layer)!);
  return {
    parameters: variables.map(({name, variable}) => ({name, variable, decays: false, rateFactor: 1, isPositive: true})),
    layers: [...learned.keys()],
    calibrate(sample) {
      const notes = [...quantizers.values()].map((layers) => calibrateInputs(layers, sample));
      return notes.find((note) => note !== undefined);
    },
    forward:
      (plan, indicators) =>
      ({name}, x) => {
        if (!learned.has(name)) return null;
        const d = decisionOf.get(name)!;
        const {high, low, share} = plan[d]!;
        const upper = grid(name, high.activationBits!);
        if (low === null || low.activationBits === high.activationBits) {
          return fakeQuantize(x, upper.scale, upper.grid, upper.rule);
        }
        return searchInput(x, upper, grid(name, low.activationBits!), share, indicators[d]!);
      },
    at: ({name}, {activationBits}) => (learned.has(name) ? grid(name, activationBits) : null),
    dispose: () => variables.forEach(({variable}) => variable.dispose()),
  };
}
