/** The runner over a stand-in for `sdq`, which does what its parameters say within milliseconds. */
import {existsSync, mkdtempSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {setTimeout} from 'node:timers/promises';

import {describe, expect, test} from '@jest/globals';

import {runSweep, type SweepRunOptions, type Trial} from '../../../src/sweeps/runner.ts';
import {classification} from '../../../src/plugins/tasks/classification.ts';
import {parseSweep} from '../../../src/sweeps/sweep-file.ts';
import {trialsOf} from '../../../src/sweeps/trials.ts';
import {temporaryFolder} from '../../helpers/temporary-folder.ts';

const base = temporaryFolder();

/** Logs `metric` each step, one every 20 ms; exits with `exit`; waits for a signal where `hang` is set. */
const standIn = path.join(base, 'stand-in.mjs');
writeFileSync(
  standIn,
  `import fs from 'node:fs';
import path from 'node:path';
const {SDQ_RUN_ID: id, SDQ_RUNS_DIRECTORY: runs} = process.env;
const directory = path.join(runs, id);
const file = path.join(directory, 'run.json');
const [, , command, flag, value] = process.argv;
const isResumed = flag === '--resume';
const record = isResumed ? JSON.parse(fs.readFileSync(file, 'utf8')) : {
  version: 1, id, uid: '0-0', command, status: 'running', startedAt: '', endedAt: null, resumedAt: [], seed: 0,
  config: JSON.parse(fs.readFileSync(value, 'utf8')), versions: {sdq: '0'}, engine: null, results: {}, journal: 0, exitCode: null,
};
const {exit = 0, metric = 0, steps = 1, hang = false} = record.config;
if (isResumed) record.resumedAt.push('now');
const write = () => fs.writeFileSync(file, JSON.stringify(record));
const end = (status, code) => { record.status = status; record.exitCode = code; write(); process.exit(code); };
fs.mkdirSync(directory, {recursive: true});
write();
for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143]]) process.on(signal, () => end('interrupted', code));
for (let step = 1; step <= steps; step++) {
  const line = {seq: step, ts: 0, kind: 'metric', step, data: {'train/validationAccuracy': metric * step}};
  if (!isResumed) fs.appendFileSync(path.join(directory, 'events.jsonl'), JSON.stringify(line) + '\\n');
  await new Promise((resolve) => setTimeout(resolve, 20));
}
if (hang && !isResumed) await new Promise((resolve) => setTimeout(resolve, 60_000));
end(exit === 0 ? 'finished' : 'failed', exit);
`,
);

const never: SweepRunOptions['stop'] = {received: () => undefined, signal: new AbortController().signal};

function options(sweepYaml: string, change: Partial<SweepRunOptions> = {}): SweepRunOptions {
  const folder = mkdtempSync(path.join(base, 'sweep-'));
  const {sweep} = parseSweep(
    `{metric: {name: train/validationAccuracy, goal: maximize}, command: [sdq, run, --sweep-params, "\${args_json_file}"], ${sweepYaml}}`,
    '/sweep.yaml',
    [classification],
  );
  return {
    sweep: sweep!,
    trials: trialsOf(sweep!, 0),
    directory: path.join(folder, 'sweep'),
    runs: path.join(folder, 'runs'),
    parallel: 2,
    retryFailed: false,
    sdq: [process.execPath, standIn],
    flags: [],
    env: process.env,
    notice: () => undefined,
    stop: never,
    pollMs: 30,
    ...change,
  };
}

const figures = (trials: readonly Trial[]): unknown[] =>
  trials.map(({number, status, exitCode, metric}) => [number, status, exitCode, metric]);

describe('a sweep of trials', () => {
  test('runs each once; the last value of the metric counts; a second call repeats none', async () => {
    const given = options('method: grid, parameters: {metric: {values: [1, 3, 2]}, steps: {value: 2}}');
    const trials = await runSweep(given);
    expect(figures(trials)).toEqual([
      [1, 'finished', 0, 2],
      [2, 'finished', 0, 6],
      [3, 'finished', 0, 4],
    ]);
    expect(await runSweep({...given, sdq: ['/no/such/program']})).toEqual(trials);
    expect(existsSync(path.join(given.directory, 'trial-0003/output.log'))).toBe(true);
  });

  test('goes on after a failure, which is kept until it is asked to try again', async () => {
    const given = options('method: grid, parameters: {exit: {values: [5, 0, 6]}}');
    const trials = await runSweep(given);
    expect(figures(trials)).toEqual([
      [1, 'failed', 5, 0],
      [2, 'finished', 0, 0],
      [3, 'failed', 6, 0],
    ]);
    expect(await runSweep(given)).toEqual(trials);
    const again = await runSweep({...given, retryFailed: true});
    expect(again.map(({runId}, i) => runId === trials[i]!.runId)).toEqual([false, true, false]);
  });

  test('starts no more trials once one has reached the target', async () => {
    const given = options('method: random, run_cap: 9, parameters: {metric: {value: 5}}', {parallel: 1});
    const metric = {...given.sweep.metric!, target: 5};
    const trials = await runSweep({...given, sweep: {...given.sweep, metric}});
    expect(trials).toHaveLength(1);
  });

  test('a trial that hyperband finds worse than the others is stopped', async () => {
    const given = options(
      'method: grid, early_terminate: {type: hyperband, min_iter: 2, eta: 2}, parameters: {metric: {values: [5, 4, 1]}, hang: {value: true}, steps: {value: 3}}',
    );
    const two = [...given.trials].slice(0, 2).map(([number, {metric, steps}]) => [number, {metric, steps}] as const);
    await runSweep({...given, trials: new Map(two)});
    const trials = await runSweep(given);
    expect(trials.map(({status, exitCode}) => [status, exitCode])).toEqual([
      ['finished', 0],
      ['finished', 0],
      ['stopped', 143],
    ]);
  });
});

describe('interrupted', () => {
  test('by a signal: the trials get it once, are kept as interrupted, and are resumed by the next call', async () => {
    const abort = new AbortController();
    const stop: SweepRunOptions['stop'] = {received: () => 'SIGTERM', signal: abort.signal};
    const given = options('method: grid, parameters: {metric: {values: [1, 2, 3]}, hang: {value: true}}');
    const started = runSweep({...given, stop});
    while (startedTrials(given) < 2) await setTimeout(20);
    abort.abort();
    const trials = await started;
    expect(figures(trials)).toEqual([
      [1, 'interrupted', 143, 1],
      [2, 'interrupted', 143, 2],
    ]);
    const resumed = await runSweep({...given, trials: new Map([...given.trials].slice(0, 2))});
    expect(figures(resumed)).toEqual([
      [1, 'finished', 0, 1],
      [2, 'finished', 0, 2],
    ]);
    expect(resumed.map(({runId}) => runId)).toEqual(trials.map(({runId}) => runId));
  });

  test('a trial that outlived its runner is waited for, not started again', async () => {
    const given = options('method: grid, parameters: {metric: {value: 4}}');
    const [trial] = await runSweep(given);
    const state = path.join(given.directory, 'state.json');
    writeFileSync(state, readFileSync(state, 'utf8').replace('"finished"', '"running"'));
    // As if it ran: the lock of a living process, which goes after a while.
    const lock = path.join(given.runs, trial!.runId, 'lock');
    const stat = readFileSync('/proc/self/stat', 'utf8');
    writeFileSync(
      lock,
      JSON.stringify({pid: process.pid, started: stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}),
    );
    const notices: string[] = [];
    const waiting = runSweep({...given, sdq: ['/no/such/program'], notice: (message) => notices.push(message)});
    await setTimeout(100);
    writeFileSync(lock, '{}');
    expect(await waiting).toEqual([trial]);
    expect(notices[0]).toContain(`still runs as ${trial!.runId}`);
  });

  test('a second runner of the same sweep is refused', async () => {
    const given = options('method: grid, parameters: {steps: {value: 10}}');
    const first = runSweep(given);
    await expect(runSweep(given)).rejects.toMatchObject({code: 'directory-locked', oclif: {exit: 6}});
    await first;
  });

  test.each(['{', '{"version": 2}', '{"version": 1, "trials": [{}]}', 'null'])(
    'a broken state, %s, is named',
    async (text) => {
      const given = options('method: grid, parameters: {steps: {value: 1}}');
      await runSweep(given);
      writeFileSync(path.join(given.directory, 'state.json'), text);
      await expect(runSweep(given)).rejects.toMatchObject({code: 'sweep-state-broken', oclif: {exit: 3}});
    },
  );
});

/** Trials that have logged something. */
function startedTrials({runs, directory}: SweepRunOptions): number {
  const state = path.join(directory, 'state.json');
  if (!existsSync(state)) return 0;
  const {trials} = JSON.parse(readFileSync(state, 'utf8')) as {trials: Trial[]};
  return trials.filter(({runId}) => existsSync(path.join(runs, runId, 'events.jsonl'))).length;
}
