import * as tf from '@tensorflow/tfjs-core';
import {expect} from '@jest/globals';

import type {ForwardOptions, Network} from '../../src/graph/network.ts';
import {elements} from '../../src/graph/ops/operator.ts';
import {encodeOnnx} from '../../src/graph/onnx/proto.ts';
import {loadOnnxRuntime} from '../../src/phases/onnx-runtime.ts';
import type {OptimizationLevel} from '../../src/phases/runtime.ts';
import type {Exporter} from '../../src/plugin-api/registry.ts';
import {normal, uniform} from '../../src/random.ts';

interface Options extends Pick<ForwardOptions, 'weight' | 'activation'> {
  readonly level?: OptimizationLevel;
  /** Largest error, as a share of the largest output. */
  readonly share?: number;
}

/** The model in ONNX Runtime must give what the network gives, on images of noise. */
export async function expectSameInRuntime(
  network: Network,
  model: ReturnType<Exporter>,
  {level = 'disabled', share = 2e-5, ...options}: Options = {},
): Promise<void> {
  const {shape} = network.graph.input;
  const draw = uniform(3, 'bench');
  const size = 3 * elements(shape);
  const planar = Float32Array.from({length: size}, () => 2 * normal(draw));
  const x = tf.tensor(planar, [3, ...shape]);
  const results = network.outputs(shape.length === 3 ? tf.transpose(x, [0, 2, 3, 1]) : x, {
    training: false,
    ...options,
  });
  const ours = results.map((y) => y.dataSync<'float32'>());
  const onnxRuntime = await loadOnnxRuntime();
  const bytes = encodeOnnx({...model, producerVersion: '0', metadata: {}});
  const runtime = await onnxRuntime.open(bytes, 'model.onnx', level);
  const theirs = await runtime.run(planar, [3, ...shape]);
  await runtime.release();
  expect(theirs.map(({length}) => length)).toEqual(ours.map(({length}) => length));
  for (const [o, own] of ours.entries()) {
    const largest = own.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    expect(largest).toBeGreaterThan(0);
    own.forEach((value, i) =>
      expect(Math.abs(value - theirs[o]![i]!)).toBeLessThanOrEqual(share * Math.max(1, largest)),
    );
  }
}
