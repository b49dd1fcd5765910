/** What `sdq sweep export` writes for SLURM, run by a shell as SLURM would; test/integration/scale-out.test.ts has the schedulers themselves. */
import {spawn} from 'node:child_process';
import {existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {setTimeout} from 'node:timers/promises';

import {beforeAll, expect, test} from '@jest/globals';

import {writeSmallJob} from '../helpers/failures.ts';
import {resultProblems} from '../helpers/result-schemas.ts';
import {bin, sdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';
import {thorough} from '../helpers/thorough.ts';

const cwd = temporaryFolder();
const shared = path.join(cwd, 'shared');
const words = ['sweep.yaml', '--folder', shared];

beforeAll(() => {
  writeSmallJob(cwd);
  writeFileSync(
    path.join(cwd, 'sweep.yaml'),
    `method: grid
metric: {name: pretrain/accuracy/best, goal: maximize}
parameters:
  seed: {values: [1, 2]}
  pretrain.optimizer.learningRate: {value: 0.02}
command: [sdq, pretrain, --sweep-params, "\${args_json_file}"]
`,
  );
});

interface Status {
  readonly best: string | null;
  readonly trials: readonly {
    readonly name: string;
    readonly status: string;
    readonly resumed: number;
    readonly parameters: object;
  }[];
}

async function status(): Promise<Status> {
  const {exitCode, stderr, stdout} = await sdq(['sweep', 'status', ...words, '--json'], {cwd});
  expect({exitCode, stderr, problems: resultProblems('sweep-status', stdout)}).toEqual({
    exitCode: 0,
    stderr: '',
    problems: [],
  });
  return JSON.parse(stdout) as Status;
}

test('a preempted trial of the SLURM script ends with 85 and continues; the status shows it from the shared folder', async () => {
  expect(await status()).toMatchObject({trials: [], best: null});
  const program = ['--program', bin, '--set', 'pretrain.epochs=3'];
  const exported = await sdq(['sweep', 'export', ...words, '--to', 'slurm', ...program, '--json'], {cwd});
  expect(resultProblems('sweep-export', exported.stdout)).toEqual([]);
  const script = path.join(cwd, 'sweep.slurm.sh');
  expect(JSON.parse(exported.stdout)).toMatchObject({path: script, directory: shared, trials: 2});
  expect((await sdq(['sweep', 'export', ...words, '--to', 'slurm'], {cwd})).stderr).toContain('sweep.slurm.sh');

  // The one of SLURM looks for its cluster for a minute.
  mkdirSync(path.join(cwd, 'bin'));
  writeFileSync(path.join(cwd, 'bin/scontrol'), '#!/bin/sh\nexit 1\n', {mode: 0o755});
  const task = async (isPreempted: boolean): Promise<number | null> => {
    const env = {
      ...process.env,
      NODE_ENV: 'production',
      OCLIF_SKIP_NEW_VERSION_CHECK: 'true',
      SLURM_ARRAY_TASK_ID: '2',
      SLURM_ARRAY_JOB_ID: '1',
      SLURM_CPUS_PER_TASK: '1',
      PATH: `${path.join(cwd, 'bin')}:${path.dirname(process.execPath)}:/usr/bin:/bin`,
    };
    const shell = spawn('bash', [script], {cwd, env, stdio: 'ignore'});
    const end = new Promise<number | null>((resolve) => shell.on('close', resolve));
    const trial = path.join(shared, 'trial-0002');
    const hasStep = (): boolean =>
      existsSync(trial) &&
      readdirSync(trial).some((name) => {
        const journal = path.join(trial, name, 'events.jsonl');
        return existsSync(journal) && readFileSync(journal, 'utf8').includes('pretrain/loss');
      });
    while (isPreempted && !hasStep() && shell.exitCode === null) await setTimeout(10);
    if (isPreempted) shell.kill('SIGUSR1');
    return end;
  };
  expect(await task(true)).toBe(85);
  expect((await status()).trials).toMatchObject([{name: '0002', status: 'interrupted', resumed: 0}]);
  // The slow suite has the rest, also under SLURM itself.
  if (!thorough) return;
  expect(await task(false)).toBe(0);
  // Queued again although it had finished.
  expect(await task(false)).toBe(0);
  expect(readdirSync(path.join(shared, 'trial-0002')).filter((name) => /^\d/.test(name))).toHaveLength(1);
  expect(await status()).toMatchObject({
    best: '0002',
    trials: [
      {name: '0002', status: 'finished', resumed: 1, parameters: {seed: 2, 'pretrain.optimizer.learningRate': 0.02}},
    ],
  });
  const shown = await sdq(['sweep', 'status', ...words], {cwd});
  expect(shown.stdout).toMatch(/0002 \*.*finished.*1/);
}, 120_000);

test('what a scheduler does not have is refused by name', async () => {
  const text = readFileSync(path.join(cwd, 'sweep.yaml'), 'utf8');
  const odd = text
    .replace('grid', 'random\nrun_cap: 3')
    .replace('{value: 0.02}', '{values: [0.1, 0.2], probabilities: [0.5, 0.5]}');
  writeFileSync(path.join(cwd, 'odd.yaml'), odd);
  const refused = await sdq(['sweep', 'export', 'odd.yaml', '--to', 'optuna'], {cwd});
  expect(refused.exitCode).toBe(3);
  expect(refused.stderr.replaceAll(/\s+/g, ' ')).toContain(
    '/parameters/pretrain.optimizer.learningRate: Optuna has no categorical_w_probabilities.',
  );
  writeFileSync(path.join(cwd, 'aimless.yaml'), text.replace(/^metric.*\n/m, ''));
  const aimless = await sdq(['sweep', 'export', 'aimless.yaml', '--to', 'ray'], {cwd});
  expect(aimless).toMatchObject({exitCode: 3});
});

test('a grid is a list of values for Ray and Optuna, ranges too, and ends after all of them', async () => {
  const text = readFileSync(path.join(cwd, 'sweep.yaml'), 'utf8');
  writeFileSync(
    path.join(cwd, 'ranges.yaml'),
    text.replace('seed: {values: [1, 2]}', 'seed: {min: 1, max: 3}').replace('{value: 0.02}', '{values: [0.1, 0.2]}'),
  );
  for (const scheduler of ['optuna', 'ray']) {
    const output = path.join(cwd, `ranges.${scheduler}.py`);
    const exported = await sdq(['sweep', 'export', 'ranges.yaml', '--to', scheduler, '--output', output], {cwd});
    expect(exported).toMatchObject({exitCode: 0});
  }
  const optuna = readFileSync(path.join(cwd, 'ranges.optuna.py'), 'utf8');
  expect(optuna).toContain('GridSampler({"pretrain.optimizer.learningRate": [0.1, 0.2], "seed": [1, 2, 3]})');
  expect(optuna).toContain('MaxTrialsCallback(6, ');
  const ray = readFileSync(path.join(cwd, 'ranges.ray.py'), 'utf8');
  expect(ray).toContain('"seed": tune.grid_search([1, 2, 3]),');
});
