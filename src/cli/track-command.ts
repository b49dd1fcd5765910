/** What `sdq track status` and `sdq track sync` share: the run, its trackers, the table. */
import path from 'node:path';

import {Flags} from '@oclif/core';

import {ExitCode, invalidInput, SdqError} from '../errors.ts';
import {didYouMean} from '../nearest.ts';
import type {Registry} from '../plugin-api/registry.ts';
import {allRuns, findRun, type FoundRun} from '../runs/find-run.ts';
import type {RunRecord} from '../runs/run-record.ts';
import {trackersOf, trackerStatus, type TrackerSettings, type TrackerStatus} from '../tracking/sync.ts';
import {SdqCommand, type Settings} from './base-command.ts';
import {runArg} from './run-arg.ts';
import {table} from './table.ts';

export const trackArgs = {
  run: runArg({description: "A run's folder, its id, a unique beginning of one, or `latest`, which is the default."}),
};

export const trackFlags = {
  tracker: Flags.string({summary: 'Only this tracker.', helpValue: 'NAME'}),
  all: Flags.boolean({summary: 'Every run of runs.directory that has trackers.'}),
};

export interface TrackResult {
  readonly runId: string;
  readonly trackers: readonly TrackerStatus[];
}

/** Of `--all`. */
export interface TrackAllResult {
  readonly runs: readonly TrackResult[];
}

export interface TrackedRunFiles {
  readonly record: RunRecord;
  readonly directory: string;
  /** The run's own; of a run without any, those of the config. */
  readonly trackers: readonly TrackerSettings[];
  readonly registry: Registry;
}

export abstract class TrackCommand extends SdqCommand {
  /** @throws SdqError (exit 3) for an unknown run or tracker */
  protected async trackedRun(which: string, only: string | undefined): Promise<TrackedRunFiles> {
    const settings = await this.settings({kinds: ['tracker']});
    return this.#filesOf(findRun(settings.config.runs.directory, which), settings, only);
  }

  /** Every run of the folder, and a way to load what its trackers need. A broken run is reported and skipped. */
  protected async allTrackedRuns(only: string | undefined): Promise<
    readonly {
      readonly run: FoundRun;
      readonly names: readonly string[];
      readonly load: () => Promise<TrackedRunFiles>;
    }[]
  > {
    const settings = await this.settings({kinds: ['tracker']});
    const runs = allRuns(settings.config.runs.directory, {onBroken: (error) => this.notice(error.message)});
    return runs.flatMap((run) => {
      const trackers = trackersOf(trackersOf(run.record).length > 0 ? run.record : settings);
      const names = trackers.map(({name}) => name).filter((name) => only === undefined || name === only);
      return names.length === 0 ? [] : [{run, names, load: () => this.#filesOf(run, settings, only)}];
    });
  }

  /** @throws SdqError (exit 2) for `--all` beside a run */
  protected checkWhich(run: string | undefined, all: boolean): void {
    if (run === undefined || !all) return;
    throw new SdqError(`--all is every run; "${run}" is one.`, {code: 'usage', exit: ExitCode.usage});
  }

  async #filesOf(
    {record, directory}: FoundRun,
    {config, file, registry}: Settings<never>,
    only: string | undefined,
  ): Promise<TrackedRunFiles> {
    const base = file === undefined ? process.cwd() : path.dirname(file);
    const isOwn = trackersOf(record).length > 0;
    const own = isOwn
      ? await this.storedSettings(
          {
            name: `${path.join(directory, 'run.json')}, config`,
            base,
            values: record.config as Readonly<Record<string, unknown>>,
          },
          ['tracker'],
        )
      : {config, registry};
    const all = trackersOf(own);
    const trackers = only === undefined ? all : all.filter(({name}) => name === only);
    if (only !== undefined && trackers.length === 0) {
      const known = all.map(({name}) => name);
      throw invalidInput(
        'unknown-tracker',
        `${record.id} has no tracker "${only}". ${known.length === 0 ? 'It has none' : `It has: ${known.join(', ')}`}.`,
        didYouMean(only, known),
      );
    }
    return {record, directory, trackers, registry: own.registry};
  }

  /** One line a tracker of a run. */
  protected showAll(runs: readonly {readonly run: FoundRun; readonly names: readonly string[]}[]): TrackAllResult {
    const results = runs.map(({run: {record, directory}, names}) => ({
      runId: record.id,
      trackers: names.map((name) => trackerStatus(directory, name)),
    }));
    const rows = results.flatMap(({runId, trackers}) => trackers.map((status) => [runId, ...cellsOf(status)]));
    this.log(rows.length === 0 ? 'No run has trackers.' : table([{head: 'run'}, ...columns], rows));
    return {runs: results};
  }

  protected showStatus(record: RunRecord, directory: string, trackers: readonly TrackerSettings[]): TrackResult {
    const statuses = trackers.map(({name}) => trackerStatus(directory, name));
    if (statuses.length === 0) {
      this.log(`${record.id} has no trackers; the config names them under \`tracking\`.`);
    } else {
      this.log(table([...columns], statuses.map(cellsOf)));
    }
    return {runId: record.id, trackers: statuses};
  }
}

const columns = [
  {head: 'tracker'},
  {head: 'sent', align: 'right'},
  {head: 'pending', align: 'right'},
  {head: 'failed', align: 'right'},
  {head: 'complete'},
  {head: 'where, or why not'},
] as const;

const cellsOf = ({complete, failed, message, name, pending, remote, sent}: TrackerStatus): string[] => [
  name,
  String(sent),
  String(pending),
  String(failed),
  complete ? 'yes' : 'no',
  (complete ? remote : (message ?? remote)) ?? (sent === 0 ? 'nothing sent yet' : '-'),
];
