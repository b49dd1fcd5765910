/** Fake-quantization and its gradients: kernels of src/tensor/kernels.ts. */
import type * as tf from '@tensorflow/tfjs-core';

import type {GradientRule, Grid} from '../../../../tensor/kernels.ts';
import {scaleClip, scaleLsq, scaleNone} from '../assembly/shared.ts';
import {defineKernel} from '../backend.ts';
import {rowLayout, sizeOf, withRow} from './rows.ts';

export const scaleRule = {none: scaleNone, clip: scaleClip, lsq: scaleLsq} as const;

interface GradInputs {
  readonly x: tf.TensorInfo;
  readonly scale: tf.TensorInfo;
  readonly dy: tf.TensorInfo;
}

export const fakeQuantizeKernels: readonly tf.KernelConfig[] = [
  defineKernel<{x: tf.TensorInfo; scale: tf.TensorInfo}, Grid>('SdqFakeQuantize', ({backend, inputs, attrs}) => {
    const {x, scale} = inputs;
    const y = backend.output(x.shape);
    const size = sizeOf(x);
    const {rows, width, tail} = rowLayout(size, sizeOf(scale));
    withRow(backend, scale, width, (row) => {
      backend.run(
        'fakeQuantize',
        [backend.pointer(x), row, backend.pointer(y), rows, width, tail],
        [attrs.qmin, attrs.qmax, attrs.offset],
        backend.threadsFor(size),
      );
    });
    backend.roundedTo(y, attrs, scale);
    return y;
  }),

  defineKernel<GradInputs, {grid: Grid; rule: GradientRule}>('SdqFakeQuantizeGrad', ({backend, inputs, attrs}) => {
    const {x, scale, dy} = inputs;
    const {grid, rule} = attrs;
    const dx = backend.output(x.shape);
    const dscale = backend.output(scale.shape);
    const size = sizeOf(x);
    const channels = sizeOf(scale);
    const {rows, width, tail} = rowLayout(size, channels);
    const threads = backend.threadsFor(size);
    const totals = backend.allocate(8 * threads * width);
    withRow(backend, scale, width, (row) => {
      backend.run(
        'fakeQuantizeGrad',
        [
          backend.pointer(x),
          row,
          backend.pointer(dy),
          backend.pointer(dx),
          rows,
          width,
          tail,
          totals,
          rule.input === 'clipped' ? 1 : 0,
          scaleRule[rule.scale],
        ],
        [grid.qmin, grid.qmax, grid.offset],
        threads,
      );
    });
    const factor = rule.scale === 'none' ? 0 : rule.gradientScale;
    backend.run('foldTotals', [totals, threads, width, channels, backend.pointer(dscale)], [factor], 1);
    backend.release(totals);
    return [dx, dscale];
  }),
];
