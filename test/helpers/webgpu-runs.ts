/**
 * Trainings on the webgpu engine that are stopped, then lose their GPU in the middle, and are continued after both: prints as JSON
 * whether they end with the weights and losses of one in one go. The argument is a folder for the runs.
 */
import {createHash} from 'node:crypto';
import {readFileSync} from 'node:fs';
import path from 'node:path';

import * as tf from '@tensorflow/tfjs-core';

import {SdqError} from '../../src/errors.ts';
import type {PhaseContext} from '../../src/phases/phase.ts';
import {pretrain} from '../../src/phases/pretrain.ts';
import {search} from '../../src/phases/search.ts';
import {train} from '../../src/phases/train.ts';
import type {Backend} from '../../src/plugins/engines/webgpu/gpu.ts';
import {tinyRun, type TinyRun} from './tiny-job.ts';

interface End {
  readonly code: string;
  readonly exit: number;
}

interface Continued {
  readonly stopped: End;
  readonly lost: End;
  /** Whether the run ended with the same weights, and its journal has the same losses, as one in one go. */
  readonly sameWeights: boolean;
  readonly sameLosses: boolean;
}

export type WebgpuRuns = Readonly<Record<'pretrain' | 'train', Continued>>;

const root = process.argv[2] ?? '';
const engine = {name: 'webgpu', threads: undefined};
const optimizer = {name: 'sgd', learningRate: 0.1};
const changes = {
  engine,
  data: {batchSize: 16},
  pretrain: {epochs: 1, optimizer},
  search: {epochs: 1, target: {meanWeightBits: 4.5}, pin: {}, activationBits: 4, dualRate: 10, optimizer},
  train: {epochs: 1, optimizer, binRegularization: {weight: 0.5, rampEpochs: 0.5}, learnScales: true},
};

const losses = (run: TinyRun, phase: string): string =>
  JSON.stringify(run.metrics().flatMap((row) => row[`${phase}/loss`] ?? []));

/** Of the tensors of a file: its header names the run. */
function digest(file: string): string {
  const bytes = readFileSync(file);
  return createHash('sha256')
    .update(bytes.subarray(8 + Number(bytes.readBigUInt64LE(0))))
    .digest('hex');
}

/** The context of a run whose GPU goes away after so many steps. */
function withoutGpuAfter({context}: TinyRun, step: number): PhaseContext {
  const {session} = context;
  let steps = 0;
  const update: typeof session.reporter.update = (...told) => {
    session.reporter.update(...told);
    if (++steps === step) (tf.backend() as unknown as Backend).device.destroy();
  };
  return {...context, session: {...session, reporter: {...session.reporter, update}}};
}

/** How a run that does not reach its end says so. */
async function early(run: TinyRun, body: () => Promise<unknown>): Promise<End> {
  const error = await body().catch((thrown: unknown) => thrown);
  if (!(error instanceof SdqError)) throw error;
  const end = {code: error.code, exit: error.oclif.exit};
  run.run.end('failed', end.exit);
  await run.close();
  return end;
}

/** A run in one go. */
async function whole(body: (context: PhaseContext) => Promise<unknown>): Promise<TinyRun> {
  const run = await tinyRun({root, changes});
  await body(run.context);
  await run.close();
  return run;
}

async function compare(
  phase: 'pretrain' | 'train',
  expected: TinyRun,
  file: string,
  body: (context: PhaseContext) => Promise<unknown>,
): Promise<Continued> {
  const stopping = await tinyRun({root, changes, stopAfter: 2});
  const stopped = await early(stopping, () => body(stopping.context));
  const resume = stopping.run.id;
  const losing = await tinyRun({root, changes, resume});
  const lost = await early(losing, () => body(withoutGpuAfter(losing, 1)));
  const rest = await tinyRun({root, changes, resume});
  await body(rest.context);
  await rest.close();
  const digests = [expected, rest].map(({run}) => digest(path.join(run.directory, file)));
  return {
    stopped,
    lost,
    sameWeights: digests[0] === digests[1],
    sameLosses: losses(expected, phase) === losses(rest, phase),
  };
}

const pretrained = await whole(pretrain);
const weights = path.join(pretrained.run.directory, 'full-precision.safetensors');
const searched = await whole((context) => search(context, weights));
const strategy = path.join(searched.run.directory, 'strategy.json');
const files = {strategy, weights, fullPrecision: weights};
const training = (context: PhaseContext): Promise<unknown> => train(context, files);
const trained = await whole(training);
const runs: WebgpuRuns = {
  pretrain: await compare('pretrain', pretrained, 'full-precision.safetensors', pretrain),
  train: await compare('train', trained, 'quantized.safetensors', training),
};
process.stdout.write(`\n${JSON.stringify(runs)}\n`);
