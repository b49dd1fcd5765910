/**
 * The files of `sdq sweep export` in the tools that they are for: SLURM, Optuna, Ray Tune and the schemas of Kubernetes' API. Needs
 * `npm run build`, `node scripts/python-services.js optuna ray kubernetes-models` and Debian's slurmctld, slurmd and slurm-client; skips
 * where those are missing.
 */
import {spawn, spawnSync} from 'node:child_process';
import {createHash} from 'node:crypto';
import {existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {pathToFileURL} from 'node:url';

import {afterAll, beforeAll, describe, expect, test} from '@jest/globals';
import {parseAllDocuments} from 'yaml';

import {uniform} from '../../src/random.ts';
import {readJournal} from '../../src/runs/journal.ts';
import {listRuns} from '../../src/runs/find-run.ts';
import {smallJob, writeSmallJob} from '../helpers/failures.ts';
import {describeWith, nodeModules, pythonProgram} from '../helpers/python-service.ts';
import {bin, sdq} from '../helpers/sdq.ts';
import {hasSlurm, Slurm} from '../helpers/slurm.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';
import {thorough} from '../helpers/thorough.ts';

const base = temporaryFolder();

/** A sweep whose trials Hyperband stops where the scheduler can, exported. */
async function exported(
  scheduler: string,
  file: string,
  {method = 'random', trials}: {readonly method?: 'grid' | 'random'; readonly trials: number},
): Promise<string> {
  const cwd = mkdtempSync(path.join(base, `${scheduler}-`));
  writeSmallJob(cwd);
  // The state is saved when the trial is stopped, and at no other time.
  const runs = {checkpointSeconds: 3600, logEverySteps: 1};
  writeFileSync(path.join(cwd, 'sdq.config.json'), JSON.stringify({...smallJob, pretrain: {epochs: 4}, runs}));
  const seeds = Array.from({length: trials}, (_, index) => index + 1);
  const random = `run_cap: ${trials}
parameters:
  pretrain.optimizer.learningRate: {distribution: log_uniform_values, min: 0.00001, max: 0.1}
  seed: {values: [1, 2]}
early_terminate: {type: hyperband, min_iter: 1, eta: 2}`;
  const grid = `parameters: {seed: {values: [${seeds.join(', ')}]}}`;
  writeFileSync(
    path.join(cwd, 'sweep.yaml'),
    `method: ${method}
metric: {name: pretrain/validationAccuracy, goal: maximize}
${method === 'grid' ? grid : random}
command: [sdq, pretrain, --sweep-params, "\${args_json_file}"]
`,
  );
  const flags = ['--to', scheduler, '--folder', path.join(cwd, 'shared'), '--program', bin, '--parallel', '3'];
  const {exitCode, stderr} = await sdq(['sweep', 'export', 'sweep.yaml', ...flags, '--output', file], {cwd});
  expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''});
  return cwd;
}

interface Trial {
  readonly status: string;
  readonly run: string;
}

/** What a journal says of the training, row by row, and what came out of it: the weights, by their digest. */
function outcomeOf(run: string): unknown {
  const rows = [...readJournal(path.join(run, 'events.jsonl'))].flatMap(({data, kind, step}) =>
    kind === 'metric' ? [[step, data['pretrain/loss'], data['pretrain/validationAccuracy']]] : [],
  );
  const weights = readFileSync(path.join(run, 'full-precision.safetensors'));
  return {rows, weights: createHash('sha256').update(weights).digest('hex')};
}

/**
 * Finishes the trials that the scheduler stopped, as it would itself, and compares each with the same trial that nothing disturbs: no
 * step is lost or doubled, and the weights are the same to the bit.
 */
async function expectTrials(cwd: string, count: number, flags: readonly string[] = []): Promise<readonly Trial[]> {
  const {stdout} = await sdq(['sweep', 'status', 'sweep.yaml', '--folder', 'shared', '--json'], {cwd});
  const {trials} = JSON.parse(stdout) as {trials: readonly Trial[]};
  expect(trials.length).toBeGreaterThanOrEqual(count);
  expect(trials.some(({status}) => status === 'finished')).toBe(true);
  for (const {run, status} of trials) {
    expect(['finished', 'interrupted']).toContain(status);
    const folder = path.dirname(run);
    const pretrain = (directory: string): ReturnType<typeof sdq> => {
      const words = ['pretrain', '--sweep-params', path.join(folder, 'params.json'), ...flags, '--quiet'];
      return sdq([...words, '--resume', 'auto'], {cwd, env: {SDQ_RUNS_DIRECTORY: directory}});
    };
    if (status === 'interrupted') expect(await pretrain(folder)).toMatchObject({exitCode: 0});
    const undisturbed = path.join(cwd, 'undisturbed', path.basename(folder));
    expect(await pretrain(undisturbed)).toMatchObject({exitCode: 0});
    const [other] = listRuns(undisturbed);
    expect(listRuns(folder)).toHaveLength(1);
    expect(outcomeOf(run)).toEqual(outcomeOf(path.join(undisturbed, other!.id)));
  }
  return trials;
}

const pythonEnv = {NODE_ENV: 'production', RAY_AUTH_MODE: 'disabled', RAY_raylet_start_wait_time_s: '200'};

async function python(service: string, file: string, cwd: string): Promise<void> {
  const child = spawn(pythonProgram(service), [file], {cwd, env: {...process.env, ...pythonEnv}});
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const status = await new Promise((resolve) => child.on('close', resolve));
  expect({status, output: status === 0 ? '' : output}).toEqual({status: 0, output: ''});
}

(thorough ? describeWith('optuna') : describe.skip)('Optuna (in the slow suite)', () => {
  test('two workers share twelve trials; those that are pruned keep their state', async () => {
    const cwd = await exported('optuna', 'worker.py', {trials: 12});
    await Promise.all([python('optuna', 'worker.py', cwd), python('optuna', 'worker.py', cwd)]);
    await expectTrials(cwd, 12);
  }, 300_000);
});

(thorough ? describeWith('ray') : describe.skip)('Ray Tune (in the slow suite)', () => {
  test('runs six trials under ASHA; those that it stops keep their state', async () => {
    const cwd = await exported('ray', 'trials.py', {trials: 6});
    await python('ray', 'trials.py', cwd);
    await expectTrials(cwd, 6);
  }, 600_000);
});

(thorough && hasSlurm ? describe : describe.skip)('SLURM (in the slow suite; slurmctld, slurmd, root)', () => {
  const slurm = new Slurm(path.join(base, 'slurm'), 3);
  beforeAll(() => slurm.start(), 90_000);
  afterAll(() => slurm.stop());

  /** Process of a trial; undefined where it has none now. */
  const processOf = (trial: string): number | undefined => {
    const {stdout} = spawnSync('pgrep', ['-f', `^\\S*node .*${trial}/params.json`], {encoding: 'utf8'});
    return stdout === '' ? undefined : Number(stdout.split('\n')[0]);
  };
  const rowsOf = (trial: string): number => {
    const [run] = existsSync(trial) ? readdirSync(trial).filter((name) => /^\d/.test(name)) : [];
    const journal = path.join(trial, run ?? '', 'events.jsonl');
    return run === undefined || !existsSync(journal)
      ? 0
      : readFileSync(journal, 'utf8').split('pretrain/loss').length - 1;
  };

  test('an array of three is preempted twenty times at random', async () => {
    const cwd = await exported('slurm', 'array.sh', {method: 'grid', trials: 3});
    const script = path.join(cwd, 'array.sh');
    const epochs = ['--set', 'pretrain.epochs=60'];
    writeFileSync(script, readFileSync(script, 'utf8').replace(' --resume auto', ` ${epochs.join(' ')} --resume auto`));
    const job = slurm.submit(['--cpus-per-task=1', script], cwd);
    const until = async (isTrue: () => boolean, stepMs: number): Promise<void> => {
      while (!isTrue()) await sleep(stepMs);
    };
    const states = (): readonly string[] => [...slurm.tasks(job).values()];
    const tasks = [...slurm.tasks(job).keys()];
    expect(tasks).toHaveLength(3);
    const random = uniform(20, 'bench');
    while (slurm.restarts(job) < 20) {
      // Some before their first step. Each is halted as soon as it is so far: the scheduler may start the others seconds later.
      const halted = await Promise.all(
        tasks.map(async (task) => {
          const trial = path.join(cwd, 'shared', `trial-000${task}`);
          const goal = rowsOf(trial) + Math.floor(random() * 8);
          let process: number | undefined;
          await until(() => (process = processOf(trial)) !== undefined, 20);
          await until(() => rowsOf(trial) >= goal, 5);
          kill(process!, 'SIGSTOP');
          return process!;
        }),
      );
      // One that is over says why in its log.
      const logs = states().length === 3 ? [] : readdirSync(cwd).filter((name) => name.endsWith('.log'));
      expect(logs.map((name) => [name, readFileSync(path.join(cwd, name), 'utf8')])).toEqual([]);
      slurm.preempt();
      await until(() => states().every((state) => state !== 'RUNNING'), 100);
      for (const process of halted) kill(process, 'SIGCONT');
      await until(() => states().every((state) => state === 'PENDING'), 100);
      for (const task of tasks) slurm.startNow(job, task);
    }
    await until(() => slurm.tasks(job).size === 0, 200);
    const trials = await expectTrials(cwd, 3, [...epochs, '--set', 'engine.threads=1']);
    expect(trials.map(({status}) => status)).toEqual(['finished', 'finished', 'finished']);
    for (const {run} of trials) expect((outcomeOf(run) as {rows: unknown[]}).rows.length).toBeGreaterThan(360);
  }, 900_000);
});

/** A process that has ended meanwhile is none. */
function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

describeWith('kubernetes-models')('Kubernetes', () => {
  interface Model {
    validate(): void;
  }
  type Models = Readonly<Record<string, new (document: unknown) => Model>>;

  test('the manifest fits the schemas of its API, which refuse another type', async () => {
    const cwd = await exported('kubernetes', 'job.yaml', {trials: 4});
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
    expect(documents[1]).toMatchObject({spec: {completionMode: 'Indexed', completions: 4, parallelism: 3}});
  });
});
