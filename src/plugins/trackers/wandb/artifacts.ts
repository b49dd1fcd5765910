/** Files of a run as W&B artifacts: what they are called, and the digests that make sending one twice harmless. */
import {createHash} from 'node:crypto';
import {closeSync, openSync, readSync} from 'node:fs';
import path from 'node:path';

import type {Event, TrackedRun} from '../../../plugin-api/tracker.ts';

import {readTextBounded} from '../../../files.ts';
import {isMapping} from '../../../mapping.ts';
import {readProgress} from '../../../tracking/cursor.ts';
import {idOf} from './settings.ts';

export interface ArtifactFile {
  /** Name of the artifact: unique in its project. */
  readonly name: string;
  /** `strategy`, `checkpoint` or `model`. */
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
  const plain = typeof name === 'string' ? name : path.basename(place);
  return {name: artifactName(runId, plain), type, file: path.resolve(run.directory, place)};
}

const artifactName = (runId: string, file: string): string =>
  `run-${runId}-${file.replaceAll(/[^A-Za-z0-9_.-]/g, '-')}`;

/** An artifact of this or another run that a run starts from. */
export interface ArtifactInput {
  /** Of the artifact. */
  readonly name: string;
  /** Absolute. */
  readonly file: string;
  /** Of the run that made it; undefined: as those of the run that uses it. */
  readonly entity: string | undefined;
  readonly project: string | undefined;
}

/** Longest `run.json` that is read. */
const recordLimitBytes = 1 << 22;

/** The file of an event of type `input`; undefined for other events, for types that are not sent, and where its run is gone. */
export function inputOf(
  {kind, data}: Event,
  run: TrackedRun,
  runId: string,
  types: ReadonlySet<string>,
): ArtifactInput | undefined {
  const {of, path: place, type} = data as {readonly of?: unknown; readonly path?: unknown; readonly type?: unknown};
  if (kind !== 'artifact' || type !== 'input' || typeof place !== 'string' || !types.has(String(of))) return undefined;
  const file = path.resolve(run.directory, place);
  const directory = path.dirname(file);
  const named = (id: string): Pick<ArtifactInput, 'name' | 'file'> => ({
    name: artifactName(id, path.basename(file)),
    file,
  });
  if (directory === run.directory) return {...named(runId), entity: undefined, project: undefined};
  // WANDB_RUN_ID, and where the other run was sent.
  const sent = readProgress(directory, 'wandb')?.state;
  const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
  const {entity, project, runId: sentId} = isMapping(sent) ? sent : {};
  const id = text(sentId) ?? uidIn(path.join(directory, 'run.json'));
  return id === undefined ? undefined : {...named(id), entity: text(entity), project: text(project)};
}

/** The id at W&B that follows from a run's record. */
function uidIn(file: string): string | undefined {
  try {
    const {uid} = JSON.parse(readTextBounded(file, recordLimitBytes)) as {readonly uid?: unknown};
    return typeof uid === 'string' ? idOf(uid) : undefined;
  } catch {
    return undefined;
  }
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
