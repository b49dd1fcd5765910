import {expect, test} from '@jest/globals';

import {pretrain} from '../../../src/phases/pretrain.ts';
import {trainingMetric} from '../../../src/phases/results.ts';
import {summarise} from '../../../src/phases/run-summary.ts';
import {writeReport} from '../../../src/phases/run-report.ts';
import {search} from '../../../src/phases/search.ts';
import {train} from '../../../src/phases/train.ts';
import {readFileSync} from 'node:fs';

import {temporaryFolder} from '../../helpers/temporary-folder.ts';
import {madeImages, madeNumbers, tinyRun} from '../../helpers/tiny-job.ts';

const folder = temporaryFolder();

const changes = {
  task: {name: 'regression'},
  pretrain: {epochs: 6, optimizer: {learningRate: 0.1}},
  search: {epochs: 6, target: {meanWeightBits: 5}, dbp: {learningRate: 0.5}, pareto: 2},
  train: {epochs: 2, optimizer: {learningRate: 0.005}},
};

test('a lower-is-better task through all phases: results, journal, report and summary have its metric', async () => {
  const tiny = await tinyRun({root: folder, dataset: madeNumbers(), changes});
  try {
    const {context, run, session} = tiny;
    run.update({metric: session.task.metric});
    const first = await pretrain(context);
    const values = tiny
      .metrics()
      .flatMap((row) => ('pretrain/validationMse' in row ? [row['pretrain/validationMse']] : []));
    expect(values).toHaveLength(6);
    const mse = trainingMetric(session.task.metric, first);
    expect(mse).toMatchObject({best: Math.min(...values), last: values.at(-1)});
    expect(first.epoch).toBe(1 + values.indexOf(mse.best!));
    // The mean of each number alone has an error of 2/9.
    expect(mse.test).toBeLessThan(0.15);

    const found = await search({...context, stepOffset: first.steps}, first.checkpoint);
    expect(found.pareto.length).toBeGreaterThan(0);
    expect(found.pareto.map((point) => (point as unknown as {mse: number}).mse).every(Number.isFinite)).toBe(true);
    const input = {strategy: found.strategy, weights: found.checkpoint, fullPrecision: first.checkpoint};
    const trained = await train({...context, stepOffset: first.steps + found.steps}, input);
    expect(trained).toMatchObject({mse: {test: expect.any(Number) as unknown}});
    expect(trained).not.toHaveProperty('accuracy');

    run.update({results: {pretrain: first, search: found, train: trained}});
    expect(summarise(run.record())).toMatchObject({
      accuracy: null,
      metric: {name: 'mse', value: trainingMetric(session.task.metric, trained).test},
    });
    const report = readFileSync(writeReport({record: run.record(), directory: run.directory}), 'utf8');
    expect(report).toContain('test mse');
    expect(report).not.toMatch(/accuracy|nats/i);
  } finally {
    await tiny.close();
  }
});

test.each([
  [{task: {name: 'regression'}}, madeImages, /regression needs numbers, and the data set made has none/],
  [{}, madeNumbers, /classification needs classes, and the data set made has none/],
  [
    {task: {name: 'regresion'}},
    madeNumbers,
    /There is no task "regresion"\. Known: classification, regression, detection\./,
  ],
  [{task: {name: 'regression', options: {x: 1}}}, madeNumbers, /\/task\/options\/x/],
  [{search: {options: {x: 1}}}, madeImages, /\/search\/options\/x/],
])('%j is refused before anything is trained', async (settings, dataset, message) => {
  await expect(tinyRun({root: folder, dataset: dataset(), changes: settings})).rejects.toThrow(message);
});

test('numbers that do not fit the images are refused', async () => {
  const dataset = madeNumbers();
  const {targets: _, ...split} = dataset.train;
  const tiny = await tinyRun({root: folder, dataset: {...dataset, train: split}, changes});
  try {
    await expect(pretrain(tiny.context)).rejects.toThrow(/97 train images with 3 numbers each; it has 0 numbers/);
  } finally {
    await tiny.close();
  }
});
