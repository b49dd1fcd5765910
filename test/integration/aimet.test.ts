/**
 * Models and encodings for AIMET, loaded in AIMET: it has the bits and computes the logits. Needs `node scripts/python-services.js torch
 * aimet`; skips where one is missing. Of the slow suite, as AIMET takes half a minute.
 */
import {spawnSync} from 'node:child_process';
import {readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {beforeAll, describe, expect, test} from '@jest/globals';

import {hasWeights} from '../../src/graph/layer-table.ts';
import {encodeOnnx} from '../../src/graph/onnx/proto.ts';
import {ownInput} from '../../src/graph/own-input.ts';
import {entry} from '../../src/lookup.ts';
import {wasmEngine} from '../../src/plugins/engines/wasm/index.ts';
import {exportAimet} from '../../src/plugins/exporters/aimet.ts';
import {aimet, aimet1} from '../../src/plugins/strategy-formats/aimet.ts';
import {integerNetwork} from '../../src/sdq/integer-network.ts';
import {describeWith, pythonProgram} from '../helpers/python-service.ts';
import {quantizedNetwork, strategyOf, writeImagesAndLogits, type QuantizedCase} from '../helpers/quantized-network.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';
import {thorough} from '../helpers/thorough.ts';

const folder = temporaryFolder();
const helper = path.resolve(import.meta.dirname, '../helpers/run_aimet.py');

interface Job {
  readonly model: string;
  readonly encodings: string;
  readonly data: string;
}

interface Result {
  readonly bits: Record<string, number | null>;
  readonly median: number;
  readonly largest: number;
  readonly same: number;
}

/** Writes model, encodings and images. @returns where, and the bits of each tensor */
async function write(made: QuantizedCase, format: typeof aimet, name: string): Promise<[Job, Record<string, number>]> {
  const {network, quantization} = await quantizedNetwork(made);
  const inFolder = (extension: string): string => path.join(folder, `${name}.${extension}`);
  const job = {model: inFolder('onnx'), encodings: inFolder('json'), data: inFolder('safetensors')};
  const integers = await integerNetwork(network, quantization);
  writeFileSync(job.model, encodeOnnx({...exportAimet(integers), producerVersion: '0.1.0', metadata: {}}));
  const layers = network.layers.filter(hasWeights);
  const {graph} = network;
  const strategy = strategyOf(made, network, quantization);
  const printed = format.print?.(strategy, {
    graph,
    layers,
    trained(layer) {
      const {weights, inputs} = entry(integers.layers, layer);
      const [input = null] = inputs;
      return {
        weights: weights === null ? null : {...weights.grid, steps: weights.scale},
        input: input === null ? null : {...input.grid, steps: Float32Array.of(input.scale)},
      };
    },
  });
  writeFileSync(job.encodings, printed?.text ?? '');
  writeImagesAndLogits(job.data, made, network, quantization);
  const bits = layers.flatMap((layer) => {
    const {weightBits, activationBits} = quantization.precision(layer);
    return [
      [layer.weight, weightBits],
      [ownInput(graph, layer), activationBits],
    ];
  });
  quantization.dispose();
  network.dispose();
  return [job, Object.fromEntries(bits) as Record<string, number>];
}

(thorough ? describeWith('aimet') : describe.skip)('AIMET', () => {
  const common = {weights: 'symmetric', activations: 'pact'};
  const cases = [
    ['resnet20, encodings 2.0.0', aimet, {...common, model: 'resnet20', weightBits: [2, 4, 8], activationBits: 4}],
    [
      'resnet20, encodings 2.0.0, narrow',
      aimet,
      {...common, weights: 'narrow', model: 'resnet20', weightBits: [2, 4, 8], activationBits: 4},
    ],
    [
      'resnet20, encodings 1.0.0, narrow-per-tensor',
      aimet1,
      {...common, weights: 'narrow-per-tensor', model: 'resnet20', weightBits: [3, 5, 8], activationBits: 8},
    ],
    ['resnet20, encodings 1.0.0', aimet1, {...common, model: 'resnet20', weightBits: [2, 3, 5, 7], activationBits: 5}],
    [
      'mobilenet-v2, encodings 1.0.0',
      aimet1,
      {...common, model: 'mobilenet-v2', weightBits: [6, 8], activationBits: 6},
    ],
  ] as const;
  const written: [Job, Record<string, number>][] = [];
  let results: Result[] = [];

  beforeAll(async () => {
    const engine = await wasmEngine.start({threads: 1});
    try {
      for (const [i, [, format, made]] of cases.entries()) written.push(await write(made, format, `case${i}`));
    } finally {
      await engine.dispose();
    }
    const [jobs, out] = [path.join(folder, 'jobs.json'), path.join(folder, 'out.json')];
    writeFileSync(jobs, JSON.stringify(written.map(([job]) => job)));
    const {status, stderr} = spawnSync(pythonProgram('aimet'), ['-W', 'ignore', helper, jobs, out], {
      encoding: 'utf8',
      maxBuffer: 1 << 26,
    });
    if (status !== 0) throw new Error(stderr);
    results = JSON.parse(readFileSync(out, 'utf8')) as Result[];
  }, 300_000);

  test.each(cases.map(([name], i) => [name, i] as const))('%s', (_, i) => {
    const {bits, median, largest, same} = results[i]!;
    expect(bits).toEqual(written[i]![1]);
    expect(largest).toBeGreaterThan(0);
    // A value in the middle between two levels may fall to either side, and these networks are not trained.
    expect({same: same >= 0.9, median: median <= 0.02 * largest, found: {median, largest, same}}).toMatchObject({
      same: true,
      median: true,
    });
  });
});
