/** The inputs of layers in a search that learns their bits: a quantizer with a learned range of its own for every candidate. [ours] */
import type * as tf from '@tensorflow/tfjs-core';

import {inputSites, type ActivationSite} from '../../../graph/layer-table.ts';
import type {ForwardOptions, InputQuantizer as ForwardQuantizer, Network} from '../../../graph/network.ts';
import {entry, item, present} from '../../../lookup.ts';
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
  /** Ids of the activations whose bits are learned. */
  readonly sites: readonly string[];
  /** Sets every range from full-precision inputs. @returns as `calibrateInputs` */
  calibrate(sample: InputSample): string | undefined;
  /** The forward pass of one step. @param indicators one a decision */
  forward(plan: readonly Choice[], indicators: readonly tf.Tensor[]): NonNullable<ForwardOptions['input']>;
  /** The quantizer of an activation at committed bits; null where its bits are not learned. */
  at(site: ActivationSite, bits: Precision): ForwardQuantizer | null;
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
        ({layers, candidates}) => layers.includes(l) && item(candidates, 0).activationBits !== undefined,
      ),
    ]),
  );
  const sites = network.layers.flatMap(inputSites).filter(({layer}) => learned.has(layer));
  /** Bits → id of the site → quantizer. */
  const quantizers = new Map<number, Map<string, InputQuantizer>>();
  for (const bits of new Set([...learned.values()].flat())) {
    const those = sites.filter(({layer}) => entry(learned, layer).includes(bits));
    const made = createInputQuantizers(those, () => bits, activations, signedActivations);
    quantizers.set(bits, made);
  }
  const variables = [...quantizers].flatMap(([bits, made]) =>
    [...made].map(([site, {parameter}]) => ({name: `${rangeName(site)}.${bits}`, variable: parameter})),
  );
  const grid = (site: string, bits: number): ForwardQuantizer => inputGrid(entry(entry(quantizers, bits), site));
  return {
    parameters: variables.map(({name, variable}) => ({name, variable, decays: false, rateFactor: 1, isPositive: true})),
    sites: sites.map(({id}) => id),
    calibrate(sample) {
      const notes = [...quantizers.values()].map((made) => calibrateInputs(made, sample));
      return notes.find((note) => note !== undefined);
    },
    forward:
      (plan, indicators) =>
      ({id, layer}, x) => {
        if (!learned.has(layer)) return null;
        const d = entry(decisionOf, layer);
        const {high, low, share} = item(plan, d);
        const upper = grid(id, present(high.activationBits, 'activation bits'));
        if (low === null || low.activationBits === high.activationBits) {
          return fakeQuantize(x, upper.scale, upper.grid, upper.rule);
        }
        const lower = grid(id, present(low.activationBits, 'activation bits'));
        return searchInput(x, upper, lower, share, item(indicators, d));
      },
    at: ({id, layer}, {activationBits}) => (learned.has(layer) ? grid(id, activationBits) : null),
    dispose: () => variables.forEach(({variable}) => variable.dispose()),
  };
}
