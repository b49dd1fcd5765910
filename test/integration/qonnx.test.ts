/**
 * QONNX files in qonnx's own executor. Needs `node scripts/python-services.js hls4ml`, which brings qonnx; skips where it is missing.
 */
import {spawnSync} from 'node:child_process';
import {readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {graphBuilder} from '../../src/graph/builder.ts';
import {initialWeights} from '../../src/graph/initialize.ts';
import {createNetwork, type Network} from '../../src/graph/network.ts';
import {encodeOnnx} from '../../src/graph/onnx/proto.ts';
import {elements} from '../../src/graph/ops/operator.ts';
import {exportQonnx} from '../../src/plugins/exporters/qonnx.ts';
import {weightQuantizers} from '../../src/plugins/quantizers/index.ts';
import {normal, uniform} from '../../src/random.ts';
import {integerNetwork} from '../../src/sdq/integer-network.ts';
import type {Quantization} from '../../src/training/quantized-network.ts';
import {useCpuBackend} from '../helpers/cpu-backend.ts';
import {describeWith, hasCompiler, pythonProgram} from '../helpers/python-service.ts';
import {quantizedAt} from '../helpers/quantized-network.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';
import {thorough} from '../helpers/thorough.ts';
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

function run(tool: 'execute' | 'hls', jobs: readonly Job[]): Result[] {
  const [input, out] = [path.join(folder, `${tool}.jobs.json`), path.join(folder, `${tool}.out.json`)];
  writeFileSync(input, JSON.stringify(jobs));
  const {status, stderr} = spawnSync(pythonProgram('hls4ml'), ['-W', 'ignore', helper, tool, input, out], {
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

/** Three fully connected layers with biases. */
function perceptron(): Network {
  const g = graphBuilder('perceptron', [6]);
  const first = g.node('Relu', 'relu1', [g.linear('fc1', g.input, {features: 8})]);
  const second = g.node('Relu', 'relu2', [g.linear('fc2', first, {features: 5})]);
  const graph = g.build(g.linear('fc3', second, {features: 3}));
  return createNetwork(graph, initialWeights(graph, 1));
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
    const results = run('execute', jobs).map((result, i) => ({
      ...cases[i],
      error: result.error,
      off: errorOf(jobs[i]!, result),
    }));
    expect(results.filter(({error, off}) => error !== undefined || !(off <= 2e-5))).toEqual([]);
    expect(results).toHaveLength(64);
  }, 120_000);
});

(thorough && hasCompiler ? describeWith('hls4ml') : describe.skip)(
  'hls4ml (in the slow suite, with a C++ compiler)',
  () => {
    test('compiled code of a perceptron computes what sdq computes, with one step a tensor', async () => {
      const cases = [
        {weightBits: 4, activationBits: 32, most: 0.01},
        {weightBits: 1, activationBits: 1, most: 0.01},
        {weightBits: 3, activationBits: 4, most: 0.05},
        {weightBits: 8, activationBits: 8, most: 0.05},
      ];
      const jobs: Job[] = [];
      for (const [i, {activationBits, weightBits}] of cases.entries()) {
        const network = perceptron();
        const quantizers = {weights: 'narrow-per-tensor', learnSteps: true};
        const quantization = await quantizedAt(network, quantizers, {weightBits, activationBits});
        jobs.push(await write(network, quantization, `compiled${i}`));
      }
      const results = run('hls', jobs).map((result, i) => ({
        ...cases[i],
        error: result.error,
        off: errorOf(jobs[i]!, result),
      }));
      // 16 places behind the point: a value in the middle between two levels may fall to either side.
      expect(results.filter(({error, most, off}) => error !== undefined || !(off <= most!))).toEqual([]);
      expect(results).toHaveLength(cases.length);
    }, 600_000);
  },
);
