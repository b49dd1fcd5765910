import {afterAll, beforeAll, describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';

import {expectSameOnBothBackends, runKernel} from '../../../../helpers/compare-backends.ts';
import {builds, startBuild} from '../../../../helpers/engine-builds.ts';
import {randomTensor} from '../../../../helpers/gradient-check.ts';

type Shape4 = [number, number, number, number];
type Pad = 'same' | 'valid' | number | tf.backend_util.ExplicitPadding;

interface Case {
  readonly x: Shape4;
  readonly filter: Shape4;
  readonly strides: [number, number];
  readonly dilations: [number, number];
  readonly pad: Pad;
  readonly seed: number;
}

const channels = fc.constantFrom(1, 3, 5, 16, 17);
const edge = fc.integer({min: 0, max: 3});
const explicit = fc.tuple(edge, edge, edge, edge).map(([t, b, l, r]): tf.backend_util.ExplicitPadding => [
  [0, 0],
  [t, b],
  [l, r],
  [0, 0],
]);
const pads: fc.Arbitrary<Pad> = fc.oneof(fc.constantFrom<Pad>('same', 'valid', 1), explicit);

/** Convolutions with at least one output pixel; sizes from below a tile of 6 pixels to several bands. */
const cases = (dilation: number): fc.Arbitrary<Case> =>
  fc
    .record({
      x: fc.tuple(fc.constantFrom(0, 1, 2, 5), fc.integer({min: 1, max: 11}), fc.integer({min: 1, max: 11}), channels),
      kernel: fc.tuple(fc.integer({min: 1, max: 4}), fc.integer({min: 1, max: 4})),
      out: channels,
      strides: fc.tuple(fc.integer({min: 1, max: 3}), fc.integer({min: 1, max: 3})),
      dilations: fc.tuple(fc.integer({min: 1, max: dilation}), fc.integer({min: 1, max: dilation})),
      pad: pads,
      seed: fc.nat(),
    })
    .map(({x, kernel, out, ...rest}) => ({x, filter: [...kernel, x[3], out] as Shape4, ...rest}))
    .filter((c) => {
      const info = infoOf(c);
      return info.outHeight > 0 && info.outWidth > 0;
    });

function infoOf({x, filter, strides, dilations, pad}: Case): tf.backend_util.Conv2DInfo {
  return tf.backend_util.computeConv2DInfo(x, filter, strides, dilations, pad);
}

const attributes = ({strides, dilations, pad}: Case): object => ({strides, dilations, pad, dataFormat: 'NHWC'});
const forward = (c: Case): tf.Tensor =>
  runKernel(tf.Conv2D, {x: randomTensor(c.x, c.seed), filter: randomTensor(c.filter, c.seed + 1)}, attributes(c));
const inputGradient = (c: Case): tf.Tensor =>
  runKernel(
    tf.Conv2DBackpropInput,
    {dy: randomTensor(infoOf(c).outShape, c.seed), filter: randomTensor(c.filter, c.seed + 1)},
    {...attributes(c), inputShape: c.x},
  );
const filterGradient = (c: Case): tf.Tensor =>
  runKernel(
    tf.Conv2DBackpropFilter,
    {x: randomTensor(c.x, c.seed), dy: randomTensor(infoOf(c).outShape, c.seed + 1)},
    {...attributes(c), filterShape: c.filter},
  );

/** ⟨conv(x, w), dy⟩ = ⟨x, dx⟩ = ⟨w, dw⟩: the gradients by the forward pass, for which tfjs' cpu backend takes dilations. */
function expectAdjoint(c: Case): void {
  tf.tidy(() => {
    const [x, filter, dy] = [randomTensor(c.x, c.seed), randomTensor(c.filter, c.seed + 1), randomTensor(infoOf(c).outShape, c.seed + 2)]; // prettier-ignore
    const dot = (a: tf.Tensor, b: tf.Tensor): number => tf.sum(tf.mul(a, b)).dataSync()[0]!;
    const y = runKernel(tf.Conv2D, {x, filter}, attributes(c));
    const dx = runKernel(tf.Conv2DBackpropInput, {dy, filter}, {...attributes(c), inputShape: c.x});
    const dw = runKernel(tf.Conv2DBackpropFilter, {x, dy}, {...attributes(c), filterShape: c.filter});
    const size = Math.sqrt(dot(y, y) * dot(dy, dy));
    expect(Math.abs(dot(x, dx) - dot(y, dy))).toBeLessThanOrEqual(1e-5 * size);
    expect(Math.abs(dot(filter, dw) - dot(y, dy))).toBeLessThanOrEqual(1e-5 * size);
  });
}

const plain = {dilations: [1, 1] as [number, number], seed: 1};

describe.each(builds)('%s build, threads: %i', (build, threads) => {
  let stop: () => Promise<void>;
  beforeAll(async () => void (stop = await startBuild(build, threads)));
  afterAll(() => stop());

  describe('convolution', () => {
    test('any shape, stride, padding and dilation', () => {
      fc.assert(
        fc.property(cases(3), (c) => expectSameOnBothBackends(() => forward(c))),
        {numRuns: 50},
      );
    });

    test('input gradient of any shape, stride and padding', () => {
      fc.assert(
        fc.property(cases(1), (c) => expectSameOnBothBackends(() => inputGradient(c))),
        {numRuns: 50},
      );
    });

    test('filter gradient of any shape, stride and padding', () => {
      fc.assert(
        fc.property(cases(1), (c) => expectSameOnBothBackends(() => filterGradient(c))),
        {numRuns: 50},
      );
    });

    test('both gradients of any dilation', () => {
      fc.assert(
        fc.property(cases(4), (c) => expectAdjoint(c)),
        {numRuns: 100},
      );
    });

    test('the gradients of no images are 0', () => {
      expectSameOnBothBackends(() => {
        const c: Case = {x: [0, 8, 8, 16], filter: [3, 3, 16, 16], strides: [1, 1], pad: 1, ...plain};
        return [inputGradient(c), filterGradient(c)];
      });
    });

    test.each<[string, Shape4, Shape4, [number, number], [number, number], Pad]>([
      ['rate 2', [2, 9, 11, 17], [3, 3, 17, 9], [1, 1], [2, 2], 2],
      ['rate 3 of stride 2', [2, 13, 10, 8], [3, 3, 8, 5], [2, 2], [3, 3], 3],
      ['rate 3 of stride 3, a phase of all taps', [2, 13, 17, 16], [3, 3, 16, 16], [3, 3], [3, 3], 3],
      ['rate 6 of stride 4', [1, 15, 14, 3], [3, 5, 3, 4], [4, 4], [6, 6], 6],
      ['rate 12', [3, 15, 13, 6], [3, 3, 6, 7], [1, 1], [12, 12], 12],
      ['rate 36, larger than the image', [3, 5, 7, 4], [3, 3, 4, 3], [1, 1], [36, 36], 36],
      ['rates of one axis each', [1, 12, 9, 5], [3, 3, 5, 8], [1, 2], [5, 1], 5],
    ])('dilated, %s', (_, x, filter, strides, dilations, pad) => {
      const c = {x, filter, strides, dilations, pad, seed: 3};
      expectSameOnBothBackends(() => forward(c));
      expectAdjoint(c);
    });

    test.each<[string, Shape4, Shape4, [number, number], Pad]>([
      ['3×3', [2, 12, 14, 16], [3, 3, 16, 16], [1, 1], 'same'],
      ['3×3, odd sizes', [2, 9, 11, 17], [3, 3, 17, 9], [1, 1], 1],
      ['3×3, more images than a band takes', [19, 7, 7, 5], [3, 3, 5, 9], [1, 1], 'same'],
      ['3×3, tiles of 4 × 4 cut off', [3, 7, 6, 8], [3, 3, 8, 16], [1, 1], 'same'],
      ['3×3, many channels', [1, 4, 5, 64], [3, 3, 64, 64], [1, 1], 'same'],
      ['3×3, padding 2', [1, 5, 8, 32], [3, 3, 32, 8], [1, 1], 2],
      ['3×3 without padding', [2, 9, 10, 24], [3, 3, 24, 8], [1, 1], 'valid'],
      ['3×3 of stride 2', [2, 12, 12, 16], [3, 3, 16, 24], [2, 2], 'same'],
      ['3×3 of stride 2, padding 1', [3, 15, 16, 8], [3, 3, 8, 24], [2, 2], 1],
      ['1×1', [2, 12, 9, 24], [1, 1, 24, 40], [1, 1], 'same'],
      ['1×1 of stride 2', [2, 16, 16, 16], [1, 1, 16, 32], [2, 2], 'valid'],
      ['5×5 of stride 2, of which phases are 3×3', [2, 16, 16, 16], [5, 5, 16, 8], [2, 2], 2],
      ['7×7 of stride 2', [1, 20, 18, 3], [7, 7, 3, 16], [2, 2], 3],
      ['more pixels than a band of the filter gradient', [1, 3, 190, 6], [1, 3, 6, 19], [1, 1], 'same'],
    ])('%s', (_, x, filter, strides, pad) => {
      const c = {x, filter, strides, pad, ...plain};
      expectSameOnBothBackends(() => [forward(c), inputGradient(c), filterGradient(c)]);
    });

    test('the gradient of a filter too large for sums per thread is the product xᵀ · dy', () => {
      const c: Case = {x: [1, 3, 5, 519], filter: [1, 1, 519, 507], strides: [1, 1], pad: 'same', ...plain};
      const difference = tf.tidy(() => {
        const [x, dy] = [randomTensor([15, 519], c.seed), randomTensor([15, 507], c.seed + 1)] as [
          tf.Tensor2D,
          tf.Tensor2D,
        ];
        const product = tf.matMul(tf.transpose(x), dy);
        return tf.max(tf.abs(tf.sub(tf.reshape(filterGradient(c), product.shape), product)));
      });
      expect(difference.dataSync()[0]).toBeLessThan(1e-5);
      difference.dispose();
    });
  });

  describe('rounding', () => {
    test('Winograd is as good as its points allow: within 1.5e-6 of the largest output, against sums in float64', async () => {
      const [size, channels] = [16, 32];
      const x = randomTensor([1, size, size, channels], 1);
      const filter = randomTensor([3, 3, channels, channels], 2);
      const y = runKernel(tf.Conv2D, {x, filter}, attributes({x: [1, size, size, channels], filter: [3, 3, channels, channels], strides: [1, 1], pad: 1, ...plain})); // prettier-ignore
      const [input, weights, found] = [await x.data(), await filter.data(), await y.data()];
      tf.dispose([x, filter, y]);
      let [wrong, largest] = [0, 0];
      for (let place = 0; place < found.length; place += 5) {
        const [row, column] = [Math.floor(place / channels / size), Math.floor(place / channels) % size];
        let sum = 0;
        for (let tap = 0; tap < 9; tap++) {
          const [down, across] = [row + Math.floor(tap / 3) - 1, column + (tap % 3) - 1];
          if (down < 0 || down >= size || across < 0 || across >= size) continue;
          for (let c = 0; c < channels; c++) {
            sum += input[(down * size + across) * channels + c]! * weights[(tap * channels + c) * channels + (place % channels)]!; // prettier-ignore
          }
        }
        wrong = Math.max(wrong, Math.abs(found[place]! - sum));
        largest = Math.max(largest, Math.abs(sum));
      }
      expect(wrong / largest).toBeLessThanOrEqual(1.5e-6);
    });

    test('a filter gradient of several groups of shared tiles: equal to that of the direct kernel', () => {
      const [x, dy] = [randomTensor([4, 57, 57, 136], 1), randomTensor([4, 57, 57, 128], 2)];
      const gradient = (width: number): tf.Tensor =>
        runKernel(
          tf.Conv2DBackpropFilter,
          {x, dy},
          {
            strides: 1,
            dilations: 1,
            dataFormat: 'NHWC',
            filterShape: [3, width, 136, 128],
            pad: [
              [0, 0],
              [1, 1],
              [1, width - 2],
              [0, 0],
            ],
          },
        );
      // A filter four wide is not Winograd's; its first three columns are the same sums.
      const [winograd, direct] = [gradient(3), gradient(4)];
      const difference = tf.abs(tf.sub(winograd, tf.slice(direct, [0, 0, 0, 0], winograd.shape)));
      const error = tf.div(tf.max(difference), tf.max(tf.abs(direct)));
      expect(error.dataSync()[0]).toBeLessThan(5e-5);
      tf.dispose([x, dy, winograd, direct, difference, error]);
    });
  });

  describe('NaN and infinities', () => {
    /** Normal draws of which some are replaced. */
    const withSpecials = (shape: readonly number[], seed: number, specials: readonly [number, number][]): tf.Tensor => {
      const values = randomTensor(shape, seed).dataSync().slice();
      for (const [place, value] of specials) values[place % values.length] = value;
      return tf.tensor(values, [...shape]);
    };
    const special = fc.array(fc.tuple(fc.nat(), fc.constantFrom(NaN, Infinity, -Infinity)), {maxLength: 2});
    const shapes = fc.record({
      x: fc.tuple(
        fc.constantFrom(1, 2),
        fc.integer({min: 4, max: 9}),
        fc.integer({min: 4, max: 9}),
        fc.constantFrom(3, 8, 32),
      ),
      out: fc.constantFrom(4, 32),
      stride: fc.constantFrom(1, 2),
      first: special,
      second: special,
      seed: fc.nat(),
    });

    test('appear where the oracle has them: padding is left out, not multiplied by 0', () => {
      fc.assert(
        fc.property(shapes, ({x, out, stride, first, second, seed}) => {
          const filter: Shape4 = [3, 3, x[3], out];
          const strides: [number, number] = [stride, stride];
          const c: Case = {x, filter, strides, dilations: [1, 1], pad: 'same', seed};
          const dyShape = infoOf(c).outShape;
          expectSameOnBothBackends(() => {
            const special = (shape: readonly number[], place: readonly [number, number][]): tf.Tensor =>
              withSpecials(shape, seed, place);
            return [
              runKernel(tf.Conv2D, {x: special(x, first), filter: special(filter, second)}, attributes(c)),
              runKernel(
                tf.Conv2DBackpropInput,
                {dy: special(dyShape, first), filter: special(filter, second)},
                {...attributes(c), inputShape: x},
              ),
              runKernel(
                tf.Conv2DBackpropFilter,
                {x: special(x, first), dy: special(dyShape, second)},
                {...attributes(c), filterShape: filter},
              ),
            ];
          });
        }),
        {numRuns: 20},
      );
    });
  });

  describe('fused convolution', () => {
    const x: Shape4 = [2, 9, 7, 5];
    const filter: Shape4 = [3, 3, 5, 11];

    test.each<[tf.fused.Activation]>([['linear'], ['relu'], ['relu6'], ['elu'], ['sigmoid'], ['leakyrelu'], ['prelu']])(
      'bias and %s',
      (activation) => {
        expectSameOnBothBackends(() =>
          tf.fused.conv2d({
            x: tf.mul<tf.Tensor4D>(randomTensor(x, 1), 4),
            filter: randomTensor(filter, 2) as tf.Tensor4D,
            strides: 1,
            pad: 'same',
            bias: randomTensor([11], 3),
            activation,
            preluActivationWeights: randomTensor([11], 4),
            leakyreluAlpha: 0.1,
          }),
        );
      },
    );

    test('no bias and no activation; a bias for the whole output', () => {
      expectSameOnBothBackends(() => {
        const attrs = {strides: 2, pad: 1, dilations: 1, dataFormat: 'NHWC', activation: 'linear'};
        const inputs = {x: randomTensor(x, 1), filter: randomTensor(filter, 2)};
        return [
          runKernel(tf.FusedConv2D, inputs, attrs),
          runKernel(tf.FusedConv2D, {...inputs, bias: tf.scalar(0.5)}, attrs),
        ];
      });
    });
  });

  describe('threads', () => {
    test('the same bits on every run', () => {
      const c: Case = {x: [4, 32, 32, 16], filter: [3, 3, 16, 16], strides: [1, 1], pad: 'same', ...plain};
      const bits = (): number[][] =>
        tf.tidy(() => [forward(c), inputGradient(c), filterGradient(c)].map((t) => Array.from(t.dataSync())));
      const first = bits();
      expect(bits()).toEqual(first);
    });
  });
});
