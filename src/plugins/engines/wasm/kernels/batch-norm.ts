/** Training batch-norm with activation and fake-quantizer, and its gradient: kernels of src/tensor/kernels.ts. */
import type * as tf from '@tensorflow/tfjs-core';

import type {BatchNormActAttributes} from '../../../../tensor/kernels.ts';
import {defineKernel} from '../backend.ts';
import {scaleRule} from './fake-quantize.ts';
import {rowLayout, sizeOf} from './rows.ts';

interface Inputs {
  readonly x: tf.TensorInfo;
  readonly gamma: tf.TensorInfo;
  readonly beta: tf.TensorInfo;
  readonly scale: tf.TensorInfo;
}

interface GradInputs extends Inputs {
  readonly mean: tf.TensorInfo;
  readonly variance: tf.TensorInfo;
  readonly dy: tf.TensorInfo;
}

function ranges({min, max, grid}: BatchNormActAttributes): number[] {
  return [min, max, grid?.qmin ?? 0, grid?.qmax ?? 0, grid?.offset ?? 0];
}

export const batchNormKernels: readonly tf.KernelConfig[] = [
  defineKernel<Inputs, BatchNormActAttributes>('SdqBatchNormAct', ({backend, inputs, attrs}) => {
    const size = sizeOf(inputs.x);
    const channels = sizeOf(inputs.gamma);
    const {rows, width, tail} = rowLayout(size, channels);
    const threads = backend.threadsFor(size);
    const y = backend.output(inputs.x.shape);
    const mean = backend.output([channels]);
    const variance = backend.output([channels]);
    const x = backend.pointer(inputs.x);
    const totals = backend.allocate(8 * 2 * threads * width);
    const coefficients = backend.allocate(4 * 3 * width);
    backend.run('batchNormStatistics', [x, rows, width, totals], [], threads);
    const channelwise = [inputs.gamma, inputs.beta, mean, variance].map((t) => backend.pointer(t));
    backend.run(
      'batchNormCoefficients',
      [x, rows, width, totals, threads, tail, channels, ...channelwise, coefficients],
      [attrs.epsilon],
      1,
    );
    const scale = attrs.grid === null ? 0 : backend.pointer(inputs.scale);
    backend.run(
      'batchNormApply',
      [x, coefficients, backend.pointer(y), rows, width, tail, scale],
      ranges(attrs),
      threads,
    );
    backend.release(totals);
    backend.release(coefficients);
    if (attrs.grid !== null) backend.roundedTo(y, attrs.grid, inputs.scale);
    return [y, mean, variance];
  }),

  defineKernel<GradInputs, BatchNormActAttributes>('SdqBatchNormActGrad', ({backend, inputs, attrs}) => {
    const size = sizeOf(inputs.x);
    const channels = sizeOf(inputs.gamma);
    const {rows, width, tail} = rowLayout(size, channels);
    const threads = backend.threadsFor(size);
    const [dx, dgamma, dbeta, dscale] = [inputs.x, inputs.gamma, inputs.beta, inputs.scale].map(({shape}) =>
      backend.output(shape),
    ) as [tf.TensorInfo, tf.TensorInfo, tf.TensorInfo, tf.TensorInfo];
    const [x, dy] = [backend.pointer(inputs.x), backend.pointer(inputs.dy)];
    const totals = backend.allocate(8 * 3 * threads * width);
    const coefficients = backend.allocate(4 * 5 * width);
    const quantized = attrs.grid !== null;
    const scale = quantized ? backend.pointer(inputs.scale) : 0;
    const clipped = quantized && attrs.rule.input === 'clipped' ? 1 : 0;

    // Without totals: the forward's coefficients, which the sums need; with them: those of dx, and the small gradients.
    const finish = (parts: number): void => {
      const {gamma, mean, variance, beta} = inputs;
      const channelwise = [gamma, mean, variance, beta].map((t) => backend.pointer(t));
      const outputs = [dgamma, dbeta, dscale].map((t) => backend.pointer(t));
      backend.run(
        'batchNormGradCoefficients',
        [totals, parts, width, channels, ...channelwise, coefficients, ...outputs, size / channels],
        [attrs.epsilon, attrs.rule.gradientScale],
        1,
      );
    };
    finish(0);
    backend.run(
      'batchNormGradSums',
      [x, dy, coefficients, rows, width, tail, scale, totals, clipped, quantized ? scaleRule[attrs.rule.scale] : 0],
      ranges(attrs),
      threads,
    );
    finish(threads);
    backend.run(
      'batchNormGradInput',
      [x, dy, coefficients, rows, width, tail, scale, backend.pointer(dx), clipped],
      ranges(attrs),
      threads,
    );
    backend.release(totals);
    backend.release(coefficients);
    return [dx, dgamma, dbeta, dscale];
  }),
];
