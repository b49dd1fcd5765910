/**
 * integrations/pytorch/sdq_torch.py in a real PyTorch, against sdq's own numbers. The networks are PyTorch's own modules. Needs
 * `npm run build` and `node scripts/python-services.js torch`; skips where the latter is missing.
 */
import {spawnSync} from 'node:child_process';
import {writeFileSync} from 'node:fs';
import path from 'node:path';

import {beforeAll, describe, expect, test} from '@jest/globals';

import {openBatches} from '../../src/data/batches.ts';
import {resolveNormalization} from '../../src/data/normalization.ts';
import {serializeSafetensors} from '../../src/graph/safetensors.ts';
import {readModelFile, writeModelFile} from '../../src/phases/model-file.ts';
import {quantizationRecord, quantizationValues} from '../../src/training/quantization-record.ts';
import {mnist} from '../../src/plugins/datasets/mnist.ts';
import {wasmEngine} from '../../src/plugins/engines/wasm/index.ts';
import {normal, uniform} from '../../src/random.ts';
import {leastErrorStep} from '../../src/sdq/activation-quantizer.ts';
import {readJournal} from '../../src/runs/journal.ts';
import {listRuns} from '../../src/runs/find-run.ts';
import {registerGradients} from '../../src/tensor/gradients.ts';
import {failure, prepareQuantizedJob, smallJob} from '../helpers/failures.ts';
import {describeWith, pythonProgram} from '../helpers/python-service.ts';
import {quantizedNetwork, strategyOf, writeImagesAndLogits, type QuantizedCase} from '../helpers/quantized-network.ts';
import {sdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';
import {thorough} from '../helpers/thorough.ts';

const folder = temporaryFolder();
const inFolder = (name: string): string => path.join(folder, name);
const helper = path.resolve(import.meta.dirname, '../helpers/run_torch.py');

/** Runs the jobs in one PyTorch process. */
function torch<Result>(jobs: readonly object[]): Result[] {
  const file = inFolder('jobs.json');
  writeFileSync(file, JSON.stringify(jobs));
  const {status, stderr, stdout} = spawnSync(pythonProgram('torch'), [helper, file], {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  expect({status, stderr: status === 0 ? '' : stderr}).toEqual({status: 0, stderr: ''});
  return JSON.parse(stdout) as Result[];
}

/** The network as a file, and its logits with the images that they are of. */
async function write(made: QuantizedCase, name: string): Promise<void> {
  const {network, quantization} = await quantizedNetwork(made);
  const strategy = strategyOf(made, network, quantization);
  writeFileSync(inFolder(`${name}.json`), JSON.stringify(strategy));
  writeModelFile(inFolder(`${name}.safetensors`), await network.weights(), {
    strategy,
    record: quantizationRecord(network, quantization),
    values: await quantizationValues(network, quantization),
  });
  writeImagesAndLogits(inFolder(`${name}.data`), made, network, quantization);
  quantization.dispose();
  network.dispose();
}

describeWith('torch')('sdq_torch.py in PyTorch', () => {
  const mixed = [1, 2, 3, 4, 5, 6, 7, 8];
  const cases: readonly QuantizedCase[] = [
    // Products of two activations stay in full precision in the vision transformer.
    ...['resnet20', 'mobilenet-v2', 'vit'].flatMap((model) =>
      [32, 4].map((activationBits) => ({
        model,
        weights: 'symmetric',
        activations: 'pact',
        weightBits: model === 'resnet20' ? mixed : [4, 8],
        activationBits,
      })),
    ),
    ...['narrow', 'narrow-per-tensor', 'mid-rise', 'dorefa', 'entropy'].map((weights) => ({
      model: 'resnet20',
      weights,
      activations: 'lsq',
      weightBits: mixed,
      activationBits: 32,
    })),
    {model: 'resnet20', weights: 'mid-rise', activations: 'lsq', weightBits: [2], activationBits: 3},
  ];

  test('load_quantized computes the logits of sdq, and save writes what was loaded', async () => {
    const engine = await wasmEngine.start({threads: 1});
    registerGradients();
    try {
      for (const [i, made] of cases.entries()) await write(made, `case${i}`);
    } finally {
      // The commands below start their own.
      await engine.dispose();
    }
    const results = torch<{error: number; largest: number; same: number}>(
      cases.map(({model}, i) => ({
        job: 'logits',
        model,
        channels: 3,
        checkpoint: inFolder(`case${i}.safetensors`),
        data: inFolder(`case${i}.data`),
        save: inFolder(`case${i}.saved`),
      })),
    );
    for (const [i, {error, largest, same}] of results.entries()) {
      const made = {...cases[i], error, largest, same};
      // With rounded inputs a value in the middle between two levels may fall to either side, and these networks are not trained.
      const fits = made.activationBits === 32 ? error <= 1e-5 * Math.max(1, largest) : same >= 0.9;
      expect({...made, fits}).toEqual({...made, fits: true});
      expect(readModelFile(inFolder(`case${i}.saved`))).toEqual(readModelFile(inFolder(`case${i}.safetensors`)));
    }
  }, 240_000);

  (thorough ? describe : describe.skip)('trained networks, 256 images (in the slow suite)', () => {
    const trained = ['resnet20', 'mobilenet-v2', 'vit'].flatMap((model) =>
      [32, 4].map((activationBits) => ({
        ...{model, weights: 'symmetric', activations: 'pact', weightBits: [4, 8], activationBits},
        trainedSteps: model === 'vit' ? 400 : 40,
      })),
    );
    interface Logits {
      readonly error: number;
      readonly largest: number;
      readonly same: number;
      /** Of `applied`: weights on another level than in sdq's file. */
      readonly moved?: number;
    }
    const results: Record<'loaded' | 'applied', Logits[]> = {loaded: [], applied: []};

    beforeAll(async () => {
      const engine = await wasmEngine.start({threads: 1});
      registerGradients();
      try {
        for (const [i, made] of trained.entries()) await write(made, `trained${i}`);
      } finally {
        await engine.dispose();
      }
      const jobs = trained.map(({model}, i) => ({
        ...{model, channels: 3, checkpoint: inFolder(`trained${i}.safetensors`), data: inFolder(`trained${i}.data`)},
        strategy: inFolder(`trained${i}.json`),
      }));
      const all = torch<Logits>([
        ...jobs.map((job) => ({job: 'logits', ...job})),
        ...jobs.map((job) => ({job: 'applied_logits', ...job})),
      ]);
      results.loaded = all.slice(0, trained.length);
      results.applied = all.slice(trained.length);
    }, 600_000);

    test.each(
      trained.flatMap(({activationBits, model}, i) =>
        (['loaded', 'applied'] as const).map((how) => [how, model, activationBits, i] as const),
      ),
    )('%s: %s at A %i', (how, _model, activationBits, i) => {
      const {error, largest, moved = 0, same} = results[how][i]!;
      // A weight in the middle between two levels may fall to the other side when PyTorch rounds it: very few of millions do.
      const tolerance = moved === 0 ? 1e-5 : 1e-3;
      const fits =
        activationBits === 32 ? error <= tolerance * Math.max(1, largest) && moved <= 3 && same === 1 : same >= 0.99;
      expect({error, largest, moved, same, fits}).toEqual({error, largest, moved, same, fits: true});
    });
  });

  describe('with the built command', () => {
    const cwd = path.join(folder, 'job');
    const job = {model: 'cnn-small', channels: 1, weights: path.join(cwd, 'fp.safetensors')};
    beforeAll(() => prepareQuantizedJob(cwd), 120_000);

    async function evaluated(...args: string[]): Promise<{loss: number; accuracy: number}> {
      const {exitCode, stderr, stdout} = await sdq(['evaluate', '--json', '--checkpoint', ...args], {cwd});
      expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''});
      return JSON.parse(stdout) as {loss: number; accuracy: number};
    }

    /** The training batches of the job's first epoch, in sdq's order, as images and labels in one file. */
    async function writeBatches(name: string, mode: 'training' | 'evaluation', count: number): Promise<void> {
      const dataset = await mnist.open(path.join(cwd, 'images'), {});
      const source = openBatches(dataset, {
        part: 'train',
        validation: smallJob.data.validation,
        batchSize: smallJob.data.batchSize,
        mode,
        augment: false,
        normalization: resolveNormalization('dataset', dataset),
        seed: 0,
      });
      const [pixels, labels]: [number[], number[]] = [[], []];
      for (let index = 0; index < count; index++) {
        const batch = await source.batch(Math.floor(index / source.batchesPerEpoch), index % source.batchesPerEpoch);
        pixels.push(...batch.images);
        labels.push(...batch.labels);
      }
      await source.close();
      const tensors = new Map([
        // One channel: the last axis may as well be the first.
        ['images', {shape: [labels.length, 1, 28, 28], data: Float32Array.from(pixels)}],
        ['labels', {shape: [labels.length], data: Float32Array.from(labels)}],
      ]);
      writeFileSync(path.join(cwd, name), serializeSafetensors(tensors, {}));
    }

    test('apply_strategy calibrates as sdq does, and sdq reads what save wrote', async () => {
      await writeBatches('calibration', 'evaluation', 1);
      const applied = {
        job: 'apply',
        ...job,
        strategy: path.join(cwd, 'w3a4.json'),
        data: path.join(cwd, 'calibration'),
      };
      const exported = ['export', '--checkpoint', 'fp.safetensors', '--strategy', 'w3a4.json'];
      const args = [...exported, '--format', 'safetensors', '--output', 'own.safetensors', '--json'];
      expect(await sdq(args, {cwd})).toMatchObject({exitCode: 0, stderr: ''});
      torch([{...applied, save: path.join(cwd, 'applied.safetensors')}]);
      const [own, theirs] = ['own', 'applied'].map((name) => readModelFile(path.join(cwd, `${name}.safetensors`)));
      expect([...(theirs?.tensors.keys() ?? [])].sort()).toEqual([...(own?.tensors.keys() ?? [])].sort());
      for (const [name, {data}] of own?.tensors ?? []) {
        // Ranges come from other images.
        if (/\.input_(range|step)$/.test(name)) continue;
        const found = theirs?.tensors.get(name)?.data ?? [];
        expect({name, near: data.every((v, i) => Math.abs(v - (found[i] ?? NaN)) <= 1e-5 * Math.abs(v))}).toEqual({
          name,
          near: true,
        });
      }
      const [a, b] = [await evaluated('own.safetensors'), await evaluated('applied.safetensors')];
      expect(Math.abs(b.loss - a.loss)).toBeLessThan(0.2 * a.loss);
      const onnx = ['export', '--checkpoint', 'applied.safetensors', '--output', 'applied.onnx'];
      expect(await sdq(onnx, {cwd})).toMatchObject({exitCode: 0, stderr: ''});
      expect(await sdq(['verify', 'applied.onnx', '--checkpoint', 'applied.safetensors'], {cwd})).toMatchObject({
        exitCode: 0,
      });
    }, 120_000);

    test('the first range of an input is that of sdq', () => {
      const draw = uniform(5, 'bench', 2);
      const sample = Float32Array.from({length: 2000}, () => normal(draw));
      const file = path.join(cwd, 'sample');
      writeFileSync(file, serializeSafetensors(new Map([['sample', {shape: [2000], data: sample}]]), {}));
      const grids = [
        {bits: 1, qmin: -1, qmax: 0, offset: 0.5},
        {bits: 3, qmin: 0, qmax: 7, offset: 0},
        {bits: 4, qmin: -8, qmax: 7, offset: 0},
      ] as const;
      const steps = torch<{step: number}>(grids.map((grid) => ({job: 'step', data: file, grid})));
      for (const [i, {step}] of steps.entries()) {
        expect(step / leastErrorStep(sample, grids[i] ?? grids[0])).toBeCloseTo(1, 6);
      }
    }, 60_000);

    test('a file whose inputs are rounded otherwise than the network would is refused', async () => {
      const strategy = path.join(cwd, 'w3a4.json');
      const save = path.join(cwd, 'unsigned.safetensors');
      torch([{job: 'apply', ...job, strategy, data: path.join(cwd, 'calibration'), signed: [], save}]);
      const message = await failure(['evaluate', '--checkpoint', 'unsigned.safetensors'], cwd, 3);
      expect(message).toContain('/layers/conv1/input/signed is false; the network has true.');
    }, 120_000);

    test('what does not fit is refused by name', () => {
      const checkpoint = path.join(cwd, 'own.safetensors');
      const w3a4 = path.join(cwd, 'w3a4.json');
      const messages = torch<{message: string}>([
        {job: 'refusal', of: 'logits', ...job, checkpoint: job.weights},
        {job: 'refusal', of: 'logits', model: 'resnet20', channels: 1, checkpoint},
        {job: 'refusal', of: 'apply', ...job, strategy: w3a4, data: null},
        {job: 'refusal', of: 'apply', ...job, strategy: w3a4, data: path.join(cwd, 'calibration'), signed: ['conv9']},
      ]).map(({message}) => message);
      expect(messages).toEqual([
        expect.stringContaining('fp.safetensors is a network in full precision'),
        expect.stringContaining('own.safetensors does not fit the model: missing'),
        expect.stringContaining("give a batch of the model's input as `calibration`"),
        expect.stringContaining("`signed` names ['conv9']"),
      ]);
    }, 60_000);

    test('phase 2 from the same state has the losses of sdq, step by step', async () => {
      const epochs = 17;
      const strategy = ['strategy', 'create', '--weight-bits', '2', '--quiet', '--output', 'w2.json'];
      expect(await sdq(strategy, {cwd})).toMatchObject({exitCode: 0});
      const set = [
        'model.weights=fp.safetensors',
        `train.epochs=${epochs}`,
        'runs.logEverySteps=1',
        'data.augment=false',
        'train.optimizer.learningRate=0.002',
      ].flatMap((setting) => ['--set', setting]);
      expect(await sdq(['train', '--strategy', 'w2.json', '--quiet', ...set], {cwd})).toMatchObject({exitCode: 0});
      const run = listRuns(path.join(cwd, '.sdq/runs')).at(-1);
      const rows = [...readJournal(path.join(cwd, '.sdq/runs', String(run?.id), 'events.jsonl'))]
        .map(({data}) => ['loss', 'taskLoss', 'binRegularizer'].map((name) => data[`train/${name}`]))
        .filter(([loss]) => typeof loss === 'number') as number[][];
      await writeBatches('batches', 'training', rows.length);
      const [found] = torch<{losses: number[][]}>([
        {
          job: 'train',
          ...job,
          strategy: path.join(cwd, 'w2.json'),
          data: path.join(cwd, 'batches'),
          batch: smallJob.data.batchSize,
          epochs,
          lr: 0.002,
        },
      ]);
      expect(found?.losses).toHaveLength(rows.length);
      const off = rows.map((row, i) =>
        Math.max(...row.map((value, k) => Math.abs(value - (found?.losses[i]?.[k] ?? NaN)))),
      );
      expect(rows.length).toBeGreaterThan(100);
      // The same to the last digits until a weight in the middle between two levels falls to another side.
      expect(Math.max(...off.slice(0, 5))).toBeLessThan(1e-5);
      expect(Math.max(...off)).toBeLessThan(1e-3);
    }, 240_000);
  });
});
