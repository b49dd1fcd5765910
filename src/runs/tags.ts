/**
 * The tags of a run: empty files in its folder `tags/`, named after them. A run that another process is writing can be tagged too, and two
 * processes that tag one run at the same time cannot lose each other's tags.
 */
import {readdirSync, rmSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {ExitCode, SdqError} from '../errors.ts';
import {fileError, makeFolder} from '../files.ts';

const pattern = /^[A-Za-z0-9][\w.-]{0,63}$/;

const folderOf = (directory: string): string => path.join(directory, 'tags');

/** Sorted. @param directory of the run @throws SdqError (exit 3) when the folder cannot be read */
export function tagsOf(directory: string): readonly string[] {
  const folder = folderOf(directory);
  try {
    return readdirSync(folder)
      .filter((name) => pattern.test(name))
      .sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw fileError(error, 'read', folder);
  }
}

/** @throws SdqError (exit 2) for a word that is no tag */
function checkTag(tag: string): void {
  if (pattern.test(tag)) return;
  throw new SdqError(
    `"${tag}" is not a tag: letters, digits, ".", "_" and "-" are allowed, at most 64, the first a letter or a digit.`,
    {code: 'invalid-tag', exit: ExitCode.usage},
  );
}

/**
 * Adds and removes tags; a tag that is there already, or that is not there, is no error.
 * @returns the tags after it
 * @throws SdqError (exit 2) for a word that is no tag, (exit 6) when the folder cannot be written
 */
export function changeTags(
  directory: string,
  {add = [], remove = []}: {readonly add?: readonly string[]; readonly remove?: readonly string[]},
): readonly string[] {
  for (const tag of [...add, ...remove]) checkTag(tag);
  const folder = folderOf(directory);
  try {
    if (add.length > 0) makeFolder(folder);
    for (const tag of add) writeFileSync(path.join(folder, tag), '');
    for (const tag of remove) rmSync(path.join(folder, tag), {force: true});
  } catch (error) {
    throw fileError(error, 'write', folder);
  }
  return tagsOf(directory);
}
