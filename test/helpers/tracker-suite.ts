/**
 * The faults that every tracker is tested with, each before, during and at the end of the run. Whatever happens: nothing is
 * lost after the next process has sent the rest, nothing is there twice, and the run is never held up.
 */
import {mkdirSync, readdirSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';

import {afterAll, beforeAll, describe, expect, test} from '@jest/globals';

import type {TrackerDefinition} from '../../src/plugin-api/registry.ts';
import {regression} from '../../src/plugins/tasks/regression.ts';
import {openJournal, type Journal} from '../../src/runs/journal.ts';
import {figureNames} from '../../src/sweeps/metric-names.ts';
import {runPump, type PumpOutcome} from '../../src/tracking/pump.ts';
import {redactor} from '../../src/redact.ts';
import type {Clock} from '../../src/retry.ts';
import type {End, TrackedRun} from '../../src/plugin-api/tracker.ts';
import {faultyServer, type Fault, type FaultyServer, type Reply, type Request} from './faulty-server.ts';
import {temporaryFolder} from './temporary-folder.ts';

export interface SeenRow {
  readonly name: string;
  readonly step: number;
  readonly value: number | string;
}

/** The made-up server of a tracker. */
export interface Service {
  handle(request: Request): Reply;
  /** Every value that a metric has, as the server would show them. @param uid of the run */
  rows(uid: string): readonly SeenRow[];
  /** `finished`, `failed` or `killed`; anything else means that the end is not known or the run is there twice. */
  status(uid: string): string | undefined;
}

export interface Subject {
  /** @param timeoutMs longest wait for one answer */
  readonly define: (timeoutMs: number) => TrackerDefinition;
  readonly options: Readonly<Record<string, unknown>>;
  readonly env: (url: string, folder: string) => Readonly<Record<string, string>>;
  readonly service: () => Service;
  /** The secret of `env`, which no file and no message may have. */
  readonly secret: string;
}

/** Longest wait for one answer: long enough for the slowest machine, but where the fault is that none comes. */
const timeoutsMs = {usual: 30_000, silent: 1000};
/** 100 times as fast as the system's. */
const clock: Clock = {
  now: () => 100 * performance.now(),
  wait: (ms, signal) => sleep(ms / 100, undefined, {signal}).catch(() => undefined),
};

const dayMs = 24 * 60 * 60 * 1000;

let runs = 0;

export interface TestRun {
  readonly run: TrackedRun;
  readonly journal: Journal;
  readonly notices: string[];
  /** Sends while the run is on, until `end` is called. */
  readonly start: (systemMetrics?: () => Readonly<Record<string, number>>) => {
    readonly end: (end: Pick<End, 'status' | 'exitCode'>) => Promise<PumpOutcome>;
  };
  /** Sends the rest, as `sdq track sync` does. */
  readonly sync: () => Promise<PumpOutcome>;
}

/** A run with its journal, without training. */
export function testRun(
  {define, env, options}: Subject,
  folder: string,
  url: string,
  {
    config = {seed: 1, search: {epochs: 4}},
    graceMs = dayMs,
    timeoutMs = timeoutsMs.usual,
  }: {
    readonly config?: Readonly<Record<string, unknown>>;
    /** By the suite's clock; a day: as long as it takes. */
    readonly graceMs?: number;
    readonly timeoutMs?: number;
  } = {},
): TestRun {
  const id = `20261123-211016-run-${(runs++).toString(16).padStart(4, '0')}`;
  const directory = path.join(folder, id);
  mkdirSync(directory);
  const file = path.join(directory, 'events.jsonl');
  const run: TrackedRun = {
    uid: `00000000-0000-4000-8000-${runs.toString(16).padStart(12, '0')}`,
    id,
    command: 'run',
    directory,
    startedAt: 1_795_000_000_000,
    seed: 1,
    config,
    versions: {sdq: '0.1.0', node: 'v20'},
    git: null,
  };
  const notices: string[] = [];
  const environment = env(url, folder);
  const pump = (
    ended: Promise<End>,
    limits: {readonly attempts: number; readonly graceMs: number; readonly timeoutMs: number},
    systemMetrics?: () => Readonly<Record<string, number>>,
  ): Promise<PumpOutcome> => {
    const definition = define(limits.timeoutMs);
    const notice = (message: string): void => void notices.push(message);
    const tracker = definition.create({options, env: environment, cwd: folder, notice})!;
    const redact = redactor(environment);
    return runPump({
      name: definition.name,
      tracker,
      run,
      journal: file,
      ended,
      graceMs: limits.graceMs,
      attempts: limits.attempts,
      notice,
      redact,
      clock,
      ...(systemMetrics === undefined ? {} : {systemMetrics}),
    });
  };
  const journal = openJournal(file);
  return {
    run,
    journal,
    notices,
    start(systemMetrics) {
      let tell: (end: End) => void = () => undefined;
      const ended = new Promise<End>((resolve) => (tell = resolve));
      const done = pump(ended, {attempts: Infinity, graceMs, timeoutMs}, systemMetrics);
      return {
        end(end) {
          journal.log('end', {...end, status: end.status === 'killed' ? 'interrupted' : end.status});
          journal.close();
          tell({...end, ts: Date.now()});
          return done;
        },
      };
    },
    sync: () =>
      pump(Promise.resolve({status: 'killed', exitCode: 137, ts: Date.now()}), {
        attempts: 5,
        graceMs: dayMs,
        timeoutMs: timeoutsMs.usual,
      }),
  };
}

const sorted = (rows: readonly SeenRow[]): readonly string[] =>
  rows.map(({name, step, value}) => `${name} ${step} ${value}`).sort();

/** `count` rows of two metrics from step `first` on. @returns what the server must show of them */
export function logRows(journal: Journal, first: number, count: number): readonly SeenRow[] {
  const rows: SeenRow[] = [];
  for (let step = first; step < first + count; step++) {
    journal.log('metric', {'search/loss': 1 / step, 'dbp/conv1/beta': step / 1000}, step);
    rows.push({name: 'search/loss', step, value: 1 / step}, {name: 'dbp/conv1/beta', step, value: step / 1000});
  }
  return rows;
}

const always = (fault: Fault) => (): Fault => fault;
const first =
  (count: number, fault: Fault) =>
  (_: Request, n: number): Fault | undefined =>
    n < count ? fault : undefined;

/** A fault that passes by itself, or one that lasts until the run is over. */
const faults: Readonly<Record<string, {set: (request: Request, n: number) => Fault | undefined; lasts: boolean}>> = {
  '500 for a while': {set: first(3, {status: 500}), lasts: false},
  '500 for ever': {set: always({status: 500}), lasts: true},
  '401': {set: always({status: 401}), lasts: true},
  '429 with Retry-After': {set: first(2, {status: 429, retryAfter: 3}), lasts: false},
  'the connection cut for a while': {set: first(3, 'reset'), lasts: false},
  'the answer lost for a while': {set: first(3, 'lost'), lasts: false},
  'no answer for a while': {set: first(1, 'silent'), lasts: false},
  'no answer for ever': {set: always('silent'), lasts: true},
  'slow answers': {set: always({delayMs: 30}), lasts: false},
  'half a response': {set: first(2, 'half'), lasts: false},
  'wrong JSON': {set: first(2, 'wrong-json'), lasts: false},
};

const moments = ['before', 'during', 'at the end'] as const;

export function trackerFaultSuite(name: string, subject: Subject): void {
  const folder = temporaryFolder();
  const service = subject.service();
  const server: FaultyServer = faultyServer((request) => service.handle(request));
  beforeAll(() => server.start());
  afterAll(() => server.stop());

  /** Waits until the server shows so many values of the run. */
  const shows = async (uid: string, count: number): Promise<void> => {
    while (service.rows(uid).length < count) await sleep(5);
  };

  const expectAllThere = (uid: string, rows: readonly SeenRow[], status: string): void => {
    expect(sorted(service.rows(uid))).toEqual(sorted(rows));
    expect(service.status(uid)).toBe(status);
  };

  const expectNoSecret = (notices: readonly string[]): void => {
    expect(notices.join('\n')).not.toContain(subject.secret);
    const files = readdirSync(folder, {recursive: true, withFileTypes: true}).filter((entry) => entry.isFile());
    for (const entry of files) {
      const content = readFileSync(path.join(entry.parentPath, entry.name));
      expect({file: entry.name, holds: content.includes(subject.secret)}).toEqual({file: entry.name, holds: false});
    }
  };

  describe(`${name}: nothing is lost or doubled with`, () => {
    for (const [faultName, {lasts, set}] of Object.entries(faults)) {
      test.each(moments)(`${faultName}, %s`, async (moment) => {
        const {journal, notices, run, start, sync} = testRun(subject, folder, server.url(), {
          ...(lasts ? {graceMs: 20_000} : {}),
          timeoutMs: faultName.startsWith('no answer') ? timeoutsMs.silent : timeoutsMs.usual,
        });
        const apply = (): void => server.setFault(set);
        if (moment === 'before') apply();
        const pump = start();
        const rows = [...logRows(journal, 1, 5)];
        if (moment !== 'before') await shows(run.uid, rows.length);
        if (moment === 'during') apply();
        rows.push(...logRows(journal, 6, 5));
        if (moment === 'at the end') {
          await shows(run.uid, rows.length);
          apply();
          rows.push(...logRows(journal, 11, 2));
        }
        const outcome = await pump.end({status: 'finished', exitCode: 0});
        expect(outcome.complete).toBe(!lasts);
        server.setFault(undefined);
        expect(await sync()).toEqual({name: outcome.name, complete: true, message: null});
        expectAllThere(run.uid, rows, 'finished');
        // One line when the trouble begins, one when it is over or the run is: never one a try.
        expect(notices.length).toBeLessThanOrEqual(4);
        expectNoSecret(notices);
      });
    }

    test('a server that is not there at the start and comes later', async () => {
      const {journal, run, start} = testRun(subject, folder, server.url());
      await server.stop();
      const pump = start();
      const rows = logRows(journal, 1, 10);
      await sleep(50);
      await server.start();
      expect(await pump.end({status: 'finished', exitCode: 0})).toMatchObject({complete: true});
      expectAllThere(run.uid, rows, 'finished');
    });

    test('a server that restarts in the middle', async () => {
      const {journal, run, start} = testRun(subject, folder, server.url());
      const pump = start();
      const rows = [...logRows(journal, 1, 10)];
      await shows(run.uid, rows.length);
      await server.stop();
      rows.push(...logRows(journal, 11, 10));
      await sleep(50);
      await server.start();
      expect(await pump.end({status: 'finished', exitCode: 0})).toMatchObject({complete: true});
      expectAllThere(run.uid, rows, 'finished');
    });

    test.each(moments)('a disk that refuses the cursor file, %s', async (moment) => {
      const {journal, notices, run, start, sync} = testRun(subject, folder, server.url());
      // A file where the folder of the cursors should be.
      if (moment === 'before') writeFileSync(path.join(run.directory, 'tracking'), '');
      const pump = start();
      const rows = [...logRows(journal, 1, 5)];
      await shows(run.uid, rows.length);
      rows.push(...logRows(journal, 6, 5));
      const outcome = await pump.end({status: 'finished', exitCode: 0});
      expect(outcome).toMatchObject({complete: true});
      expect(notices.filter((text) => text.includes('tracking')).length).toBe(moment === 'before' ? 1 : 0);
      // The cursor is not there, or lost: everything is sent again, to the same run.
      if (moment === 'at the end')
        writeFileSync(path.join(run.directory, 'tracking', `${outcome.name}.json`), '{"torn');
      expect(await sync()).toMatchObject({complete: true});
      expectAllThere(run.uid, rows, 'finished');
    });

    test('a process that dies without a word: the next one sends the rest and tells that it was killed', async () => {
      const {journal, run, sync} = testRun(subject, folder, server.url());
      const rows = logRows(journal, 1, 30);
      journal.close();
      expect(await sync()).toMatchObject({complete: true});
      expectAllThere(run.uid, rows, 'killed');
    });

    test('two runs at once', async () => {
      const both = [1, 2].map(() => testRun(subject, folder, server.url()));
      const started = both.map(({journal, start}) => ({pump: start(), rows: logRows(journal, 1, 20)}));
      const outcomes = await Promise.all(started.map(({pump}) => pump.end({status: 'finished', exitCode: 0})));
      expect(outcomes.map(({complete}) => complete)).toEqual([true, true]);
      for (const [i, {run}] of both.entries()) expectAllThere(run.uid, started[i]!.rows, 'finished');
    });

    test('a config of 10,000 keys, unicode, and values of every size', async () => {
      const config = Object.fromEntries(Array.from({length: 10_000}, (_, i) => [`key${i}`, i]));
      const {journal, run, start} = testRun(subject, folder, server.url(), {
        config: {...config, 'söme "name"': 'Ünïcödé 🚀', long: 'x'.repeat(20_000)},
      });
      const pump = start();
      journal.log('metric', {'search/loss': 1e308, 'search/λ': -5e-324}, 1);
      journal.log('metric', {'search/loss': 2 ** 53}, 2);
      expect(await pump.end({status: 'failed', exitCode: 5})).toMatchObject({complete: true});
      expect(service.status(run.uid)).toBe('failed');
      expect(service.rows(run.uid).map(({value}) => value)).toEqual(expect.arrayContaining([1e308, -5e-324, 2 ** 53]));
    });

    test('the figures of another task, while the server fails for a while', async () => {
      const {journal, run, start} = testRun(subject, folder, server.url(), {config: {task: {name: 'regression'}}});
      server.setFault(first(3, {status: 500}));
      const pump = start();
      const {metrics} = figureNames(regression);
      expect(metrics).toEqual(expect.arrayContaining(['pretrain/validationMse', 'train/mae']));
      const rows = metrics.map((name, i) => ({name, step: i + 1, value: 10 ** (i - 8)}));
      for (const {name, step, value} of rows) journal.log('metric', {[name]: value}, step);
      expect(await pump.end({status: 'finished', exitCode: 0})).toMatchObject({complete: true});
      server.setFault(undefined);
      expectAllThere(run.uid, rows, 'finished');
    });

    test('steps that fall: those rows stay in the journal and are told once', async () => {
      const {journal, notices, run, start} = testRun(subject, folder, server.url());
      const pump = start();
      const rows = [...logRows(journal, 5, 2)];
      logRows(journal, 3, 2);
      rows.push(...logRows(journal, 7, 1));
      expect(await pump.end({status: 'finished', exitCode: 0})).toMatchObject({complete: true});
      expectAllThere(run.uid, rows, 'finished');
      expect(notices.filter((text) => text.includes('step'))).toHaveLength(1);
    });
  });
}
