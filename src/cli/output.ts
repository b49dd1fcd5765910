/** What commands do with their results. */
import {readFileBounded, writeFileAtomic} from '../files.ts';

const limitBytes = 2 ** 32;

/** Copies a run's file to where the user wants it. @returns the path to tell: the copy's, or the file's own */
export function copyOutput(file: string, output: string | undefined): string {
  if (output === undefined) return file;
  writeFileAtomic(output, readFileBounded(file, limitBytes));
  return output;
}

/** 0.9173 → `91.73`; null stays null. */
export function percent(fraction: number | null): string | null {
  return fraction === null ? null : (100 * fraction).toFixed(2);
}
