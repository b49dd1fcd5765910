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
  openSync,
  readdirSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import {hostname} from 'node:os';
import path from 'node:path';

import {fileError, makeFolder} from '../../../files.ts';
import {followRun} from '../../../tracking/run-journal.ts';
import type {End, Event, TrackedRun} from '../../../plugin-api/tracker.ts';
import {artifactOf, clientIdOf, digestOf, manifestDigest, type ArtifactFile} from './artifacts.ts';
import {fileHeader, frameRecord, readFrames} from './framing.ts';
import type {MediaFile} from './media.ts';
import {encodeRecord, fileTypes, readRecordHead, type LogRecord} from './records.ts';
import {addEvents, emptyState, type Row, type RowState} from './rows.ts';
import {endFiles, isPreempted, startFiles} from './run-files.ts';
import type {WandbSettings} from './settings.ts';
import {description, labelsOf, stepMetric, type RunDescription} from './description.ts';

/** Versions of the format's writer and of the oldest server that can read it, as wandb 0.30 writes them. */
const versionInfo = {producer: '0.30.0', minConsumer: '0.40.0'};
const batch = {events: 1000, bytes: 1 << 20};
const syncIntervalMs = 1000;

interface OpenFile {
  readonly fd: number;
  readonly folder: string;
  size: number;
}

interface Chunk {
  readonly record: LogRecord;
  readonly num: number;
}

/** What the log stands for so far; changed only when all of it is on the disk. */
interface LogState {
  readonly rows: RowState;
  readonly description: RunDescription;
  /** `seq` of the last event in the log. */
  readonly logged: number;
  readonly isEnded: boolean;
}

/** Makes no file yet: the first `catchUp` that has something to write does. */
export class OfflineLog {
  readonly #run: TrackedRun;
  readonly #runId: string;
  readonly #settings: WandbSettings;
  readonly #parent: string;
  readonly #name: string;
  /** An earlier process has written files of this run. */
  readonly #isResumed: boolean;
  readonly #reader: ReturnType<typeof followRun>;
  #state: LogState;
  #file: OpenFile | undefined;
  #hasRunRecord = false;
  #lastSync = -Infinity;
  /** What the disk refused comes first. */
  #waiting: readonly Event[] = [];

  constructor(run: TrackedRun, runId: string, settings: WandbSettings) {
    this.#run = run;
    this.#runId = runId;
    this.#settings = settings;
    this.#parent = path.join(settings.directory ?? run.directory, 'wandb');
    this.#name = `run-${runId}.wandb`;
    const earlier = earlierFiles(this.#parent, this.#name);
    this.#isResumed = earlier.length > 0;
    const {isEnded, seq} = lastRecord(earlier);
    this.#reader = followRun(run);
    this.#state = {rows: emptyState, description: description(run, settings, []), logged: seq, isEnded};
  }

  /** Writes what the journal has and the log has not. @throws SdqError (exit 6) when the disk refuses it */
  catchUp(): void {
    for (;;) {
      if (this.#waiting.length === 0) this.#waiting = this.#reader.read(batch);
      if (this.#waiting.length === 0) return;
      this.#take(this.#waiting);
      this.#waiting = [];
    }
  }

  /** @param ts milliseconds since 1970-01-01 UTC @throws SdqError (exit 6) when the disk refuses it */
  logSystem(values: Readonly<Record<string, number>>, ts: number): void {
    const item = Object.entries(values).map(([key, value]) => ({key, valueJson: JSON.stringify(value)}));
    const record = {stats: {timestamp: timestampOf(ts), item}};
    this.#write([{record, num: this.#state.logged}], this.#state);
  }

  /** Says how the run ended, should the journal not. @throws SdqError (exit 6) when the disk refuses it */
  end(end: End): void {
    if (this.#state.isEnded) return;
    this.#write(this.#exitRecords(end, this.#state), this.#state);
    this.#state = {...this.#state, isEnded: true};
  }

  /** The files of the run that `wandb sync` has not sent yet, oldest first. */
  files(): readonly string[] {
    return earlierFiles(this.#parent, this.#name).filter((each) => !existsSync(`${each}.synced`));
  }

  /** Tells `wandb sync --sync-all` that all of it is at the server. */
  markSynced(): void {
    for (const each of earlierFiles(this.#parent, this.#name)) writeFileSync(`${each}.synced`, '');
  }

  close(): void {
    this.#reader.close();
    if (this.#file === undefined) return;
    try {
      fsyncSync(this.#file.fd);
    } finally {
      closeSync(this.#file.fd);
    }
  }

  #take(events: readonly Event[]): void {
    const {description: before, isEnded, logged} = this.#state;
    const added = addEvents(this.#state.rows, events, this.#run.startedAt, this.#settings);
    const fresh = events.filter(({seq}) => seq > logged);
    const last = fresh.at(-1);
    const after: LogState = {
      rows: added.state,
      description: description(this.#run, this.#settings, events, before),
      logged: last?.seq ?? logged,
      isEnded: last === undefined ? isEnded : last.kind === 'end',
    };
    if (last !== undefined) {
      const rows = new Map(added.rows.map((row) => [row.seq, row]));
      const chunks = fresh.flatMap((event) => this.#chunksOf(event, rows.get(event.seq), after));
      const newMetrics = this.#hasRunRecord ? after.description.metrics.slice(before.metrics.length) : [];
      const definitions = newMetrics.map((name) => ({record: metricRecord(name), num: logged}));
      this.#write([...definitions, ...chunks, ...this.#changes(before, after)], after);
    }
    this.#state = after;
  }

  /** Records of one event, whose files are copied. @throws SdqError (exit 6) when the disk refuses them */
  #chunksOf(event: Event, row: Row | undefined, state: LogState): readonly Chunk[] {
    const num = event.seq;
    const chunks: Chunk[] = [];
    if (row?.media !== undefined) {
      const {files} = row.media;
      chunks.push({record: {files: {files: files.map((file) => ({path: file.path, type: fileTypes.media}))}}, num});
      for (const file of files) {
        writeMedia(path.join(this.#open().folder, 'files', file.path), file, this.#run.directory);
      }
    }
    if (row !== undefined) chunks.push({record: {history: {item: itemsOf(row.values), step: {num: row.step}}}, num});
    const artifact = artifactOf(event, this.#run, this.#runId, this.#settings.artifacts);
    const place = artifact === undefined ? undefined : copyArtifact(artifact, this.#open().folder);
    if (artifact !== undefined && place !== undefined) {
      chunks.push({record: {artifact: artifactRecord(artifact, place, this.#runId, this.#settings)}, num});
    }
    if (event.kind === 'end') {
      const {exitCode, status} = event.data as {exitCode: number; status: string};
      const end = {status: status === 'interrupted' ? 'killed' : 'finished', exitCode, ts: event.ts} as const;
      chunks.push(...this.#exitRecords(end, {...state, logged: num}));
    }
    return chunks;
  }

  /** What events change beside rows: config, tags, summary. */
  #changes(before: RunDescription, after: LogState): readonly Chunk[] {
    const {description: now, isEnded, logged: num, rows} = after;
    const chunks: Chunk[] = [];
    const hasNewConfig = now.config !== before.config || now.classLabels !== before.classLabels;
    if (hasNewConfig && this.#hasRunRecord) {
      chunks.push({record: {config: {update: configItems(now)}}, num});
    }
    if (now.tags.length !== before.tags.length && this.#hasRunRecord) {
      chunks.push({record: {run: this.#runRecord(after)}, num});
    }
    if (!isEnded) chunks.push({record: {summary: {update: itemsOf(rows.summary)}}, num});
    return chunks;
  }

  #exitRecords(end: End, {logged: num, rows}: LogState): readonly Chunk[] {
    const {exitCode, ts} = end;
    const runtime = Math.max(0, Math.round((ts - this.#run.startedAt) / 1000));
    const {directory} = this.#run;
    const names = endFiles(directory, this.#settings).filter((name) =>
      copy(path.join(directory, name), path.join(this.#open().folder, 'files', name)),
    );
    return [
      {record: {summary: {update: itemsOf(rows.summary)}}, num},
      ...(names.length > 0 ? [{record: filesRecord(names), num}] : []),
      ...(isPreempted(end, false) ? [{record: {preempting: {}}, num}] : []),
      {record: {exit: {exitCode, runtime}}, num},
      {record: {final: {}}, num},
    ];
  }

  #runRecord({description: shown, rows}: LogState): NonNullable<LogRecord['run']> {
    return runRecord(shown, this.#runId, this.#settings, this.#isResumed, rows.lastStep + 1);
  }

  /** Appends all of these records or none. */
  #write(chunks: readonly Chunk[], state: LogState): void {
    const target = this.#open();
    const parts: Uint8Array[] = [];
    let size = target.size;
    const put = (bytes: Uint8Array): void => {
      parts.push(bytes);
      size += bytes.length;
    };
    if (target.size === 0) put(fileHeader);
    if (!this.#hasRunRecord) {
      const metrics = [stepMetric, ...state.description.metrics].map(metricRecord);
      const files = this.#isResumed ? [] : [writeStartFiles(this.#run, path.join(target.folder, 'files'))];
      for (const record of [{header: {versionInfo}}, {run: this.#runRecord(state)}, ...files, ...metrics]) {
        put(frameRecord(encodeRecord(record), size));
      }
    }
    for (const {record, num} of chunks) put(frameRecord(encodeRecord(record, num), size));
    try {
      const bytes = Buffer.concat(parts);
      // At an explicit position: after a failed write the file is cut, but its own position stays where the write ended.
      for (let written = 0; written < bytes.length;) {
        written += writeSync(target.fd, bytes, written, bytes.length - written, target.size + written);
      }
      if (performance.now() - this.#lastSync >= syncIntervalMs) {
        fsyncSync(target.fd);
        this.#lastSync = performance.now();
      }
    } catch (error) {
      ftruncateSync(target.fd, target.size);
      throw fileError(error, 'write', path.join(target.folder, this.#name));
    }
    target.size = size;
    this.#hasRunRecord = true;
  }

  #open(): OpenFile {
    return (this.#file ??= createFile(this.#parent, this.#runId, this.#name));
  }
}

/** @param ts milliseconds since 1970-01-01 UTC */
function timestampOf(ts: number): {readonly seconds: number; readonly nanos: number} {
  return {seconds: Math.floor(ts / 1000), nanos: (ts % 1000) * 1_000_000};
}

/** The optimizer step is the x axis of every metric but itself. */
function metricRecord(name: string): LogRecord {
  if (name === stepMetric) return {metric: {name, options: {defined: true}}};
  return {metric: {name, stepMetric, options: {stepSync: true, defined: true}}};
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
      makeFolder(path.join(folder, 'files'));
      return {fd: openSync(file, 'wx'), folder, size: 0};
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw fileError(error, 'write', file);
    }
  }
}

const filesRecord = (names: readonly string[]): LogRecord => ({
  files: {files: names.map((name) => ({path: name, type: fileTypes.wandb}))},
});

/** @returns the record that names them */
function writeStartFiles(run: TrackedRun, folder: string): LogRecord {
  const files = startFiles(run);
  for (const [name, text] of files) {
    try {
      writeFileSync(path.join(folder, name), text);
    } catch (error) {
      throw fileError(error, 'write', path.join(folder, name));
    }
  }
  return filesRecord([...files.keys()]);
}

function writeMedia(file: string, {content}: MediaFile, directory: string): void {
  if ('file' in content) {
    copy(path.join(directory, content.file), file);
    return;
  }
  try {
    makeFolder(path.dirname(file));
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
    makeFolder(path.dirname(target));
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

function configItems(shown: RunDescription): {key: string; valueJson: string}[] {
  const labels = labelsOf(shown);
  const values: Readonly<Record<string, unknown>> = {
    ...shown.config,
    ...(Object.keys(labels).length === 0 ? {} : {_wandb: labels}),
  };
  return Object.entries(values).map(([key, value]) => ({key, valueJson: JSON.stringify(value ?? null)}));
}

function runRecord(
  told: RunDescription,
  runId: string,
  {entity, group, jobType, notes, project, sweepId}: WandbSettings,
  resumed: boolean,
  startingStep: number,
): NonNullable<LogRecord['run']> {
  const {commit, name, remote, startedAt, tags} = told;
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
    startTime: timestampOf(startedAt),
    resumed,
    ...(commit === undefined ? {} : {git: {...(remote === undefined ? {} : {remoteUrl: remote}), commit}}),
  };
}
