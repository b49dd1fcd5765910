/** Training, evaluation, export and verification of a network with two outputs: by a task that learns both, and by one that learns one. */
import path from 'node:path';

import {expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {graphBuilder} from '../../../src/graph/builder.ts';
import {readModelFile} from '../../../src/phases/model-file.ts';
import {evaluateFile} from '../../../src/phases/evaluate-file.ts';
import {exportNetwork} from '../../../src/phases/export.ts';
import {preflight} from '../../../src/phases/preflight.ts';
import {pretrain} from '../../../src/phases/pretrain.ts';
import {trainingMetric} from '../../../src/phases/results.ts';
import {search} from '../../../src/phases/search.ts';
import {buildGraph, type Session} from '../../../src/phases/session.ts';
import {train} from '../../../src/phases/train.ts';
import {verifyExport} from '../../../src/phases/verify.ts';
import {classification} from '../../../src/plugins/tasks/classification.ts';
import {regression} from '../../../src/plugins/tasks/regression.ts';
import type {ModelDefinition, TaskDefinition} from '../../../src/plugin-api/registry.ts';
import type {Task} from '../../../src/training/task.ts';
import {temporaryFolder} from '../../helpers/temporary-folder.ts';
import {madeNumbers, tinyRun} from '../../helpers/tiny-job.ts';

const classificationTask = await classification.load({}, {classes: 10, inputShape: [3, 32, 32]});
const regressionTask = await regression.load({}, {classes: 10, inputShape: [3, 32, 32]});

const folder = temporaryFolder();

/** Numbers that are squashed, and logits; a map of features besides, which is no row of values. */
const heads: ModelDefinition = {
  kind: 'model',
  name: 'heads',
  summary: 'Two heads.',
  defaults: {classes: 3, inputShape: [2, 6, 5]},
  build({inputShape}) {
    const g = graphBuilder('heads', inputShape);
    const stem = g.node('Relu', 'relu1', [g.batchNorm('bn1', g.conv('conv1', g.input, {channels: 4, kernel: 3}))]);
    const features = g.batchNorm('bn2', g.conv('conv2', stem, {channels: 6, kernel: 3, stride: 2}));
    const pooled = g.node('GlobalAveragePool', 'pool', [g.node('Relu', 'relu2', [features])]);
    const flat = g.node('Flatten', 'flatten', [pooled]);
    const numbers = g.node('Sigmoid', 'numbers', [g.linear('squashed', flat, {features: 3})]);
    return g.build(numbers, g.linear('logits', flat, {features: 3}), features);
  },
};

/** Learns both heads: the sum of both tasks. */
const task: Task = {
  loss: ([numbers, ...logits], targets) =>
    tf.add(regressionTask.loss([numbers!], targets), classificationTask.loss(logits, targets)),
  distillationLoss: ([numbers, ...logits], [first, ...second], targets, options) =>
    tf.add(
      regressionTask.distillationLoss([numbers!], [first!], targets, options),
      classificationTask.distillationLoss(logits, second, targets, options),
    ),
  reported: () => ({}),
  meter() {
    const [numbers, logits] = [regressionTask.meter(), classificationTask.meter()];
    return {
      add([first = new Float32Array(), second = new Float32Array()], targets) {
        numbers.add([first], targets);
        logits.add([second], targets);
      },
      result() {
        const [a, b] = [numbers.result(), logits.result()];
        return {mse: a['mse']!, accuracy: b['accuracy']!, loss: a.loss + b.loss};
      },
    };
  },
};
const both: TaskDefinition = {
  kind: 'task',
  name: 'both',
  summary: 'Numbers and classes.',
  metrics: [
    {name: 'mse', better: 'lower', isFraction: false},
    {name: 'accuracy', better: 'higher', isFraction: true},
  ],
  outputs: () => 3,
  chooseOutputs: () => ({names: ['numbers', 'logits']}),
  load: () => Promise.resolve(task),
};

const dataset = {...madeNumbers(), classes: ['a', 'b', 'c']};
const settings = {
  model: {name: 'heads'},
  pretrain: {epochs: 8, optimizer: {learningRate: 0.1}},
  search: {method: 'uniform', target: {meanWeightBits: 4}, epochs: 1, activationBits: 8},
  train: {epochs: 1, optimizer: {learningRate: 0.005}},
};
const run = (taskSettings: Readonly<Record<string, unknown>>) =>
  tinyRun({root: folder, dataset, definitions: [heads, both], changes: {...settings, task: taskSettings}});

/** Exports the file of weights and compares it with the network in ONNX Runtime. */
async function verified(session: Session, checkpoint: string, target?: string) {
  const file = path.join(folder, `${target ?? 'plain'}.onnx`);
  const output = {format: 'onnx-qdq', strategy: undefined, output: file, sdqVersion: '0'};
  await exportNetwork(session, {...output, checkpoint, target});
  return verifyExport(session, {
    file,
    checkpoint,
    strategy: undefined,
    part: 'test',
    samples: 30,
    runtime: {name: 'onnxruntime-web', python: '', threads: 1},
    runs: 0,
    batch: 1,
  });
}

test('a task that learns two outputs, through all phases to a verified file', async () => {
  const tiny = await run({name: 'both'});
  const {context, session} = tiny;
  try {
    preflight(session, 'run');
    expect(buildGraph(session, {name: 'heads'}).outputs).toEqual(['numbers', 'logits']);
    const first = await pretrain(context);
    const {evaluation} = await evaluateFile(session, first.checkpoint, undefined, 'test');
    // The mean of each number has an error of 2/9, and one class in three is right by chance.
    expect(evaluation['mse']).toBeLessThan(0.2);
    expect(evaluation['accuracy']).toBeGreaterThan(0.6);
    expect(trainingMetric(session.task.metric, first).test).toBeCloseTo(evaluation['mse']!, 6);
    const found = await search({...context, stepOffset: first.steps}, first.checkpoint);
    const input = {strategy: found.strategy, weights: found.checkpoint, fullPrecision: first.checkpoint};
    const {checkpoint} = await train({...context, stepOffset: first.steps + found.steps}, input);
    for (const target of [undefined, 'onnxruntime', 'openvino']) {
      const result = await verified(session, checkpoint, target);
      expect(result).toMatchObject({samples: 30, agreement: 1});
      expect(result.metric.exported).toBeCloseTo(result.metric.sdq, 4);
    }
  } finally {
    await tiny.close();
  }
}, 60_000);

test('classification learns the one that the config names: nothing else is computed, quantized or exported', async () => {
  const tiny = await run({name: 'classification', options: {output: 'logits'}});
  const {context, lines, session} = tiny;
  try {
    preflight(session, 'pretrain');
    const {checkpoint} = await pretrain(context);
    expect([...readModelFile(checkpoint).tensors.keys()].filter((name) => name.startsWith('squashed'))).toEqual([]);
    expect(lines.filter((line) => line.includes('outputs'))).toEqual([]);
    expect(await verified(session, checkpoint)).toMatchObject({samples: 30, agreement: 1});
  } finally {
    await tiny.close();
  }
});

test('without a name, the first row of values, with one notice', async () => {
  const tiny = await run({name: 'classification'});
  const {lines, session} = tiny;
  try {
    preflight(session, 'run');
    expect(lines.filter((line) => line.includes('outputs'))).toEqual([
      `Of the network's outputs the task learns "numbers" and leaves out "logits" [N, 3], "bn2" [N, 6, 3, 3]. ` +
        'To choose another: --set task.options.output=NAME.',
    ]);
  } finally {
    await tiny.close();
  }
});
