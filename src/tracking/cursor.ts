/** How far a tracker is with a run: `tracking/<name>.json` in the run's folder. It may be lost: servers are asked again. */
import {existsSync} from 'node:fs';
import path from 'node:path';

import {SdqError} from '../errors.ts';
import {readTextBounded, writeFileAtomic} from '../files.ts';
import type {JournalPlace} from '../runs/journal.ts';
import type {End, Json, RemoteRun} from '../plugin-api/tracker.ts';

export interface Progress {
  readonly version: 1;
  /** Every event up to this one is at the server, or was refused. */
  readonly seq: number;
  /** Where reading continues; at or before `seq`. */
  readonly place: JournalPlace;
  /** The last metric's step: steps only grow. */
  readonly step: number;
  /** Events that the server will never take. */
  readonly refused: number;
  /** The newest end that the journal tells of, with nothing after it. */
  readonly end: End | null;
  /** The server has the end of the run, and nothing came after it. */
  readonly closed: boolean;
  /** The tracker's own. */
  readonly state: Json;
  readonly remote: RemoteRun | null;
  /** Why the last process stopped sending before all was sent. */
  readonly failure: string | null;
}

const limitBytes = 1 << 20;

export const noProgress: Progress = {
  version: 1,
  seq: 0,
  place: {seq: 0, offset: 0},
  step: 0,
  refused: 0,
  end: null,
  closed: false,
  state: null,
  remote: null,
  failure: null,
};

function progressFile(directory: string, tracker: string): string {
  return path.join(directory, 'tracking', `${tracker}.json`);
}

/** Undefined when there is none yet, or it is damaged: everything is then compared with the server again. */
export function readProgress(directory: string, tracker: string): Progress | undefined {
  const file = progressFile(directory, tracker);
  if (!existsSync(file)) return undefined;
  try {
    const progress = JSON.parse(readTextBounded(file, limitBytes)) as Progress;
    return isProgress(progress) ? progress : undefined;
  } catch (error) {
    if (error instanceof SdqError || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function isProgress(value: unknown): value is Progress {
  const {version, seq, place, step, refused, closed} = (value ?? {}) as Partial<Progress>;
  const isCount = (count: unknown): boolean => Number.isSafeInteger(count) && (count as number) >= 0;
  return (
    version === 1 &&
    [seq, place?.seq, place?.offset, step, refused].every(isCount) &&
    (place?.seq ?? 0) <= (seq ?? 0) &&
    typeof closed === 'boolean'
  );
}

/** @throws SdqError (exit 6) when the disk refuses it */
export function writeProgress(directory: string, tracker: string, progress: Progress): void {
  writeFileAtomic(progressFile(directory, tracker), `${JSON.stringify(progress, null, 2)}\n`);
}
