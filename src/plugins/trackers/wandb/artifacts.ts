/** Files of a run as W&B artifacts: what they are called, and the digests that make sending one twice harmless. */
import {createHash} from 'node:crypto';
import {closeSync, openSync, readSync} from 'node:fs';
import path from 'node:path';

import type {Event, TrackedRun} from '../../../plugin-api/tracker.ts';

export interface ArtifactFile {
  /** Name of the artifact: unique in its project. */
  readonly name: string;
  /** `strategy` or `checkpoint`. */
  readonly type: string;
  /** Absolute. */
  readonly file: string;
}

/** The file of an event of kind `artifact`; undefined for other events, for media, and for types that are not sent. */
export function artifactOf(
  {kind, data}: Event,
  run: TrackedRun,
  runId: string,
  types: ReadonlySet<string>,
): ArtifactFile | undefined {
  const {name, path: place, type} = data as {readonly name?: unknown; readonly path?: unknown; readonly type?: unknown};
  if (kind !== 'artifact' || type === 'image' || typeof place !== 'string') return undefined;
  if (typeof type !== 'string' || !types.has(type)) return undefined;
  const plain = (typeof name === 'string' ? name : path.basename(place)).replaceAll(/[^A-Za-z0-9_.-]/g, '-');
  return {name: `run-${runId}-${plain}`, type, file: path.resolve(run.directory, place)};
}

const chunkBytes = 1 << 20;

/** MD5 of a file, base64, as W&B's storage wants it. @throws Error of the file system */
export function digestOf(file: string): {readonly digest: string; readonly size: number} {
  const hash = createHash('md5');
  const chunk = Buffer.alloc(chunkBytes);
  const fd = openSync(file, 'r');
  let size = 0;
  try {
    for (let count = readSync(fd, chunk); count > 0; count = readSync(fd, chunk)) {
      hash.update(chunk.subarray(0, count));
      size += count;
    }
  } finally {
    closeSync(fd);
  }
  return {digest: hash.digest('base64'), size};
}

/** W&B's digest of a manifest: of the names and digests of its files, sorted by name. */
export function manifestDigest(entries: readonly (readonly [string, string])[]): string {
  const hash = createHash('md5').update('wandb-artifact-manifest-v1\n');
  for (const [name, digest] of entries.toSorted(([a], [b]) => (a < b ? -1 : 1))) hash.update(`${name}:${digest}\n`);
  return hash.digest('hex');
}

/** The id that a client gives to an artifact: 128 characters, the same at each try. */
export function clientIdOf(name: string, digest: string): string {
  return createHash('sha512').update(`${name}\n${digest}`).digest('hex');
}
