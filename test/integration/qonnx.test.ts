/**
 * QONNX files in qonnx's own executor. Needs `node scripts/python-services.js hls4ml`, which brings qonnx; skips where it is missing.
 */
import {spawnSync} from 'node:child_process';
import {readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import type {Network} from '../../src/graph/network.ts';
import {encodeOnnx} from '../../src/graph/onnx/proto.ts';
import {elements} from '../../src/graph/ops/operator.ts';
import {exportQonnx} from '../../src/plugins/exporters/qonnx.ts';
import {weightQuantizers} from '../../src/plugins/quantizers/index.ts';
import {normal, uniform} from '../../src/random.ts';
import {integerNetwork} from '../../src/sdq/integer-network.ts';
import type {Quantization} from '../../src/training/quantized-network.ts';
import {useCpuBackend} from '../helpers/cpu-backend.ts';
import {describeWith, pythonProgram} from '../helpers/python-service.ts';
import {quantizedAt} from '../helpers/quantized-network.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';
import {tinyNetwork} from '../helpers/tiny-network.ts';

useCpuBackend();

const folder = temporaryFolder();
const helper = path.resolve(import.meta.dirname, '../helpers/run_qonnx.py');
const samples = 4;

interface Job {
  readonly model: string;
  readonly shape: readonly number[];
  readonly images: readonly number[];
  /** sdq's own. */
  readonly outputs: readonly number[];
}

interface Result {
  readonly outputs?: readonly number[];
  readonly error?: string;
}

/** Writes the network as QONNX, with images of noise and what sdq makes of them. */
async function write(network: Network, quantization: Quantization, name: string): Promise<Job> {
  const model = path.join(folder, `${name}.onnx`);
  const integers = await integerNetwork(network, quantization);
  writeFileSync(model, encodeOnnx({...exportQonnx(integers), producerVersion: '0.1.0', metadata: {}}));
  const shape = [samples, ...network.graph.input.shape];
  const draw = uniform(3, 'bench');
  const images = Float32Array.from({length: elements(shape)}, () => 2 * normal(draw));
  const outputs = tf.tidy(() => {
    const x = tf.tensor(images, shape);
    const planes = shape.length === 4 ? tf.transpose(x, [0, 2, 3, 1]) : x;
    return network.forward(planes, {training: false, ...quantization.forward}).dataSync();
  });
  return {model, shape, images: [...images], outputs: [...outputs]};
}

function run(jobs: readonly Job[]): Result[] {
  const [input, out] = [path.join(folder, 'jobs.json'), path.join(folder, 'out.json')];
  writeFileSync(input, JSON.stringify(jobs));
  const {status, stderr} = spawnSync(pythonProgram('hls4ml'), ['-W', 'ignore', helper, input, out], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  expect({status, stderr: status === 0 ? '' : stderr}).toEqual({status: 0, stderr: ''});
  return JSON.parse(readFileSync(out, 'utf8')) as Result[];
}

/** Largest difference, as a share of sdq's largest output. */
function errorOf({outputs: ours}: Job, {outputs: theirs = []}: Result): number {
  const largest = Math.max(...ours.map(Math.abs));
  return Math.max(...ours.map((value, i) => Math.abs(value - (theirs[i] ?? NaN)))) / largest;
}

const bits = [1, 2, 3, 4, 5, 6, 7, 8];

describeWith('hls4ml')('qonnx', () => {
  test('its executor computes what sdq computes, with every grid and bitwidth of weights and inputs', async () => {
    const cases = [
      ...weightQuantizers.flatMap(({name, learnsScale}) =>
        bits.map((weightBits) => ({weights: name, learnSteps: learnsScale, weightBits, activationBits: 32})),
      ),
      ...['pact', 'lsq'].flatMap((activations) =>
        bits.map((activationBits) => ({activations, weightBits: 4, activationBits})),
      ),
    ];
    const jobs: Job[] = [];
    for (const [i, {activationBits, weightBits, ...quantizers}] of cases.entries()) {
      const network = tinyNetwork(2);
      const quantization = await quantizedAt(network, quantizers, {weightBits, activationBits});
      jobs.push(await write(network, quantization, `executed${i}`));
    }
    const results = run(jobs).map((result, i) => ({
      ...cases[i],
      error: result.error,
      off: errorOf(jobs[i]!, result),
    }));
    expect(results.filter(({error, off}) => error !== undefined || !(off <= 2e-5))).toEqual([]);
    expect(results).toHaveLength(64);
  }, 120_000);
});
