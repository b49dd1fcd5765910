/** What `sdq runs delete` and `sdq runs prune` share: what would go, the question, the deletion. */
import {Flags} from '@oclif/core';

import {trackersOf, trackerStatus} from '../tracking/sync.ts';
import {isLocked} from '../lock.ts';
import {bytesOf, removeRun} from '../runs/remove-run.ts';
import type {FoundRun} from '../runs/find-run.ts';
import {SdqCommand} from './base-command.ts';
import {confirm} from './confirm.ts';
import {table} from './table.ts';

export const deletionFlags = {
  'dry-run': Flags.boolean({summary: 'Only say what would be deleted.', default: false}),
  yes: Flags.boolean({summary: 'Do not ask for confirmation; required without a terminal and with --json.'}),
};

interface DeletedRun {
  readonly id: string;
  readonly directory: string;
  readonly bytes: number;
}

export interface DeletionResult {
  /** What was deleted, or would be. */
  readonly runs: readonly DeletedRun[];
  /** What stays, and why. */
  readonly kept: readonly {readonly id: string; readonly reason: string}[];
  readonly bytes: number;
  readonly dryRun: boolean;
}

export abstract class DeletionCommand extends SdqCommand {
  /** @param command the command line, for the suggestion where nobody can be asked */
  protected async deleteRuns(
    runs: readonly FoundRun[],
    kept: DeletionResult['kept'],
    flags: {readonly 'dry-run': boolean; readonly yes: boolean},
    command: string,
  ): Promise<DeletionResult> {
    const condemned = runs.map(({record: {id}, directory}) => ({id, directory, bytes: bytesOf(directory)}));
    const bytes = condemned.reduce((sum, run) => sum + run.bytes, 0);
    const rows = [
      ...condemned.map((run) => [run.id, shownBytes(run.bytes), null]),
      ...kept.map(({id, reason}) => [id, null, `stays: ${reason}`]),
    ];
    const dryRun = flags['dry-run'];
    if (rows.length > 0) {
      this.log(
        table(
          [
            {head: 'run', keep: true},
            {head: 'size', align: 'right'},
            {head: '', wrap: true},
          ],
          rows,
        ),
      );
    }
    const what = `${runs.length === 1 ? '1 run' : `${runs.length} runs`}, ${shownBytes(bytes)}`;
    if (runs.length === 0) this.log('Nothing to delete.');
    else if (dryRun) this.log(`${what} would be deleted.`);
    else if (flags.yes || (await confirm(`Delete ${what}`, {json: this.jsonEnabled(), command}))) {
      for (const run of runs) removeRun(run);
      this.log(`Deleted ${what}.`);
    } else {
      this.log('Nothing was deleted.');
      return {runs: [], kept, bytes: 0, dryRun};
    }
    return {runs: condemned, kept, bytes, dryRun};
  }
}

/** Why deleting a run would lose something or stop someone; null where it does neither. */
export function reasonToKeep({record, directory}: FoundRun): string | null {
  if (isLocked(directory)) return 'a process works on it';
  const unsent = trackersOf(record)
    .map(({name}) => trackerStatus(directory, name))
    .find(({pending}) => pending > 0);
  return unsent === undefined ? null : `tracker ${unsent.name} lacks ${unsent.pending} of its events`;
}

/** `12.3 MiB`. */
function shownBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  return `${(bytes / 1024 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power] ?? ''}`;
}
