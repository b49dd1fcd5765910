import {describe, expect, test} from '@jest/globals';

import {graphBuilder} from '../../../src/graph/builder.ts';
import type {Graph} from '../../../src/graph/graph.ts';
import {timeSteps} from '../../../src/phases/step-benchmark.ts';
import {activationQuantizers, weightQuantizers} from '../../../src/plugins/quantizers/index.ts';
import {Registry} from '../../../src/plugin-api/registry.ts';
import {classification} from '../../../src/plugins/tasks/classification.ts';
import {useCpuBackend} from '../../helpers/cpu-backend.ts';

const classificationTask = await classification.load({}, {classes: 10, inputShape: [3, 32, 32]});

useCpuBackend();

/** Four layers, of which the two in the middle are quantized. */
function network(): Graph {
  const g = graphBuilder('four', [2, 4, 4]);
  let x = g.input;
  for (const name of ['conv1', 'conv2', 'conv3']) {
    x = g.node('Relu', `${name}.relu`, [g.conv(name, x, {channels: 3, kernel: 3, stride: 1})]);
  }
  x = g.node('Flatten', 'flatten', [g.node('GlobalAveragePool', 'pool', [x])]);
  return g.build(g.linear('fc', x, {features: 2}));
}

/** Quantizers that note for which bits their grids are asked. */
function watched(): {registry: Registry; weightBits: Set<number>; inputBits: Set<number>} {
  const [weightBits, inputBits] = [new Set<number>(), new Set<number>()];
  const registry = new Registry([]);
  for (const definition of weightQuantizers) {
    const load = async (): ReturnType<typeof definition.load> => {
      const quantizer = await definition.load();
      const grid = (bits: number): ReturnType<typeof quantizer.grid> => quantizer.grid((weightBits.add(bits), bits));
      return {...quantizer, grid};
    };
    registry.add({...definition, load});
  }
  for (const definition of activationQuantizers) {
    const load = async (): ReturnType<typeof definition.load> => {
      const quantizer = await definition.load();
      const grid = (bits: number, signed: boolean): ReturnType<typeof quantizer.grid> =>
        quantizer.grid((inputBits.add(bits), bits), signed);
      return {...quantizer, grid};
    };
    registry.add({...definition, load});
  }
  return {registry, weightBits, inputBits};
}

describe('timeSteps', () => {
  test.each([
    [4, 32, [3, 4], []],
    [8, 32, [7, 8], []],
    [2, 3, [1, 2], [3]],
    [1, 32, [1], []],
  ])('a search step at W %i / A %i chooses between %j and quantizes inputs to %j', async (w, a, weights, inputs) => {
    const {inputBits, registry, weightBits} = watched();
    const times = await timeSteps({
      graph: network(),
      registry,
      task: classificationTask,
      kind: 'search',
      batch: 2,
      weightBits: w,
      activationBits: a,
      steps: 1,
    });
    expect(times).toHaveLength(1);
    expect([...weightBits].sort()).toEqual(weights);
    expect([...inputBits]).toEqual(inputs);
  });
});
