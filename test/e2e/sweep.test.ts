import {existsSync, mkdtempSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {setTimeout} from 'node:timers/promises';

import {describe, expect, test} from '@jest/globals';

import {listRuns} from '../../src/runs/find-run.ts';
import type {Trial} from '../../src/sweeps/runner.ts';
import {smallJob, writeSmallJob} from '../helpers/failures.ts';
import {resultProblems} from '../helpers/result-schemas.ts';
import {sdq, startSdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';
import {thorough} from '../helpers/thorough.ts';

const base = temporaryFolder();

function job(): string {
  const cwd = mkdtempSync(path.join(base, 'job-'));
  writeSmallJob(cwd);
  // The search is at its target from the start.
  const config = {...smallJob, search: {...smallJob.search, target: {meanWeightBits: 8}}};
  writeFileSync(path.join(cwd, 'sdq.config.json'), JSON.stringify(config));
  return cwd;
}

const runsOf = (cwd: string): string => path.join(cwd, '.sdq/runs');

interface Result {
  readonly directory: string;
  readonly best: number | null;
  readonly trials: readonly Trial[];
}

function trialsOf(stdout: string): readonly Trial[] {
  expect(resultProblems('sweep-run', stdout)).toEqual([]);
  return (JSON.parse(stdout) as Result).trials;
}

/** Waits until a run has logged a metric of this name. */
async function logged(cwd: string, name: string, count = 1): Promise<void> {
  const journals = (): string[] =>
    existsSync(runsOf(cwd)) ? listRuns(runsOf(cwd)).map(({id}) => path.join(runsOf(cwd), id, 'events.jsonl')) : [];
  const has = (file: string): boolean => existsSync(file) && readFileSync(file, 'utf8').includes(name);
  const end = Date.now() + 120_000;
  while (journals().filter(has).length < count) {
    if (Date.now() > end) throw new Error(`no run has logged ${name}`);
    await setTimeout(20);
  }
}

describe('sdq sweep', () => {
  test('create, validate and run; killed by kill -9 in the second trial it goes on, and repeats none', async () => {
    const cwd = job();
    const created = await sdq(['sweep', 'create', '--parameter', 'seed=[1,2]', '--json'], {cwd});
    expect(resultProblems('sweep-create', created.stdout)).toEqual([]);
    const validated = await sdq(['sweep', 'validate', 'sweep.yaml', '--json'], {cwd});
    expect(resultProblems('sweep-validate', validated.stdout)).toEqual([]);
    expect(JSON.parse(validated.stdout)).toMatchObject({valid: true, method: 'grid', trials: 2, parameters: ['seed']});

    const {child, outcome} = startSdq(['sweep', 'run', 'sweep.yaml'], {cwd});
    await logged(cwd, 'pretrain/loss', 2);
    child.kill('SIGKILL');
    await outcome;
    const before = listRuns(runsOf(cwd));
    expect(before).toHaveLength(2);

    const {exitCode, stderr, stdout} = await sdq(['sweep', 'run', 'sweep.yaml', '--json'], {cwd});
    expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''});
    const trials = trialsOf(stdout);
    expect(trials.map(({number, status, parameters}) => [number, status, parameters])).toEqual([
      [1, 'finished', {seed: 1}],
      [2, 'finished', {seed: 2}],
    ]);
    const after = listRuns(runsOf(cwd));
    expect(after).toHaveLength(2);
    expect(after[0]).toEqual(before[0]);
    expect(trials.map(({runId}) => runId)).toEqual(before.map(({id}) => id));
    const accuracies = after.map(({results}) => (results['train'] as {accuracy: {best: number}}).accuracy.best);
    expect(trials.map(({metric}) => metric)).toEqual(accuracies);
    expect((JSON.parse(stdout) as Result).best).toBe(1 + accuracies.indexOf(Math.max(...accuracies)));

    const again = await sdq(['sweep', 'run', 'sweep.yaml'], {cwd});
    expect(again.exitCode).toBe(0);
    expect(again.stdout).toMatch(/trial +status +seed +train\/accuracy\/best +run/);
    expect(listRuns(runsOf(cwd))).toEqual(after);
  }, 240_000);

  // The slow suite has both.
  test.each([...(thorough ? [['SIGINT', 130] as const] : []), ['SIGTERM', 143] as const])(
    '%s passes to the trials, ends within 10 s with %i, and the trial can go on',
    async (signal, code) => {
      const cwd = job();
      await sdq(['sweep', 'create', '--parameter', 'train.epochs=[300]'], {cwd});
      const {child, outcome} = startSdq(['sweep', 'run', 'sweep.yaml', '--json'], {cwd});
      await logged(cwd, 'pretrain/loss');
      const start = Date.now();
      child.kill(signal);
      const {exitCode, stdout, stderr} = await outcome;
      expect(Date.now() - start).toBeLessThan(10_000);
      expect(exitCode).toBe(code);
      expect(stderr).toContain('1 of 1 trials are left');
      expect(trialsOf(stdout)).toMatchObject([{status: 'interrupted', exitCode: code}]);
      expect(listRuns(runsOf(cwd))).toMatchObject([{status: 'interrupted', exitCode: code}]);
    },
    60_000,
  );

  test('a trial that fails is recorded, the rest goes on, and the exit code is that of the failure', async () => {
    const cwd = job();
    await sdq(['sweep', 'create', '--parameter', 'train.optimizer.learningRate=[1e30, 0.01]'], {cwd});
    const {exitCode, stdout, stderr} = await sdq(['sweep', 'run', 'sweep.yaml', '--parallel', '2', '--json'], {cwd});
    expect(exitCode).toBe(5);
    expect(stderr).toContain('1 of 2 trials failed: 1');
    expect(trialsOf(stdout)).toMatchObject([
      {status: 'failed', exitCode: 5},
      {status: 'finished', exitCode: 0},
    ]);
    expect((JSON.parse(stdout) as Result).best).toBe(2);
  }, 60_000);

  test('a parameter is tried on the config: an unknown key and an unfit value are named before a trial starts', async () => {
    const cwd = job();
    const command = 'command: [npx, sdq, run, --sweep-params, "${args_json_file}"]';
    writeFileSync(
      path.join(cwd, 'wrong.yaml'),
      `method: random\nrun_cap: 2\n${command}\nparameters:\n  train:\n    parameters: {epoch: {value: 3}}\n  search.epochs: {min: 1.0, max: 3}\n  model.name: {values: [cnn-small, resnt20]}\n`,
    );
    for (const name of ['validate', 'run']) {
      const {exitCode, stderr} = await sdq(['sweep', name, 'wrong.yaml'], {cwd});
      expect(exitCode).toBe(3);
      expect(stderr).toContain('/parameters/train/parameters/epoch: /train/epoch: unknown key "epoch"');
      expect(stderr).toContain('Did you mean "epochs"?');
      expect(stderr).toContain('/parameters/search.epochs: /search/epochs: expected a whole number');
      expect(stderr).toContain('Did you mean "resnet20"?');
    }
    const {exitCode, stdout} = await sdq(['sweep', 'validate', 'wrong.yaml', '--json'], {cwd});
    expect(exitCode).toBe(3);
    expect(resultProblems('sweep-validate', stdout)).toEqual([]);
    expect(JSON.parse(stdout)).toMatchObject({valid: false});
    expect(existsSync(runsOf(cwd))).toBe(false);
  }, 60_000);

  test('a metric of validation images is refused on a config without any, unless the sweep sets them', async () => {
    const cwd = job();
    const create = (...flags: string[]): ReturnType<typeof sdq> =>
      sdq(['sweep', 'create', `${flags.length}.yaml`, '--set', 'data.validation=0', ...flags], {cwd});
    const blind = await create();
    expect(blind.exitCode).toBe(3);
    expect(blind.stderr).toContain(
      '/metric/name: "train/accuracy/best" is measured on validation images, and /data/validation of the config is 0.',
    );
    expect(existsSync(path.join(cwd, '0.yaml'))).toBe(false);
    expect(await create('--metric=train/accuracy/test')).toMatchObject({exitCode: 0});
    expect(await create('--parameter', 'data.validation=[16,32]')).toMatchObject({exitCode: 0});
    expect(await create('--parameter', 'data=[{validation: 16}]', '--quiet')).toMatchObject({exitCode: 0});
    expect(await create('--parameter', 'data.validation=[0]', '--quiet', '--json')).toMatchObject({exitCode: 3});
  }, 60_000);

  test('by default the primary metric of the task, in its direction', async () => {
    const cwd = job();
    const created = async (...flags: string[]): Promise<string> => {
      const file = `${flags.length}.yaml`;
      const outcome = await sdq(['sweep', 'create', file, '--set', 'task.name=regression', ...flags], {cwd});
      expect(outcome).toMatchObject({exitCode: 0});
      return readFileSync(path.join(cwd, file), 'utf8');
    };
    expect(await created()).toContain('name: train/mse/best\n  goal: minimize');
    expect(await created('--metric=train/validationMse')).toContain('goal: minimize');
    expect(await created('--metric', 'fullPrecision/r2')).toContain('goal: maximize');
    const {exitCode, stderr} = await sdq(['sweep', 'validate', '0.yaml'], {cwd});
    expect(exitCode).toBe(3);
    expect(stderr).toContain('/metric/name: sdq logs no "train/mse/best"');
  }, 60_000);

  test('what this machine cannot run alone is refused with the way that can', async () => {
    const cwd = job();
    await sdq(['sweep', 'create', 'bayes.yaml', '--method', 'bayes'], {cwd});
    const bayes = await sdq(['sweep', 'run', 'bayes.yaml'], {cwd});
    expect(bayes.exitCode).toBe(3);
    expect(bayes.stderr).toMatch(/chosen by the W&B server; here it is grid or random[^]*wandb sweep bayes.yaml/);
    writeFileSync(
      path.join(cwd, 'endless.yaml'),
      readFileSync(path.join(cwd, 'bayes.yaml'), 'utf8')
        .replace('bayes', 'random')
        .replace(/run_cap.*/, ''),
    );
    const endless = await sdq(['sweep', 'run', 'endless.yaml'], {cwd});
    expect(endless.stderr).toContain('run_cap is missing');
    const existing = await sdq(['sweep', 'create', 'bayes.yaml'], {cwd});
    expect(existing.exitCode).toBe(3);
  }, 60_000);
});

describe('a run that an agent starts', () => {
  const agent = {WANDB_SWEEP_ID: 'abc123', WANDB_RUN_ID: 'def456', WANDB_MODE: 'offline'};

  test('takes nested and dotted parameters, and leaves out what W&B adds', async () => {
    const cwd = job();
    const parameters = {train: {epochs: 2}, 'search.dualRate': 11, seed: 9, _wandb: {}, wandb_version: 1};
    writeFileSync(path.join(cwd, 'params.json'), JSON.stringify(parameters));
    for (const [command, given] of [
      ['run', 'params.json'],
      ['pretrain', JSON.stringify(parameters)],
    ] as const) {
      const {exitCode, stderr} = await sdq([command, '--sweep-params', given, '--json'], {cwd, env: agent});
      expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''});
    }
    for (const {config} of listRuns(runsOf(cwd))) {
      expect(config).toMatchObject({train: {epochs: 2}, search: {epochs: 2, dualRate: 11}, seed: 9});
    }
  }, 60_000);

  test('ends within 10 s of SIGTERM, by the signal: to the agent an exit code above 0 is a failure', async () => {
    const cwd = job();
    writeFileSync(path.join(cwd, 'params.json'), '{"train.epochs": 300}');
    for (const [env, exitCode] of [
      [agent, null],
      [{}, 143],
    ] as const) {
      const {child, outcome} = startSdq(['run', '--sweep-params', 'params.json'], {cwd, env});
      await logged(cwd, 'pretrain/loss', exitCode === null ? 1 : 2);
      const start = Date.now();
      child.kill('SIGTERM');
      expect((await outcome).exitCode).toBe(exitCode);
      expect(Date.now() - start).toBeLessThan(10_000);
    }
    expect(listRuns(runsOf(cwd))).toMatchObject([
      {status: 'interrupted', exitCode: 143},
      {status: 'interrupted', exitCode: 143},
    ]);
  }, 60_000);
});
