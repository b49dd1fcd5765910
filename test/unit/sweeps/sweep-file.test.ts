import {readFileSync} from 'node:fs';

import {describe, expect, test} from '@jest/globals';
import {Ajv2020} from 'ajv/dist/2020.js';
import {parse} from 'yaml';

import {newSweep, parameterOf} from '../../../src/sweeps/new-sweep.ts';
import {classification} from '../../../src/plugins/tasks/classification.ts';
import {regression} from '../../../src/plugins/tasks/regression.ts';
import {figureNames, isOfValidation} from '../../../src/sweeps/metric-names.ts';
import {parseSweep} from '../../../src/sweeps/sweep-file.ts';
import {assignment, trialCount} from '../../../src/sweeps/trials.ts';

const command = 'command: ["${env}", npx, sdq, run, --sweep-params, "${args_json_file}"]';
const metric = 'metric: {name: train/accuracy/best, goal: maximize}';

/** A file with these parameters. */
const withParameters = (parameters: string, method = 'random'): string =>
  `method: ${method}\n${metric}\n${command}\nparameters: ${parameters}\n`;

const problemsOf = (text: string): {place: string; message: string}[] =>
  parseSweep(text, '/sweep.yaml', [classification]).problems.map(({place, message}) => ({place, message}));

describe('a wrong file: the place and what is allowed', () => {
  test.each([
    ['a: [', '', /not YAML, line 1/],
    ['- 1', '', /expected a mapping of/],
    ['{}', '', /"method" is missing/],
    [
      withParameters('{seed: {value: 1}}', 'gird'),
      '/method',
      /expected one of "grid", "random", "bayes", "custom", found "gird"/,
    ],
    [`${withParameters('{seed: {value: 1}}')}run_cup: 3`, '/run_cup', /unknown key "run_cup"/],
    [`${withParameters('{seed: {value: 1}}')}run_cap: 0`, '/run_cap', /above 0, found 0/],
    [`method: grid\n${command}`, '', /"parameters" is missing/],
    [withParameters('{}'), '/parameters', /expected/],
    [withParameters('{"1x": {value: 1}}'), '/parameters/1x', /letters/],
    [withParameters('{seed: 3}'), '/parameters/seed', /expected a mapping, e.g. {values: \[2, 3\]}/],
    [withParameters('{seed: {values: []}}'), '/parameters/seed/values', /a list of at least 1/],
    [withParameters('{seed: {mu: 3}}'), '/parameters/seed', /needs value, values, min and max/],
    [withParameters('{seed: {min: 3}}'), '/parameters/seed', /"max" is missing/],
    [withParameters('{seed: {min: 3, max: 3}}'), '/parameters/seed', /min 3 is not less than max 3/],
    [
      withParameters('{seed: {distribution: unifrom, min: 1, max: 2}}'),
      '/parameters/seed',
      /unknown distribution "unifrom"/,
    ],
    [
      withParameters('{seed: {distribution: log_uniform_values, min: 0, max: 2}}'),
      '/parameters/seed/min',
      /above 0, found 0/,
    ],
    [withParameters('{seed: {distribution: q_uniform, min: 0, max: 2, q: 0}}'), '/parameters/seed/q', /above 0/],
    [
      withParameters('{seed: {distribution: beta, min: 0}}'),
      '/parameters/seed/min',
      /unknown key "min".*distribution, a, b/,
    ],
    [
      withParameters('{seed: {values: [1, 2], probabilities: [1]}}'),
      '/parameters/seed',
      /2 values and 1 probabilities/,
    ],
    [withParameters('{seed: {values: [1, 2], probabilities: [0.5, 0.4]}}'), '/parameters/seed', /sum to 0.9, not 1/],
    [
      withParameters('{train: {parameters: {epochs: {values: 3}}}}'),
      '/parameters/train/parameters/epochs/values',
      /a list/,
    ],
    [
      withParameters('{train: {parameters: {epochs: {value: 3}}, value: 1}}'),
      '/parameters/train',
      /"value" cannot stand beside/,
    ],
    [withParameters('{seed: {min: 1.0, max: 2}}', 'grid'), '/parameters/seed', /a grid takes .* not uniform/],
    [
      withParameters('{seed: {distribution: log_uniform_values, min: 1e-4, max: 1}}'),
      '/parameters/seed/min',
      /1e-4 is text to W&B/,
    ],
    [
      `${withParameters('{seed: {value: 1}}')}early_terminate: {type: hyperband, max_iter: 9}`,
      '/early_terminate',
      /min_iter, or max_iter and s/,
    ],
    [
      `${withParameters('{seed: {value: 1}}')}early_terminate: {type: hyperband, min_iter: 9}`,
      '/metric/name',
      /known at the end only/,
    ],
    [
      withParameters('{seed: {value: 1}}').replace(metric, 'metric: {name: val_loss}'),
      '/metric/name',
      /sdq logs no "val_loss"/,
    ],
    [
      withParameters('{seed: {value: 1}}').replace('sdq, run', 'sdq, search'),
      '/metric/name',
      /"sdq search" logs no "train\/accuracy\/best"/,
    ],
    [withParameters('{seed: {value: 1}}', 'bayes').replace(metric, ''), '', /"metric" is missing: bayes needs one/],
    [withParameters('{seed: {value: 1}}').replace(command, ''), '/command', /would start python/],
    [withParameters('{seed: {value: 1}}').replace('npx, sdq', 'python, train.py'), '/command', /does not call sdq/],
    [withParameters('{seed: {value: 1}}').replace('sdq, run', 'sdq, evaluate'), '/command', /calls "sdq evaluate"/],
    [
      withParameters('{seed: {value: 1}}').replace('"${args_json_file}"', '"${args}"'),
      '/command',
      /as Python prints them/,
    ],
    [
      withParameters('{seed: {value: 1}}').replace('--sweep-params, ', ''),
      '/command',
      /does not hand the parameters over/,
    ],
    [
      withParameters('{seed: {value: 1}}').replace('--sweep-params, "$', '"--sweep-params=$'),
      '/command',
      /does not hand the parameters over/,
    ],
  ])('%j', (text, place, message) => {
    const problems = problemsOf(text);
    expect(problems.map((problem) => problem.place)).toContain(place);
    expect(problems.find((problem) => problem.place === place)!.message).toMatch(message);
  });

  test('all of them at once', () => {
    expect(problemsOf('method: bayes\nparameters: {seed: 3, b: {values: 1}}')).toHaveLength(4);
  });

  test('text that is a bomb of aliases ends at once', () => {
    const lines = ['a: &a [x, x, x, x, x, x, x, x, x]'];
    for (let i = 1; i < 9; i++) {
      const before = 'abcdefghi'[i - 1]!;
      const name = 'abcdefghi'[i]!;
      lines.push(`${name}: &${name} [${Array<string>(9).fill(`*${before}`).join(', ')}]`);
    }
    expect(problemsOf(lines.join('\n'))[0]!.message).toMatch(/not YAML/);
  });
});

describe('a right file', () => {
  const full = `${withParameters(
    '{train: {parameters: {epochs: {values: [1, 2]}, optimizer: {parameters: {learningRate: {value: 0.1}}}}}, seed: {min: 1, max: 2}}',
    'grid',
  )}name: bits\ndescription: d\nproject: p\nentity: e\nrun_cap: 3\nearly_terminate: {type: hyperband, max_iter: 27, s: 2}\n`.replace(
    'train/accuracy/best',
    'train/validationAccuracy',
  );

  test('gives dotted keys in the order of W&B, and the arguments of sdq', () => {
    const {sweep, problems} = parseSweep(full, '/sweep.yaml', [classification]);
    expect(problems).toEqual([]);
    expect(sweep!.parameters.map(({name}) => name)).toEqual(['seed', 'train.epochs', 'train.optimizer.learningRate']);
    expect(sweep!.arguments).toEqual(['run', '--sweep-params', '${args_json_file}']);
    expect(trialCount(sweep!)).toBe(3);
    expect([0, 1, 2].map((index) => assignment(sweep!, 0, index))).toEqual([
      {seed: 1, 'train.epochs': 1, 'train.optimizer.learningRate': 0.1},
      {seed: 1, 'train.epochs': 2, 'train.optimizer.learningRate': 0.1},
      {seed: 2, 'train.epochs': 1, 'train.optimizer.learningRate': 0.1},
    ]);
  });

  test('fits the published schema, which is a strict one', () => {
    const schema = JSON.parse(readFileSync('schemas/sweep.schema.json', 'utf8')) as object;
    const ajv = new Ajv2020({strict: true, strictTypes: false, strictRequired: false});
    ajv.addFormat('integer', {type: 'number', validate: Number.isInteger});
    ajv.addFormat('float', {type: 'number', validate: Number.isFinite});
    expect(ajv.validate(schema, parse(full))).toBe(true);
    expect(ajv.validate(schema, parse(full.replace('values: [1, 2]', 'values: 1')))).toBe(false);
  });

  test('1 and 1.0 are two things: whole numbers, or all between', () => {
    const distributions = (parameters: string): string[] =>
      parseSweep(withParameters(parameters), '/s', [classification]).sweep!.parameters.map(
        ({spec}) => spec.distribution,
      );
    expect(distributions('{a: {min: 1, max: 8}, b: {min: 1.0, max: 8}, c: {min: 1, max: 8.0e+0}}')).toEqual([
      'int_uniform',
      'uniform',
      'uniform',
    ]);
  });

  test('random trials are a function of the seed and the number', () => {
    const {sweep} = parseSweep(withParameters('{seed: {min: 0.5, max: 2}}'), '/s', [classification]);
    expect(trialCount(sweep!)).toBe(Infinity);
    expect(assignment(sweep!, 1, 4)).toEqual(assignment(sweep!, 1, 4));
    expect(assignment(sweep!, 1, 4)).not.toEqual(assignment(sweep!, 2, 4));
    expect(assignment(sweep!, 1, 4)).not.toEqual(assignment(sweep!, 1, 5));
  });
});

test('a new file has no number that W&B would take for text', () => {
  const text = newSweep({
    method: 'random',
    metric: 'train/accuracy/best',
    goal: 'maximize',
    parameters: [
      'train.optimizer.learningRate={distribution: log_uniform_values, min: 1e-9, max: 1}',
      'seed=[1, 2]',
      'a=x',
    ].map(parameterOf),
  });
  expect(text).toContain('min: 1.0e-9\n');
  const {sweep, problems} = parseSweep(text, '/s', [classification]);
  expect(problems).toEqual([]);
  expect(sweep!.parameters.map(({spec}) => spec)).toEqual([
    {distribution: 'constant', value: 'x'},
    {distribution: 'categorical', values: [1, 2]},
    {distribution: 'log_uniform_values', min: 1e-9, max: 1},
  ]);
});

test.each([
  ['train/validationMse', true],
  ['train/mse/best', true],
  ['train/startMse', true],
  ['pretrain/mae', false],
  ['fullPrecision/r2', false],
])('the figures are those of the task: %s', (name, isValidation) => {
  const text = withParameters('{seed: {value: 1}}').replace('train/accuracy/best', name);
  expect(parseSweep(text, '/s', [regression]).problems).toEqual([]);
  expect(parseSweep(text, '/s', [classification, regression]).problems).toEqual([]);
  expect(parseSweep(text, '/s', [classification]).problems).toMatchObject([{place: '/metric/name'}]);
  expect(isOfValidation(name)).toBe(isValidation);
});

test('a figure that its task does not measure is refused, with the nearest that it does', () => {
  const text = withParameters('{seed: {value: 1}}').replace('train/accuracy/best', 'train/validationMsee');
  const [problem] = parseSweep(text, '/s', [regression]).problems;
  expect(problem!.suggestions.join()).toContain('train/validationMse');
  const {metrics, summaries} = figureNames(regression);
  expect([...metrics, ...summaries].filter((name) => /accuracy|top5/i.test(name))).toEqual([]);
});
