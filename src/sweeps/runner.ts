/**
 * Runs the trials of a sweep on this machine, without a server. Each trial is a process of its own with its own run and
 * its own output; what became of them is in `state.json`, written after every change, so that a runner that was killed
 * continues where it stopped: finished trials are not repeated, an interrupted one is resumed, and one whose process
 * outlived the runner is waited for.
 */
import {spawn, type ChildProcess} from 'node:child_process';
import {closeSync, existsSync, openSync} from 'node:fs';
import path from 'node:path';
import {setTimeout} from 'node:timers/promises';

import {ExitCode, invalidInput, SdqError} from '../errors.ts';
import {fileError, makeFolder, readTextBounded, writeFileAtomic} from '../files.ts';
import {acquireLock, isLocked, type Lock} from '../lock.ts';
import {entry, item} from '../lookup.ts';
import {findRun} from '../runs/find-run.ts';
import {reserveRunId} from '../runs/run-id.ts';
import type {StopSignal} from '../runs/signals.ts';
import {isOutclassed} from './hyperband.ts';
import {isTargetReached, lastValue, metricHistory} from './metric-values.ts';
import type {Sweep} from './sweep-file.ts';
import type {Assignment} from './trials.ts';

/** `failed`: its process ended with an exit code above 0; `stopped`: by early_terminate. */
type TrialStatus = 'running' | 'interrupted' | 'finished' | 'failed' | 'stopped';

export interface Trial {
  /** From 1. */
  readonly number: number;
  readonly status: TrialStatus;
  readonly parameters: Assignment;
  readonly runId: string;
  /** Null while it runs, and when a signal ended its process. */
  readonly exitCode: number | null;
  /** The last value of the sweep's metric; null when there is none. */
  readonly metric: number | null;
}

export interface SweepRunOptions {
  readonly sweep: Pick<Sweep, 'file' | 'arguments' | 'metric' | 'earlyTerminate'>;
  /** What each trial has, by its number from 1. */
  readonly trials: ReadonlyMap<number, Assignment>;
  /** Folder of the state and the trials' output. */
  readonly directory: string;
  /** Folder of the runs. */
  readonly runs: string;
  /** Trials at the same time. */
  readonly parallel: number;
  /** Starts the trials that failed in an earlier call once more. */
  readonly retryFailed: boolean;
  /** Program and first arguments that stand for `sdq`. */
  readonly sdq: readonly [string, ...string[]];
  /** Flags that every new trial gets. */
  readonly flags: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly notice: (message: string) => void;
  readonly stop: Pick<StopSignal, 'received' | 'signal'>;
  /** Milliseconds between two looks at running trials. */
  readonly pollMs?: number;
}

const stateFile = 'state.json';
const stateLimitBytes = 64 << 20;
/** By then a trial has finished its step and saved its state, or it is killed. */
const stopMs = 9000;

/**
 * Runs the remaining trials.
 * @returns the trials by number, those of earlier calls included
 * @throws SdqError (exit 6) when another runner has this sweep or the folder cannot be written, (exit 3) when its state
 *   is broken
 */
export async function runSweep(options: SweepRunOptions): Promise<readonly Trial[]> {
  const {directory, notice} = options;
  try {
    makeFolder(directory);
  } catch (error) {
    throw fileError(error, 'write', directory);
  }
  const lock = acquireLock(directory);
  if (lock.tookOver) notice(`Took over ${directory}: the process that held it is gone.`);
  try {
    return await runTrials(options, openTrials(options, lock));
  } finally {
    lock.release();
  }
}

async function runTrials(options: SweepRunOptions, trials: Trials): Promise<readonly Trial[]> {
  const processes = openProcesses(options);
  try {
    const {earlyTerminate, metric} = options.sweep;
    const watch =
      earlyTerminate === null || metric === null
        ? undefined
        : setInterval(() => {
            const histories = new Map(
              trials.all().map(({number, runId}) => [number, metricHistory(path.join(options.runs, runId), metric)]),
            );
            for (const number of processes.running()) {
              const history = histories.get(number) ?? [];
              if (isOutclassed(history, [...histories.values()], earlyTerminate)) processes.endEarly(number);
            }
          }, options.pollMs ?? 5000);
    try {
      const left = trials.left();
      const work = async (): Promise<void> => {
        for (let number = left.shift(); number !== undefined; number = left.shift()) {
          if (options.stop.signal.aborted || trials.isTargetReached()) return;
          await runTrial(number, options, trials, processes);
        }
      };
      await Promise.all(Array.from({length: options.parallel}, work));
    } finally {
      clearInterval(watch);
    }
  } finally {
    processes.close();
  }
  return trials.all();
}

type Trials = ReturnType<typeof openTrials>;
type Processes = ReturnType<typeof openProcesses>;

/** The trials of state.json. */
function openTrials({sweep, trials: wanted, directory, runs, retryFailed}: SweepRunOptions, lock: Lock) {
  const file = path.join(directory, stateFile);
  const trials = new Map(readTrials(directory).map((trial) => [trial.number, trial]));
  const all = (): Trial[] => [...trials.values()].sort((a, b) => a.number - b.number);
  const isDone = (trial: Trial | undefined): boolean =>
    trial !== undefined && ['finished', 'stopped', ...(retryFailed ? [] : ['failed'])].includes(trial.status);
  return {
    all,
    left: () => [...wanted.keys()].filter((number) => !isDone(trials.get(number))),
    get: (number: number) => trials.get(number),
    set(trial: Trial): void {
      trials.set(trial.number, trial);
      lock.check();
      writeFileAtomic(file, `${JSON.stringify({version: 1, sweep: sweep.file, trials: all()}, null, 2)}\n`);
    },
    isTargetReached: () =>
      all().some(({metric}) => sweep.metric !== null && metric !== null && isTargetReached(sweep.metric, metric)),
    newRunId: () =>
      reserveRunId(runs, item(sweep.arguments, 0), new Date(), (id) => all().some(({runId}) => runId === id)),
  };
}

/** The processes of the trials, and their end when the runner is to end. */
function openProcesses({sdq, env, runs, stop}: SweepRunOptions) {
  const children = new Map<number, ChildProcess>();
  const endedEarly = new Set<number>();
  const kill = (): void => {
    for (const child of children.values()) child.kill('SIGKILL');
  };
  let hurry: NodeJS.Timeout | undefined;
  const forward = (): void => {
    for (const child of children.values()) child.kill(stop.received());
    hurry = globalThis.setTimeout(kill, stopMs);
  };
  stop.signal.addEventListener('abort', forward);
  process.on('exit', kill);
  return {
    running: () => children.keys(),
    /** @returns the exit code; null when a signal ended it */
    start(number: number, args: readonly string[], runId: string, log: string): Promise<number | null> {
      const [program, ...first] = sdq;
      const output = openSync(log, 'a');
      const child = spawn(program, [...first, ...args], {
        // A terminal sends its signals to the whole group, but a trial must get each once: from here.
        detached: process.platform !== 'win32',
        stdio: ['ignore', output, output],
        env: {...env, SDQ_RUNS_DIRECTORY: runs, SDQ_RUN_ID: runId},
      });
      closeSync(output);
      children.set(number, child);
      return new Promise((resolve, reject) => {
        child.on('error', reject);
        child.on('close', (code) => {
          children.delete(number);
          resolve(code);
        });
      });
    },
    endEarly(number: number): void {
      if (endedEarly.has(number)) return;
      endedEarly.add(number);
      children.get(number)?.kill('SIGTERM');
    },
    isEndedEarly: (number: number) => endedEarly.has(number),
    close(): void {
      clearTimeout(hurry);
      stop.signal.removeEventListener('abort', forward);
      process.off('exit', kill);
      kill();
    },
  };
}

async function runTrial(number: number, options: SweepRunOptions, trials: Trials, processes: Processes): Promise<void> {
  const {sweep, directory, runs, flags, notice, stop, pollMs = 500} = options;
  const known = trials.get(number);
  const trial: Trial = {
    number,
    status: 'running',
    parameters: entry(options.trials, number),
    runId: known === undefined || known.status === 'failed' ? trials.newRunId() : known.runId,
    exitCode: null,
    metric: null,
  };
  trials.set(trial);
  const folder = path.join(directory, `trial-${String(number).padStart(4, '0')}`);
  const file = path.join(folder, 'params.json');
  writeFileAtomic(file, `${JSON.stringify(trial.parameters, null, 2)}\n`);
  const args = [...sweep.arguments.map((word) => (/^\$\{args_json(_file)?\}$/.test(word) ? file : word)), ...flags];
  const run = path.join(runs, trial.runId);

  const untilEnded = async (): Promise<number | null> => {
    for (;;) {
      if (isLocked(run)) notice(`Trial ${number} still runs as ${trial.runId}; waiting for it.`);
      while (isLocked(run)) {
        if (stop.signal.aborted) return null;
        await setTimeout(pollMs);
      }
      if (stop.signal.aborted) return null;
      const isStarted = existsSync(path.join(run, 'run.json'));
      if (isStarted) {
        const {status, exitCode} = findRun(runs, trial.runId).record;
        if (status === 'finished' || status === 'failed') return exitCode;
      }
      const resume = [item(sweep.arguments, 0), '--resume', trial.runId];
      const code = await processes.start(
        number,
        isStarted ? resume : args,
        trial.runId,
        path.join(folder, 'output.log'),
      );
      // Else the process that a killed runner had started was faster, and has the run.
      if (code !== ExitCode.notAvailable || !isLocked(run)) return code;
    }
  };
  const exitCode = await untilEnded();
  const isInterrupted = stop.signal.aborted || exitCode === ExitCode.interrupted || exitCode === ExitCode.terminated;
  const status =
    exitCode === ExitCode.done
      ? 'finished'
      : processes.isEndedEarly(number)
        ? 'stopped'
        : isInterrupted
          ? 'interrupted'
          : 'failed';
  const metric = sweep.metric === null ? null : lastValue(run, sweep.metric.name);
  trials.set({...trial, status, exitCode, metric});
  const value = sweep.metric === null ? '' : `, ${sweep.metric.name} ${metric ?? 'unknown'}`;
  notice(`Trial ${number} of ${options.trials.size} ${status}${value}: ${JSON.stringify(trial.parameters)}`);
}

/**
 * The trials that a folder of `runSweep` has, of earlier calls.
 * @throws SdqError (exit 3) when its state is broken
 */
export function readTrials(directory: string): readonly Trial[] {
  const file = path.join(directory, stateFile);
  if (!existsSync(file)) return [];
  const broken = (found: string): SdqError =>
    invalidInput('sweep-state-broken', `${file} is not the state of a sweep: ${found}.`, [
      `Start anew: delete ${path.dirname(file)}. The runs stay.`,
    ]);
  let state: unknown;
  try {
    state = JSON.parse(readTextBounded(file, stateLimitBytes));
  } catch (error) {
    if (error instanceof SdqError) throw error;
    throw broken((error as Error).message);
  }
  const {version, trials} = (state ?? {}) as {version?: unknown; trials?: unknown};
  if (version !== 1 || !Array.isArray(trials)) throw broken('no list of trials');
  const isTrial = (trial: Partial<Trial> | null): boolean =>
    Number.isInteger(trial?.number) &&
    typeof trial?.runId === 'string' &&
    ['running', 'interrupted', 'finished', 'failed', 'stopped'].includes(trial.status ?? '') &&
    typeof trial.parameters === 'object';
  const wrong = (trials as (Partial<Trial> | null)[]).findIndex((trial) => !isTrial(trial));
  if (wrong >= 0) throw broken(`/trials/${wrong} is not a trial`);
  return trials as Trial[];
}
