/** What `sdq track status` and `sdq track sync` share: the run, its trackers, the table. */
import path from 'node:path';

import {Flags} from '@oclif/core';

import {invalidInput} from '../errors.ts';
import {didYouMean} from '../nearest.ts';
import type {Registry} from '../plugin-api/registry.ts';
import {findRun, type RunRecord} from '../runs/run-directory.ts';
import {trackersOf, trackerStatus, type TrackerSettings, type TrackerStatus} from '../tracking/sync.ts';
import {SdqCommand} from './base-command.ts';
import {runArg} from './run-arg.ts';
import {table} from './table.ts';

export const trackArgs = {
  run: runArg({default: 'latest'}),
};

export const trackFlags = {
  tracker: Flags.string({summary: 'Only this tracker.', helpValue: 'NAME'}),
};

export interface TrackResult {
  readonly runId: string;
  readonly trackers: readonly TrackerStatus[];
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
    const {config, file, registry} = await this.settings({kinds: ['tracker']});
    const {record, directory} = findRun(config.runs.directory, which);
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

  protected showStatus(record: RunRecord, directory: string, trackers: readonly TrackerSettings[]): TrackResult {
    const statuses = trackers.map(({name}) => trackerStatus(directory, name));
    if (statuses.length === 0) {
      this.log(`${record.id} has no trackers; the config names them under \`tracking\`.`);
    } else {
      this.log(
        table(
          [
            {head: 'tracker'},
            {head: 'sent', align: 'right'},
            {head: 'pending', align: 'right'},
            {head: 'failed', align: 'right'},
            {head: 'complete'},
            {head: 'where, or why not'},
          ],
          statuses.map(({complete, failed, message, name, pending, remote, sent}) => [
            name,
            String(sent),
            String(pending),
            String(failed),
            complete ? 'yes' : 'no',
            (complete ? remote : (message ?? remote)) ?? (sent === 0 ? 'nothing sent yet' : '-'),
          ]),
        ),
      );
    }
    return {runId: record.id, trackers: statuses};
  }
}
