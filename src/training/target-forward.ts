/** A quantized network in training as a target's runtime computes it. */
import * as tf from '@tensorflow/tfjs-core';

import type {Graph} from '../graph/graph.ts';
import type {ForwardOptions} from '../graph/network.ts';
import {entry, item} from '../lookup.ts';
import type {Rounding} from '../sdq/deployment/deploy.ts';
import type {DeploymentRules} from '../sdq/deployment/rules.ts';
import {fakeQuantize} from '../tensor/fake-quantize.ts';
import type {GradientRule, Grid} from '../tensor/kernels.ts';
import type {Quantization} from './quantized-network.ts';

/** A rounded value on its way: value = scale · clip(round(x / scale), qmin, qmax). */
export interface SharedGrid {
  readonly scale: number;
  readonly qmin: number;
  readonly qmax: number;
}

export const sharedGrid = ({max, min, scale, zeroPoint}: Rounding): SharedGrid => ({
  scale,
  qmin: min - zeroPoint,
  qmax: max - zeroPoint,
});

/** Straight through within the range, nothing beyond it; the scale is not learned. */
const rule: GradientRule = {input: 'clipped', scale: 'none', gradientScale: 1};

/**
 * The forward pass of a quantization with the values that the target rounds for all their readers rounded, and with the levels that
 * its types have. What folding does to a channel with a negative γ and weights of −128 is not in it: `deploy` says where that is.
 * @param graph whose network observes `sharedCandidates`
 * @param shared by the name of the value; asked at each pass
 */
export function targetForward(
  {forward, inputs}: Pick<Quantization, 'forward' | 'inputs'>,
  graph: Graph,
  {activations}: DeploymentRules,
  shared: () => ReadonlyMap<string, SharedGrid>,
): Required<Pick<ForwardOptions, 'weight' | 'activation' | 'value'>> {
  const nodes = new Map(graph.nodes.map((node) => [node.name, node]));
  return {
    weight: forward.weight,
    activation(site) {
      const value = item(entry(nodes, site.layer).inputs, site.operand);
      // An input of 8 bits is read as it was rounded for all.
      if (inputs.get(site.id)?.bits === 8 && shared().has(value)) return null;
      const quantizer = forward.activation(site);
      if (quantizer === null || activations !== 'int8' || quantizer.grid.qmax <= 127) return quantizer;
      const {grid, scale} = quantizer;
      return {...quantizer, grid: {...grid, qmax: 127}, scale: tf.mul(scale, grid.qmax / 127)};
    },
    value(name, x) {
      const found = shared().get(name);
      if (found === undefined) return null;
      const grid: Grid = {qmin: found.qmin, qmax: found.qmax, offset: 0};
      return fakeQuantize(x, tf.scalar(found.scale), grid, rule);
    },
  };
}
