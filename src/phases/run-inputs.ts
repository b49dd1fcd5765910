/** Which files of other runs a run begins with: what its trackers draw lineage from. */
import {existsSync, readFileSync} from 'node:fs';
import path from 'node:path';

import {SdqError} from '../errors.ts';
import {logInput} from '../runs/artifacts.ts';
import {allRuns} from '../runs/find-run.ts';
import type {Run} from '../runs/run-directory.ts';

/** The files that a run leaves for its trackers, and their types. */
const types: Readonly<Record<string, 'strategy' | 'checkpoint'>> = {
  'strategy.json': 'strategy',
  'full-precision.safetensors': 'checkpoint',
  'searched.safetensors': 'checkpoint',
  'quantized.safetensors': 'checkpoint',
};

/**
 * Journals those of the files that a run below `root` made: in its folder, or where its `--output` put a copy. Others are left out.
 * @param files absolute
 */
export function logInputs(run: Run, root: string, files: readonly string[]): void {
  for (const file of new Set(files)) {
    const origin = originOf(root, file);
    if (origin !== undefined && path.dirname(origin) !== run.directory) logTypedInput(run, origin);
  }
}

/** Journals a file of the run itself that a later phase starts from. */
export function logOwnInput(run: Run, name: keyof typeof types): void {
  logTypedInput(run, run.path(name));
}

function logTypedInput(run: Run, file: string): void {
  const type = types[path.basename(file)];
  if (type !== undefined) logInput(run, type, file);
}

/** The file in the folder of the run that made it; undefined where no run did. */
function originOf(root: string, file: string): string | undefined {
  if (existsSync(path.join(path.dirname(file), 'run.json'))) return file;
  try {
    const maker = allRuns(root, {onBroken: () => undefined}).findLast(({record}) => record.output === file);
    if (maker === undefined) return undefined;
    const content = readFileSync(file);
    return Object.keys(types)
      .map((name) => path.join(maker.directory, name))
      .find((each) => existsSync(each) && content.equals(readFileSync(each)));
  } catch (error) {
    // A file that cannot be read has no lineage; the run continues.
    if (error instanceof SdqError || (error as NodeJS.ErrnoException).code !== undefined) return undefined;
    throw error;
  }
}
