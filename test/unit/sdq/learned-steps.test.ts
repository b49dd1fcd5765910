import {expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import type {WeightLayer} from '../../../src/graph/layer-table.ts';
import {dorefa} from '../../../src/plugins/quantizers/dorefa.ts';
import {narrowPerTensor} from '../../../src/plugins/quantizers/narrow.ts';
import {symmetric} from '../../../src/plugins/quantizers/symmetric.ts';
import {createLearnedSteps} from '../../../src/sdq/learned-steps.ts';
import {useCpuBackend} from '../../helpers/cpu-backend.ts';
import {expectClose, randomTensor} from '../../helpers/gradient-check.ts';

useCpuBackend();

const common = {params: 1, macs: 1, inputSigned: false, inputValue: 'x'};
const layers: WeightLayer[] = [
  {...common, name: 'conv', op: 'Conv', weight: 'c', inputShape: [3, 8, 8], outputShape: [5, 8, 8]},
  {...common, name: 'depthwise', op: 'Conv', weight: 'd', inputShape: [4, 8, 8], outputShape: [4, 6, 6]},
  {...common, name: 'linear', op: 'Gemm', weight: 'l', inputShape: [7], outputShape: [2]},
];
const shapes: Record<string, number[]> = {conv: [3, 3, 3, 5], depthwise: [3, 3, 4, 1], linear: [7, 2]};
const weights = ({name}: WeightLayer): tf.Tensor => randomTensor(shapes[name]!, name.length);

test('a step per output channel, started from the statistics; none for a layer in full precision', () => {
  const steps = createLearnedSteps(layers, weights, ({name}) => (name === 'linear' ? 32 : 2), symmetric);
  expect([...steps].map(([name, {shape}]) => [name, shape])).toEqual([
    ['conv', [5]],
    ['depthwise', [4]],
  ]);
  // Channel 1 of the depthwise filter [3, 3, 4, 1]: every fourth value from the second.
  const channel = [...weights(layers[1]!).dataSync()].filter((_, i) => i % 4 === 1);
  const rms = Math.sqrt(channel.reduce((sum, value) => sum + value ** 2, 0) / 9);
  expectClose([steps.get('depthwise')!.dataSync()[1]!], [1.04839 * rms]);
  tf.dispose([...steps.values()]);
});

test('one step a layer where the quantizer works per tensor', () => {
  const steps = createLearnedSteps(layers, weights, () => 3, narrowPerTensor);
  expect([...steps.values()].map(({shape}) => shape)).toEqual([[], [], []]);
  tf.dispose([...steps.values()]);
});

test('none for a quantizer that takes its step from the statistics throughout', () => {
  expect(createLearnedSteps(layers, weights, () => 3, dorefa).size).toBe(0);
});
