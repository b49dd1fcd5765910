/**
 * Exported detectors in the tools that read them: the boxes of an ONNX QDQ file by ONNX Runtime and of a QONNX file by qonnx's executor are
 * sdq's own. qonnx needs `node scripts/python-services.js hls4ml`; its test skips where that is missing.
 */
import {spawnSync} from 'node:child_process';
import {readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {beforeAll, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {decode, type Detection, type YoloHeads} from '../../src/detection/decode.ts';
import {initialWeights} from '../../src/graph/initialize.ts';
import {createNetwork} from '../../src/graph/network.ts';
import {encodeOnnx} from '../../src/graph/onnx/proto.ts';
import {loadOnnxRuntime} from '../../src/phases/onnx-runtime.ts';
import {exportQdq} from '../../src/plugins/exporters/onnx-qdq.ts';
import {exportQonnx} from '../../src/plugins/exporters/qonnx.ts';
import {normal, uniform} from '../../src/random.ts';
import {integerNetwork, type IntegerNetwork} from '../../src/sdq/integer-network.ts';
import {useCpuBackend} from '../helpers/cpu-backend.ts';
import {describeWith, pythonProgram} from '../helpers/python-service.ts';
import {quantizedAt} from '../helpers/quantized-network.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';
import {tinyDetector} from '../helpers/tiny-detector.ts';

useCpuBackend();

const folder = temporaryFolder();
const side = 32;
const samples = 3;
const heads: YoloHeads = {
  ...{height: side, width: side, classes: 2, scaleXY: 1.05},
  anchors: [
    [6, 6],
    [12, 10],
    [20, 24],
  ],
  masks: [
    [1, 2],
    [0, 1],
  ],
};

let integers: IntegerNetwork;
let images: Float32Array;
let ours: Detection[][];

/** @param outputs of each head, [samples, …], flat */
const boxesOf = (outputs: readonly Float32Array[]): Detection[][] =>
  Array.from({length: samples}, (_, i) => {
    const parts = outputs.map((output) => {
      const size = output.length / samples;
      return output.subarray(i * size, (i + 1) * size);
    });
    return decode(parts, heads, {minScore: 0.2, nmsIou: 0.45, maxPerClass: 100});
  });

/** W4/A8, both heads and the first layer W8/A8. */
beforeAll(async () => {
  const graph = tinyDetector.build({classes: heads.classes, inputShape: [3, side, side]}, {});
  const network = createNetwork(graph, initialWeights(graph, 1));
  const quantizers = {weights: 'narrow', learnSteps: true};
  const quantization = await quantizedAt(network, quantizers, (layer) => ({
    weightBits: /^head|^stem/.test(layer) ? 8 : 4,
    activationBits: 8,
  }));
  const draw = uniform(3, 'bench');
  images = Float32Array.from({length: samples * 3 * side * side}, () => normal(draw));
  const x = tf.transpose(tf.tensor(images, [samples, 3, side, side]), [0, 2, 3, 1]);
  const outputs = network.outputs(x, {training: false, ...quantization.forward});
  ours = boxesOf(outputs.map((output) => output.dataSync<'float32'>()));
  integers = await integerNetwork(network, quantization);
});

function expectSame(theirs: readonly Detection[][]): void {
  for (const [i, boxes] of ours.entries()) {
    expect(boxes.length).toBeGreaterThan(3);
    expect(theirs[i]?.map((box) => box.class)).toEqual(boxes.map((box) => box.class));
    for (const [k, {box, score}] of boxes.entries()) {
      const other = theirs[i]![k]!;
      expect(Math.abs(other.score - score)).toBeLessThan(1e-5);
      for (const [edge, value] of box.entries()) expect(Math.abs(other.box[edge]! - value)).toBeLessThan(1e-5);
    }
  }
}

test.each([21, 25] as const)('ONNX QDQ, opsets up to %i, in ONNX Runtime', async (newest) => {
  const bytes = encodeOnnx({...exportQdq(integers, newest), producerVersion: '0', metadata: {}});
  const runtime = await (await loadOnnxRuntime()).open(bytes, 'detector.onnx', 'disabled');
  try {
    expectSame(boxesOf(await runtime.run(images, [samples, 3, side, side])));
  } finally {
    await runtime.release();
  }
});

describeWith('hls4ml')('qonnx', () => {
  test('QONNX in its executor', () => {
    const [model, jobs, out] = ['detector.onnx', 'jobs.json', 'out.json'].map((name) => path.join(folder, name)) as [
      string,
      string,
      string,
    ];
    writeFileSync(model, encodeOnnx({...exportQonnx(integers), producerVersion: '0', metadata: {}}));
    writeFileSync(jobs, JSON.stringify([{model, shape: [samples, 3, side, side], images: [...images]}]));
    const helper = path.resolve(import.meta.dirname, '../helpers/run_qonnx.py');
    const {status, stderr} = spawnSync(pythonProgram('hls4ml'), ['-W', 'ignore', helper, 'execute', jobs, out], {
      encoding: 'utf8',
      maxBuffer: 1 << 28,
    });
    expect({status, stderr: status === 0 ? '' : stderr}).toEqual({status: 0, stderr: ''});
    const [{outputs, error} = {}] = JSON.parse(readFileSync(out, 'utf8')) as {outputs?: number[]; error?: string}[];
    expect(error).toBeUndefined();
    const values = Float32Array.from(outputs ?? []);
    // Grids of 4 × 4 and 8 × 8 cells, one head after the other.
    const channels = 2 * (5 + heads.classes);
    const first = samples * channels * 16;
    expect(values).toHaveLength(first + samples * channels * 64);
    expectSame(boxesOf([values.subarray(0, first), values.subarray(first)]));
  }, 120_000);
});
