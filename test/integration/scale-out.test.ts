/**
 * The files of `sdq sweep export` in the tools that they are for: Optuna, Ray Tune and the schemas of Kubernetes' API. Needs `npm run build`
 * and `node scripts/python-services.js optuna ray kubernetes-models`; skips where those are missing.
 */
import {spawnSync} from 'node:child_process';
import {mkdtempSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {pathToFileURL} from 'node:url';

import {describe, expect, test} from '@jest/globals';
import {parseAllDocuments} from 'yaml';

import {readJournal} from '../../src/runs/journal.ts';
import {smallJob, writeSmallJob} from '../helpers/failures.ts';
import {describeWith, nodeModules, pythonProgram} from '../helpers/python-service.ts';
import {bin, sdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';
import {thorough} from '../helpers/thorough.ts';

const base = temporaryFolder();

/** A sweep of four trials, of which Hyperband stops some, exported. */
async function exported(scheduler: string, file: string): Promise<string> {
  const cwd = mkdtempSync(path.join(base, `${scheduler}-`));
  writeSmallJob(cwd);
  writeFileSync(path.join(cwd, 'sdq.config.json'), JSON.stringify({...smallJob, pretrain: {epochs: 4}}));
  writeFileSync(
    path.join(cwd, 'sweep.yaml'),
    `method: random
run_cap: 4
metric: {name: pretrain/validationAccuracy, goal: maximize}
parameters:
  pretrain.optimizer.learningRate: {distribution: log_uniform_values, min: 0.00001, max: 0.1}
  seed: {values: [1, 2]}
early_terminate: {type: hyperband, min_iter: 1, eta: 2}
command: [sdq, pretrain, --sweep-params, "\${args_json_file}"]
`,
  );
  const flags = ['--to', scheduler, '--folder', path.join(cwd, 'shared'), '--program', bin, '--parallel', '2'];
  const {exitCode, stderr} = await sdq(['sweep', 'export', 'sweep.yaml', ...flags, '--output', file], {cwd});
  expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''});
  return cwd;
}

interface Trial {
  readonly status: string;
  readonly run: string;
}

/** The trials of the folder: every journal has each step once, and a stopped trial has saved its state. */
async function expectTrials(cwd: string): Promise<void> {
  const {stdout} = await sdq(['sweep', 'status', 'sweep.yaml', '--folder', 'shared', '--json'], {cwd});
  const {trials} = JSON.parse(stdout) as {trials: readonly Trial[]};
  expect(trials).toHaveLength(4);
  for (const {run, status} of trials) {
    expect(['finished', 'interrupted']).toContain(status);
    const events = [...readJournal(path.join(run, 'events.jsonl'))];
    const steps = events.flatMap(({step, data}) => (step !== undefined && 'pretrain/loss' in data ? [step] : []));
    expect(steps).toEqual([...new Set(steps)].sort((a, b) => a - b));
  }
  expect(trials.some(({status}) => status === 'finished')).toBe(true);
}

const python = (service: string, file: string, cwd: string): void => {
  const env = {...process.env, NODE_ENV: 'production', RAY_AUTH_MODE: 'disabled', RAY_raylet_start_wait_time_s: '200'};
  const {status, stdout, stderr} = spawnSync(pythonProgram(service), [file], {cwd, encoding: 'utf8', env});
  expect({status, output: status === 0 ? '' : stdout + stderr}).toEqual({status: 0, output: ''});
};

(thorough ? describeWith('optuna') : describe.skip)('Optuna (in the slow suite)', () => {
  test('runs the worker: four trials, those that are pruned keep their state', async () => {
    const cwd = await exported('optuna', 'worker.py');
    python('optuna', 'worker.py', cwd);
    await expectTrials(cwd);
  }, 300_000);
});

(thorough ? describeWith('ray') : describe.skip)('Ray Tune (in the slow suite)', () => {
  test('runs the trainable under ASHA', async () => {
    const cwd = await exported('ray', 'trials.py');
    python('ray', 'trials.py', cwd);
    await expectTrials(cwd);
  }, 600_000);
});

describeWith('kubernetes-models')('Kubernetes', () => {
  interface Model {
    validate(): void;
  }
  type Models = Readonly<Record<string, new (document: unknown) => Model>>;

  test('the manifest fits the schemas of its API, which refuse another type', async () => {
    const cwd = await exported('kubernetes', 'job.yaml');
    const folder = path.join(nodeModules('kubernetes-models'), 'kubernetes-models');
    const load = (group: string): Promise<unknown> => import(pathToFileURL(path.join(folder, group, 'index.js')).href);
    const models = {...((await load('batch/v1')) as Models), ...((await load('v1')) as Models)};
    const documents = parseAllDocuments(readFileSync(path.join(cwd, 'job.yaml'), 'utf8')).map(
      (document) => document.toJS() as {kind: string; spec?: object},
    );
    expect(documents.map(({kind}) => kind)).toEqual(['ConfigMap', 'Job']);
    for (const document of documents) {
      const Model = models[document.kind]!;
      new Model(document).validate();
      const broken = {...document, spec: {...document.spec, completions: 'four'}};
      if (document.kind === 'Job') expect(() => new Model(broken).validate()).toThrow('completions');
    }
    expect(documents[1]).toMatchObject({spec: {completionMode: 'Indexed', completions: 4, parallelism: 2}});
  });
});
