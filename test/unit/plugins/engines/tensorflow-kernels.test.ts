import {beforeAll, describe, expect, test} from '@jest/globals';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';

import {tensorflowEngine} from '../../../../src/plugins/engines/tensorflow/index.ts';
import {expectSameOnBothBackends, runKernel} from '../../../helpers/compare-backends.ts';
import {randomTensor} from '../../../helpers/gradient-check.ts';
import {hasTensorflow, tensorflowEnvironment, withoutTensorflow} from '../../../helpers/installed-engines.ts';

const edge = fc.integer({min: 0, max: 2});
/** Windows that lie at least partly on the input, as the graph's operators have them. */
const windows = fc
  .record({
    batch: fc.integer({min: 1, max: 3}),
    size: fc.tuple(fc.integer({min: 1, max: 9}), fc.integer({min: 1, max: 9})),
    channels: fc.constantFrom(1, 3, 5, 16),
    out: fc.constantFrom(1, 4, 7),
    kernel: fc.tuple(fc.integer({min: 1, max: 4}), fc.integer({min: 1, max: 4})),
    stride: fc.integer({min: 1, max: 3}),
    edges: fc.tuple(edge, edge, edge, edge),
    seed: fc.nat(1e6),
  })
  .filter(({size, kernel, edges: [top, bottom, left, right]}) => {
    const [height, width] = [size[0] + top + bottom, size[1] + left + right];
    return (
      kernel[0] <= height &&
      kernel[1] <= width &&
      Math.max(top, bottom) < kernel[0] &&
      Math.max(left, right) < kernel[1]
    );
  })
  .map(({edges: [top, bottom, left, right], ...rest}) => ({
    ...rest,
    pad: [
      [0, 0],
      [top, bottom],
      [left, right],
      [0, 0],
    ] as tf.backend_util.ExplicitPadding,
  }));

const describeReal = hasTensorflow ? describe : describe.skip;

describeReal(`kernels of TensorFlow${hasTensorflow ? '' : `: ${withoutTensorflow}`}`, () => {
  beforeAll(async () => {
    tf.enableProdMode();
    Object.assign(process.env, tensorflowEnvironment);
    await tensorflowEngine.start({threads: 2});
  });

  test('an operator for which there is no memory ends with its size and exit code 6', () => {
    const compute = (): tf.Tensor => tf.outerProduct(tf.ones([2 ** 24]), tf.ones([2 ** 24]));
    expect(() => tf.tidy(compute)).toThrow(
      expect.objectContaining({
        code: 'engine-out-of-memory',
        oclif: {exit: 6},
        message: expect.stringContaining('1073741824.0 MiB were asked for'),
      }),
    );
  });

  test.each([
    ['convolution', tf.Conv2D, tf.Conv2DBackpropInput, tf.Conv2DBackpropFilter],
    [
      'depthwise convolution',
      tf.DepthwiseConv2dNative,
      tf.DepthwiseConv2dNativeBackpropInput,
      tf.DepthwiseConv2dNativeBackpropFilter,
    ],
  ])('%s and its gradients are the cpu results for any explicit padding', (_, forward, ofInput, ofFilter) => {
    fc.assert(
      fc.property(windows, ({batch, size, channels, out, kernel, stride, pad, seed}) => {
        const inputShape: [number, number, number, number] = [batch, ...size, channels];
        const depthwise = forward === tf.DepthwiseConv2dNative;
        const filterShape: [number, number, number, number] = [...kernel, channels, depthwise ? 1 : out];
        const attributes = {strides: [stride, stride], pad, dilations: [1, 1], dataFormat: 'NHWC'};
        expectSameOnBothBackends(() => {
          const [x, filter] = [randomTensor(inputShape, seed), randomTensor(filterShape, seed + 1)];
          const y = runKernel(forward, {x, filter}, attributes);
          const dy = randomTensor(y.shape, seed + 2);
          return [
            y,
            runKernel(ofInput, {dy, filter}, {...attributes, inputShape}),
            runKernel(ofFilter, {x, dy}, {...attributes, filterShape}),
          ];
        });
      }),
      {numRuns: 60},
    );
  });

  test.each([
    [tf.MaxPool, tf.MaxPoolGrad],
    [tf.AvgPool, tf.AvgPoolGrad],
  ])('%s and its gradient are the cpu results for any explicit padding', (forward, backward) => {
    fc.assert(
      fc.property(windows, ({batch, size, channels, kernel, stride, pad, seed}) => {
        expectSameOnBothBackends(() => {
          // No two are equal: each backend has its own choice among equal maxima.
          const x = randomTensor([batch, ...size, channels], seed);
          const attributes = {filterSize: kernel, strides: [stride, stride], pad};
          const y = runKernel(forward, {x}, attributes);
          return [y, runKernel(backward, {dy: randomTensor(y.shape, seed + 1), input: x, output: y}, attributes)];
        });
      }),
      {numRuns: 60},
    );
  });
});
