/** The journal of a run that another process writes. */
import {existsSync, readFileSync} from 'node:fs';
import path from 'node:path';

import {listRuns} from '../../src/runs/find-run.ts';

/** @param runs a folder with one run, or with none yet, which gives '' */
export function journalText(runs: string): string {
  const [run] = listRuns(runs);
  const file = run === undefined ? undefined : path.join(runs, run.id, 'events.jsonl');
  return file !== undefined && existsSync(file) ? readFileSync(file, 'utf8') : '';
}

/** Whole lines. */
export const journalLines = (runs: string): number => journalText(runs).split('\n').length - 1;
