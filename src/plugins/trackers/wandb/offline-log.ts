/**
 * The `.wandb` file of a run, always written, so that `wandb sync` can send the run without us:
 * `wandb/offline-run-YYYYMMDD_HHMMSS-ID/run-ID.wandb`. It follows the journal by itself, whatever the network does.
 *
 * A file is created exclusively and never appended to by a later process. That one reads how far the newest file came (the
 * `num` of its last whole record is the journal's `seq`), and writes the rest into a new file of the same run, marked as
 * resumed. A file torn by a crash is thus as good as a whole one.
 */
import {
  existsSync,
  copyFileSync,
  closeSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import {hostname} from 'node:os';
import path from 'node:path';

import {fileError} from '../../../files.ts';
import {followRun} from '../../../tracking/run-journal.ts';
import type {End, Event, TrackedRun} from '../../../tracking/tracker.ts';
import {artifactOf, clientIdOf, digestOf, manifestDigest, type ArtifactFile} from './artifacts.ts';
import {fileHeader, frameRecord, readFrames} from './framing.ts';
import type {Media} from './media.ts';
import {encodeRecord, fileTypeMedia, readRecordHead, type LogRecord} from './records.ts';
import {addEvents, emptyState, type RowState} from './rows.ts';
import type {WandbSettings} from './settings.ts';
import {description, type RunDescription} from './description.ts';

export interface OfflineLog {
  /** Writes what the journal has and the log has not. @throws SdqError (exit 6) when the disk refuses it */
  catchUp(): void;
  /** Says how the run ended, should the journal not. */
  end(end: End): void;
  /** The files of the run that `wandb sync` has not sent yet, oldest first. */
  files(): readonly string[];
  /** Tells `wandb sync --sync-all` that all of it is at the server. */
  markSynced(): void;
  close(): void;
}

/** Versions of the format's writer and of the oldest server that can read it, as wandb 0.30 writes them. */
const versionInfo = {producer: '0.30.0', minConsumer: '0.40.0'};
const batch = {events: 1000, bytes: 1 << 20};
const syncIntervalMs = 1000;

interface OpenFile {
  readonly fd: number;
  readonly folder: string;
  size: number;
}

/** Opens nothing yet: the first `catchUp` that has something to write makes the file. */
export function openOfflineLog(run: TrackedRun, runId: string, settings: WandbSettings): OfflineLog {
  const parent = path.join(settings.directory ?? run.directory, 'wandb');
  const name = `run-${runId}.wandb`;
  const earlier = earlierFiles(parent, name);
  let {seq: logged, isEnded} = lastRecord(earlier);
  const reader = followRun(run);
  let state: RowState = emptyState;
  let told: RunDescription = description(run, settings, []);
  let file: OpenFile | undefined;
  let isRunTold = false;
  let lastSync = -Infinity;

  const write = (chunks: readonly {readonly record: LogRecord; readonly num?: number}[]): void => {
    const target = (file ??= createFile(parent, runId, name));
    const parts: Uint8Array[] = [];
    let size = target.size;
    const put = (bytes: Uint8Array): void => {
      parts.push(bytes);
      size += bytes.length;
    };
    const head: readonly LogRecord[] = isRunTold
      ? []
      : [{header: {versionInfo}}, {run: runRecord(told, runId, settings, earlier.length > 0, state.lastStep + 1)}];
    if (target.size === 0) put(fileHeader);
    for (const record of head) put(frameRecord(encodeRecord(record), size));
    for (const {record, num} of chunks) put(frameRecord(encodeRecord(record, num), size));
    try {
      const bytes = Buffer.concat(parts);
      // At an explicit position: after a failed write the file is cut, but its own position stays where the write ended.
      for (let written = 0; written < bytes.length;) {
        written += writeSync(target.fd, bytes, written, bytes.length - written, target.size + written);
      }
      if (performance.now() - lastSync >= syncIntervalMs) {
        fsyncSync(target.fd);
        lastSync = performance.now();
      }
    } catch (error) {
      ftruncateSync(target.fd, target.size);
      throw fileError(error, 'write', path.join(target.folder, name));
    }
    target.size = size;
    isRunTold = true;
  };

  const exitRecords = ({exitCode, ts}: End, num: number): {record: LogRecord; num: number}[] => [
    {record: {summary: {update: itemsOf(state.summary)}}, num},
    {record: {exit: {exitCode, runtime: Math.max(0, Math.round((ts - run.startedAt) / 1000))}}, num},
    {record: {final: {}}, num},
  ];

  const take = (events: readonly Event[]): void => {
    const before = told;
    const added = addEvents(state, events, run.startedAt, settings.artifacts);
    told = description(run, settings, events, told);
    const fresh = events.filter(({seq}) => seq > logged);
    if (fresh.length === 0) {
      state = added.state;
      return;
    }
    const rows = new Map(added.rows.map((row) => [row.seq, row]));
    const chunks: {record: LogRecord; num: number}[] = [];
    let ended = isEnded;
    const previous = state;
    state = added.state;
    for (const event of fresh) {
      const num = event.seq;
      const row = rows.get(num);
      ended = event.kind === 'end';
      if (row?.media !== undefined) {
        chunks.push({record: {files: {files: [{path: row.media.path, type: fileTypeMedia}]}}, num});
        file ??= createFile(parent, runId, name);
        writeMedia(path.join(file.folder, 'files', row.media.path), row.media, run.directory);
      }
      if (row !== undefined) chunks.push({record: {history: {item: itemsOf(row.values), step: {num: row.step}}}, num});
      const artifact = artifactOf(event, run, runId, settings.artifacts);
      if (artifact !== undefined) {
        file ??= createFile(parent, runId, name);
        const place = copyArtifact(artifact, file.folder);
        if (place !== undefined)
          chunks.push({record: {artifact: artifactRecord(artifact, place, runId, settings)}, num});
      }
      if (event.kind === 'end') {
        const {exitCode} = event.data as {exitCode: number};
        chunks.push(...exitRecords({status: 'finished', exitCode, ts: event.ts}, num));
      }
    }
    const num = fresh.at(-1)!.seq;
    if (told.config !== before.config && isRunTold) {
      chunks.push({record: {config: {update: configItems(told)}}, num});
    }
    if (told.tags.length !== before.tags.length && isRunTold) {
      chunks.push({record: {run: runRecord(told, runId, settings, earlier.length > 0, state.lastStep + 1)}, num});
    }
    if (!ended) chunks.push({record: {summary: {update: itemsOf(state.summary)}}, num});
    try {
      write(chunks);
    } catch (error) {
      state = previous;
      told = before;
      throw error;
    }
    logged = num;
    isEnded = ended;
  };

  let waiting: readonly Event[] = [];
  return {
    catchUp() {
      for (;;) {
        // What the disk refused comes first.
        if (waiting.length === 0) waiting = reader.read(batch);
        if (waiting.length === 0) return;
        take(waiting);
        waiting = [];
      }
    },
    end(end) {
      if (isEnded) return;
      write(exitRecords(end, logged));
      isEnded = true;
    },
    files: () => earlierFiles(parent, name).filter((each) => !existsSync(`${each}.synced`)),
    markSynced() {
      for (const each of earlierFiles(parent, name)) writeFileSync(`${each}.synced`, '');
    },
    close() {
      reader.close();
      if (file === undefined) return;
      try {
        fsyncSync(file.fd);
      } finally {
        closeSync(file.fd);
      }
    },
  };
}

/** The run's files so far, oldest first. */
function earlierFiles(parent: string, name: string): readonly string[] {
  const runId = name.slice('run-'.length, -'.wandb'.length);
  try {
    return readdirSync(parent)
      .filter((folder) => folder.startsWith('offline-run-') && folder.endsWith(`-${runId}`))
      .sort()
      .map((folder) => path.join(parent, folder, name))
      .filter((file) => existsSync(file));
  } catch {
    return [];
  }
}

/** How far the newest file with events came; a process may have been killed right after it made a file. */
function lastRecord(files: readonly string[]): {seq: number; isEnded: boolean} {
  for (const file of files.toReversed()) {
    let last = {seq: 0, isEnded: false};
    for (const frame of readFrames(file)) {
      const {num, isExit} = readRecordHead(frame);
      last = {seq: Math.max(last.seq, num), isEnded: isExit || (last.isEnded && num === last.seq)};
    }
    if (last.seq > 0) return last;
  }
  return {seq: 0, isEnded: false};
}

/** The second counts in the name: another file of the same second takes the next free one. */
function createFile(parent: string, runId: string, name: string): OpenFile {
  for (let time = Date.now(); ; time += 1000) {
    const stamp = new Date(time).toISOString().replaceAll(/[-:]/g, '').replace('T', '_').slice(0, 15);
    const folder = path.join(parent, `offline-run-${stamp}-${runId}`);
    const file = path.join(folder, name);
    try {
      mkdirSync(path.join(folder, 'files'), {recursive: true});
      return {fd: openSync(file, 'wx'), folder, size: 0};
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw fileError(error, 'write', file);
    }
  }
}

function writeMedia(file: string, {content}: Media, directory: string): void {
  if ('file' in content) {
    copy(path.join(directory, content.file), file);
    return;
  }
  try {
    mkdirSync(path.dirname(file), {recursive: true});
    writeFileSync(file, content.text);
  } catch (error) {
    throw fileError(error, 'write', file);
  }
}

/** `wandb sync` deletes the files of an artifact after sending them: it gets a copy. Undefined: the file is gone. */
function copyArtifact({file, name}: ArtifactFile, folder: string): string | undefined {
  const target = path.join(folder, 'artifacts', name, path.basename(file));
  return copy(file, target) ? target : undefined;
}

/** @returns false when there is no such file any more */
function copy(file: string, target: string): boolean {
  try {
    mkdirSync(path.dirname(target), {recursive: true});
    copyFileSync(file, target);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw fileError(error, 'write', target);
  }
}

function artifactRecord(
  {name, type}: ArtifactFile,
  localPath: string,
  runId: string,
  {entity, project}: WandbSettings,
): NonNullable<LogRecord['artifact']> {
  const {digest, size} = digestOf(localPath);
  const entry = path.basename(localPath);
  const whole = manifestDigest([[entry, digest]]);
  return {
    runId,
    project,
    entity: entity ?? '',
    type,
    name,
    digest: whole,
    aliases: ['latest'],
    manifest: {
      version: 1,
      storagePolicy: 'wandb-storage-policy-v1',
      storagePolicyConfig: [{key: 'storageLayout', valueJson: '"V2"'}],
      contents: [{path: entry, digest, size, localPath}],
    },
    finalize: true,
    clientId: clientIdOf(name, whole),
    sequenceClientId: clientIdOf(name, ''),
  };
}

function itemsOf(values: ReadonlyMap<string, string>): {key: string; valueJson: string}[] {
  return [...values].map(([key, valueJson]) => ({key, valueJson}));
}

function configItems({config}: RunDescription): {key: string; valueJson: string}[] {
  return Object.entries(config).map(([key, value]) => ({key, valueJson: JSON.stringify(value ?? null)}));
}

function runRecord(
  told: RunDescription,
  runId: string,
  {entity, group, jobType, notes, project, sweepId}: WandbSettings,
  resumed: boolean,
  startingStep: number,
): NonNullable<LogRecord['run']> {
  const {commit, name, startedAt, tags} = told;
  return {
    runId,
    entity: entity ?? '',
    project,
    config: {update: configItems(told)},
    runGroup: group,
    jobType,
    displayName: name,
    notes,
    tags,
    sweepId: sweepId ?? '',
    host: hostname(),
    startingStep: resumed ? startingStep : 0,
    startTime: {seconds: Math.floor(startedAt / 1000), nanos: (startedAt % 1000) * 1_000_000},
    resumed,
    ...(commit === undefined ? {} : {git: {commit}}),
  };
}
