/** The trackers of a run seen from outside: what each has, and sending the rest. */

import {acquireLock} from '../lock.ts';
import type {Registry, TrackerDefinition} from '../plugin-api/registry.ts';
import {redactor} from '../redact.ts';
import type {Clock} from '../retry.ts';
import {followJournal, journalOf} from '../runs/journal.ts';
import type {RunRecord} from '../runs/run-record.ts';
import {noProgress, readProgress} from './cursor.ts';
import {runPump, type PumpOutcome} from './pump.ts';
import type {TrackedRun, Tracker, TrackerContext} from '../plugin-api/tracker.ts';

/** One entry of `tracking` in the config: the options stand beside the name. */
export interface TrackerSettings {
  readonly name: string;
  readonly [option: string]: unknown;
}

export interface TrackerStatus {
  readonly name: string;
  /** Events of the journal that are at the server. */
  readonly sent: number;
  /** Events that are not there yet. */
  readonly pending: number;
  /** Events that the server will never take. */
  readonly failed: number;
  /** All is sent and the server knows how the run ended. */
  readonly complete: boolean;
  /** Page of the run at the server, or its id there; null before it is known. */
  readonly remote: string | null;
  /** Why sending stopped. */
  readonly message: string | null;
}

/** Exit code of a process that SIGKILL ended, as shells tell it. */
const killedExitCode = 137;
const syncGraceMs = 24 * 60 * 60 * 1000;
const syncAttempts = 5;

/** What a tracker knows about a run. */
export function trackedRun(record: RunRecord, directory: string): TrackedRun {
  const {command, config, git, id, seed, startedAt, uid, versions} = record;
  return {
    uid,
    id,
    command,
    directory,
    startedAt: Date.parse(startedAt),
    seed,
    config: config as TrackedRun['config'],
    versions,
    git,
  };
}

/** The trackers of a run's config. */
export function trackersOf(record: Pick<RunRecord, 'config'>): readonly TrackerSettings[] {
  return (record.config as {readonly tracking?: readonly TrackerSettings[]}).tracking ?? [];
}

/**
 * Before a run begins: whether the options and the environment of its trackers can work.
 * @throws SdqError (exit 3) that names the variable or the option
 */
export function checkTrackers(
  trackers: readonly TrackerSettings[],
  registry: Registry,
  context: Pick<TrackerContext, 'env' | 'cwd'>,
): void {
  for (const {name, ...options} of trackers) registry.get('tracker', name).check?.({...context, options});
}

/** Makes the connection of one entry of the config. @throws SdqError (exit 3) for an unknown name, or where `check` throws */
export function createTracker(
  registry: Registry,
  {name, ...options}: TrackerSettings,
  context: Omit<TrackerContext, 'options'>,
): Tracker | undefined {
  const definition: TrackerDefinition = registry.get('tracker', name);
  definition.check?.({...context, options});
  return definition.create({...context, options});
}

/** @throws SdqError (exit 3) when the journal is broken */
export function trackerStatus(directory: string, name: string): TrackerStatus {
  const progress = readProgress(directory, name) ?? noProgress;
  const reader = followJournal(journalOf(directory), progress.place);
  try {
    while (reader.read({events: 10_000, bytes: 16 << 20}).length > 0);
    const pending = Math.max(0, reader.place().seq - progress.seq);
    return {
      name,
      sent: progress.seq - progress.refused,
      pending,
      failed: progress.refused,
      complete: progress.closed && pending === 0,
      remote: progress.remote?.url ?? progress.remote?.id ?? null,
      message: progress.failure,
    };
  } finally {
    reader.close();
  }
}

/**
 * Sends what is missing, to each tracker in turn. A run that its process left without a word counts as killed.
 * @throws SdqError (exit 6) when a living process works on the run
 */
export async function syncRun(
  {
    directory,
    record,
    registry,
    trackers,
  }: {
    readonly directory: string;
    readonly record: RunRecord;
    readonly registry: Registry;
    readonly trackers: readonly TrackerSettings[];
  },
  {env, cwd, notice, clock}: Omit<TrackerContext, 'options'> & {readonly clock?: Clock},
): Promise<readonly PumpOutcome[]> {
  const lock = acquireLock(directory);
  const outcomes: PumpOutcome[] = [];
  try {
    for (const settings of trackers) {
      const {name} = settings;
      const {complete} = trackerStatus(directory, name);
      const tracker = complete ? undefined : createTracker(registry, settings, {env, cwd, notice});
      outcomes.push(
        tracker === undefined
          ? {name, complete, message: complete ? null : 'switched off by the environment'}
          : await runPump({
              name,
              tracker,
              run: trackedRun(record, directory),
              journal: journalOf(directory),
              ended: Promise.resolve({
                status: 'killed',
                exitCode: killedExitCode,
                ts: Date.parse(record.endedAt ?? '') || Date.now(),
              }),
              graceMs: syncGraceMs,
              attempts: syncAttempts,
              notice,
              redact: redactor(env),
              ...(clock === undefined ? {} : {clock}),
            }),
      );
    }
  } finally {
    lock.release();
  }
  return outcomes;
}
