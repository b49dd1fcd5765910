/** A sweep on this machine: which one it is, and what became of its trials. */
import {expect, test} from '@jest/globals';

import {classification} from '../../../src/plugins/tasks/classification.ts';
import {bestOf, failureOf, localSweep, remaining, trialEnvironment} from '../../../src/sweeps/local-sweep.ts';
import type {Trial} from '../../../src/sweeps/runner.ts';
import {parseSweep, type Sweep} from '../../../src/sweeps/sweep-file.ts';

const grid = 'parameters: {seed: {values: [1, 2, 3]}}';

function sweepOf(lines: readonly string[]): Sweep {
  const text = ["command: [sdq, run, --sweep-params, '${args_json_file}']", ...lines].join('\n');
  const {sweep, problems} = parseSweep(text, '/work/digits.yaml', [classification]);
  expect(problems).toEqual([]);
  return sweep!;
}

const trial = (number: number, values: Partial<Trial>): Trial => ({
  number,
  status: 'finished',
  parameters: {},
  runId: `run-${number}`,
  exitCode: 0,
  metric: null,
  ...values,
});

test('the folder is of the file, the seed and the settings; a grid has a trial for each combination', () => {
  const sweep = sweepOf(['method: grid', grid]);
  const options = {runs: '/work/.sdq/runs', seed: 0, settings: []};
  const {directory, total} = localSweep(sweep, options);
  expect(total).toBe(3);
  expect(directory).toMatch(/^\/work\/\.sdq\/sweeps\/digits-[0-9a-f]{8}$/);
  expect(localSweep(sweep, options).directory).toBe(directory);
  const others = [{seed: 1}, {settings: ['--set', 'train.epochs=1']}];
  for (const other of others) expect(localSweep(sweep, {...options, ...other}).directory).not.toBe(directory);
});

test('sweeps that need a server or have no end are refused', () => {
  const options = {runs: '/work/.sdq/runs', seed: 0, settings: []};
  expect(() => localSweep(sweepOf(['method: random', grid]), options)).toThrow('/run_cap is missing');
  const metric = 'metric: {name: train/accuracy/best, goal: maximize}';
  expect(() => localSweep(sweepOf(['method: bayes', metric, grid]), options)).toThrow('/method: bayes');
});

test('the best finished trial, those that are left, and the first failure', () => {
  const trials = [
    trial(1, {metric: 0.5}),
    trial(2, {metric: 0.75}),
    trial(3, {metric: 1, status: 'failed', exitCode: 6}),
    trial(4, {status: 'running', exitCode: null}),
  ];
  expect(bestOf(trials, {name: 'a', goal: 'maximize', target: null})?.number).toBe(2);
  expect(bestOf(trials, {name: 'a', goal: 'minimize', target: null})?.number).toBe(1);
  expect(bestOf(trials, null)).toBeUndefined();
  expect(remaining(trials, 5)).toBe(2);
  expect(failureOf(trials, '/s')).toMatchObject({message: '1 of 4 trials failed: 3.', oclif: {exit: 6}});
  expect(failureOf(trials.slice(0, 2), '/s')).toBeUndefined();
});

test('trials at the same time share the threads, unless the config says how many each has', () => {
  expect(trialEnvironment({A: 'b'}, 1, 'auto')).toEqual({A: 'b'});
  expect(trialEnvironment({A: 'b'}, 2, 4)).toEqual({A: 'b'});
  expect(trialEnvironment({A: 'b'}, 10_000, 'auto')).toEqual({A: 'b', SDQ_ENGINE_THREADS: '1'});
});
