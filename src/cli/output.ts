/** What commands do with their results. */
import path from 'node:path';

import {checkFree, readFileBounded, writeFileAtomic} from '../files.ts';

/**
 * Text that quotes a file, without what a terminal obeys: a file may hold escape sequences. Tabs and line feeds stay.
 */
export function withoutControls(text: string): string {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '\ufffd');
}

/** Copies a run's file to where the user wants it. @returns the path to tell: the copy's, or the file's own */
export function copyOutput(file: string, output: string | undefined): string {
  if (output === undefined) return file;
  writeFileAtomic(output, readFileBounded(file));
  return output;
}

/**
 * Where a command writes: `--output`, or a default name, which must be free: nobody has said that it may be replaced.
 * @returns the absolute path
 * @throws SdqError (exit 3) when a file of the default name is there
 */
export function outputPath(output: string | undefined, defaultName: string): string {
  const file = path.resolve(output ?? defaultName);
  if (output === undefined) {
    checkFree(file, `Name another file with --output FILE, or replace this one: --output ${path.relative('', file)}.`);
  }
  return file;
}

/** 0.9173 → `91.73`; null stays null. */
export function percent(fraction: number | null): string | null {
  return fraction === null ? null : (100 * fraction).toFixed(2);
}
