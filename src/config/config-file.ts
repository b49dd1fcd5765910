/** Finds and reads the config file. */
import {existsSync, statSync} from 'node:fs';
import path from 'node:path';
import {pathToFileURL} from 'node:url';
import {isDeepStrictEqual} from 'node:util';

import {cosmiconfig, type Loader} from 'cosmiconfig';
import {parse} from 'yaml';

import {ExitCode, invalidInput, SdqError} from '../errors.ts';
import {readFileBounded, readTextBounded} from '../files.ts';
import {isMapping} from '../mapping.ts';
import type {Source} from '../schema/settings.ts';

/** A config is a page of text; a file that is larger is something else. */
const maximumBytes = 2 ** 20;

const yamlLoader: Loader = (_, text) => parse(text) as unknown;
const jsonLoader: Loader = (_, text) => JSON.parse(text) as unknown;

/** cosmiconfig's own loader asks `require` after a failure, and tells that one's instead. */
const moduleLoader: Loader = async (file) => ((await import(pathToFileURL(file).href)) as {default?: unknown}).default;

const searchPlaces = [
  'sdq.config.yaml',
  'sdq.config.yml',
  'sdq.config.json',
  'sdq.config.js',
  'sdq.config.mjs',
  '.sdqrc',
  '.sdqrc.yaml',
  '.sdqrc.yml',
  '.sdqrc.json',
  'package.json',
];

/**
 * @param file a certain file, relative to `cwd`; without it the first of the search places in `cwd` or a folder above
 *   it, up to the one that has the project's package.json
 * @returns undefined when there is none
 * @throws SdqError (exit 3) when it cannot be read, is not what its name says, or holds no mapping
 */
export async function readConfigFile(cwd: string, file: string | undefined): Promise<Source | undefined> {
  const settings: Parameters<typeof cosmiconfig>[1] = {
    searchPlaces,
    searchStrategy: 'project',
    // An empty file is a config without settings: the error about what is missing then names it.
    ignoreEmptySearchPlaces: false,
    cache: false,
    loaders: {
      '.yaml': yamlLoader,
      '.yml': yamlLoader,
      '.json': jsonLoader,
      '.js': moduleLoader,
      '.mjs': moduleLoader,
      noExt: yamlLoader,
    },
  };
  const named = file === undefined ? undefined : path.resolve(cwd, file);
  if (named === undefined) assertSizes(cwd);
  else readFileBounded(named, maximumBytes);
  let result;
  try {
    // It reads the package.json of the working folder as it is made.
    const explorer = cosmiconfig('sdq', settings);
    result = await (named === undefined ? explorer.search(cwd) : explorer.load(named));
  } catch (error) {
    const place = (error as {filepath?: string}).filepath ?? named ?? cwd;
    throw new SdqError(`Cannot read the config ${place}: ${error instanceof Error ? error.message : String(error)}`, {
      code: 'config-unreadable',
      exit: ExitCode.invalidInput,
      cause: error,
    });
  }
  if (result === null) return undefined;
  const values = result.isEmpty === true ? {} : plainData(result.config as unknown, result.filepath);
  const hasPlaces = !/(\.m?js|package\.json)$/.test(result.filepath);
  return {
    name: result.filepath,
    base: path.dirname(result.filepath),
    values,
    ...(hasPlaces ? {text: readTextBounded(result.filepath, maximumBytes)} : {}),
  };
}

/** cosmiconfig reads a file whole before it asks. @throws SdqError (exit 3) naming the file in its way that is too large */
function assertSizes(cwd: string): void {
  for (let folder = path.resolve(cwd); ; folder = path.dirname(folder)) {
    for (const name of searchPlaces) {
      const file = path.join(folder, name);
      const size = statSync(file, {throwIfNoEntry: false})?.size ?? 0;
      if (size <= maximumBytes) continue;
      throw invalidInput('file-too-large', `${file} has ${size} bytes; a config has at most ${maximumBytes}.`);
    }
    if (existsSync(path.join(folder, 'package.json')) || folder === path.dirname(folder)) return;
  }
}

/** A config in JavaScript may hold anything; the method wants what JSON can say. */
function plainData(value: unknown, file: string): Record<string, unknown> {
  let copy: unknown;
  try {
    copy = JSON.parse(JSON.stringify(value)) as unknown;
  } catch {
    copy = undefined;
  }
  if (!isMapping(value) || !isMapping(copy)) {
    const kind = Array.isArray(value) ? 'a list' : value === null ? 'nothing' : typeof value;
    throw invalidInput(
      'invalid-config',
      `${file}: expected a mapping of settings, found ${isMapping(value) ? 'a cycle' : kind}.`,
    );
  }
  if (!isDeepStrictEqual(copy, value)) {
    throw invalidInput(
      'invalid-config',
      `${file}: settings must be plain data: no functions, dates, undefined or NaN.`,
    );
  }
  return copy;
}
