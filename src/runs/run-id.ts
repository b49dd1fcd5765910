/** Ids of runs: drawn, reserved and checked. */
import {randomBytes} from 'node:crypto';
import {mkdirSync} from 'node:fs';
import path from 'node:path';

import {ExitCode, SdqError} from '../errors.ts';
import {fileError, makeFolder} from '../files.ts';

const idPattern = /^\d{8}-\d{6}-[a-z]+-[0-9a-f]{4}$/;
const idSuffixes = 1 << 16;

/** Whether a text is the id of a run. @param command of which the run must be; by default of any */
export const isRunId = (text: string, command?: string): boolean =>
  idPattern.test(text) && (command === undefined || text.split('-')[2] === command);

/**
 * E.g. `20261123-211016-run-d13f`: UTC, the command, 16 random bits.
 * @param isTaken of such an id the next free suffix is taken, so that even equal random numbers end in different ids
 * @throws SdqError (exit 6) when every id of this second is taken
 */
export function newRunId(command: string, now: Date, isTaken: (id: string) => boolean = () => false): string {
  const stamp = now.toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15);
  const first = randomBytes(2).readUInt16BE();
  for (let i = 0; i < idSuffixes; i++) {
    const suffix = ((first + i) % idSuffixes).toString(16).padStart(4, '0');
    const id = `${stamp}-${command}-${suffix}`;
    if (!isTaken(id)) return id;
  }
  throw new SdqError(`All ${idSuffixes} ids of runs that start at ${stamp} are taken.`, {
    code: 'no-free-run-id',
    exit: ExitCode.notAvailable,
  });
}
/**
 * Draws the id of a new run and makes its folder, which of several processes one succeeds in.
 * @param isUsed for ids that must not be drawn although they have no folder
 * @throws SdqError (exit 6) when the folder cannot be made
 */
export function reserveRunId(
  root: string,
  command: string,
  now: Date,
  isUsed: (id: string) => boolean = () => false,
): string {
  const exists = (id: string): boolean => {
    try {
      mkdirSync(path.join(root, id));
      return false;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return true;
      throw error;
    }
  };
  try {
    makeFolder(root);
    return newRunId(command, now, (id) => isUsed(id) || exists(id));
  } catch (error) {
    throw fileError(error, 'write', root);
  }
}
