/** The files of a data set whose content is known by length and digest. */
import {createHash} from 'node:crypto';
import {createReadStream, statSync} from 'node:fs';
import {readFile} from 'node:fs/promises';
import path from 'node:path';

import {ExitCode, invalidInput, SdqError} from '../errors.ts';
import {fileError} from '../files.ts';

export interface PinnedFile {
  readonly name: string;
  readonly bytes: number;
  readonly algorithm: 'md5' | 'sha256';
  /** Hexadecimal. */
  readonly digest: string;
}

/** @throws SdqError (exit 3) when the file cannot be read */
export async function digestOf(
  file: string,
  algorithm: 'md5' | 'sha256' | 'sha512',
  encoding: 'hex' | 'base64' = 'hex',
): Promise<string> {
  const hash = createHash(algorithm);
  try {
    for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  } catch (error) {
    throw fileError(error, 'read', file);
  }
  return hash.digest(encoding);
}

/** What is wrong with the file in this folder; undefined when it is as pinned. @throws SdqError (exit 3) */
async function faultOf(directory: string, {name, bytes, algorithm, digest}: PinnedFile): Promise<string | undefined> {
  const file = path.join(directory, name);
  const stat = statSync(file, {throwIfNoEntry: false});
  if (stat === undefined) return `${file} is missing.`;
  if (stat.size !== bytes) return `${file} has ${stat.size} bytes; ${bytes} are expected.`;
  const actual = await digestOf(file, algorithm);
  return actual === digest ? undefined : `${file} has ${algorithm} ${actual}; ${digest} is expected.`;
}

/** One message a file that is missing or not as pinned. */
export async function faultsOf(directory: string, files: readonly PinnedFile[]): Promise<readonly string[]> {
  const faults = await Promise.all(files.map((file) => faultOf(directory, file)));
  return faults.filter((fault) => fault !== undefined);
}

/**
 * The bytes of a file for a parser, which checks them; the digest is `faultOf`'s.
 * @param dataset for the advice to fetch it
 * @throws SdqError (exit 6) when the file is not there, (exit 3) when it cannot be read or is far too large
 */
export async function readDatasetFile(directory: string, file: PinnedFile, dataset: string): Promise<Uint8Array> {
  const location = path.join(directory, file.name);
  const stat = statSync(location, {throwIfNoEntry: false});
  if (stat === undefined) {
    throw new SdqError(`The data set ${dataset} is not there: ${location} does not exist.`, {
      code: 'dataset-not-fetched',
      exit: ExitCode.notAvailable,
      suggestions: [`Run: sdq data fetch ${dataset}`],
    });
  }
  if (stat.size > 2 * file.bytes) {
    throw invalidInput('dataset-file-wrong', `${location} has ${stat.size} bytes; ${file.bytes} are expected.`);
  }
  try {
    return await readFile(location);
  } catch (error) {
    throw fileError(error, 'read', location);
  }
}
