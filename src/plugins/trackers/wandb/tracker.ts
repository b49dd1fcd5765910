/**
 * One run at W&B. The `.wandb` log is written first and whatever the network does; rows then go to the file stream, row k
 * as line k, so that a line sent twice is still one line.
 */
import {existsSync, statSync} from 'node:fs';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';

import type {HttpRequest} from '../../../http/message.ts';
import {last} from '../../../lookup.ts';
import {eventsUpTo} from '../../../tracking/run-journal.ts';
import {
  TrackerError,
  type Cursor,
  type End,
  type Event,
  type Json,
  type Pushed,
  type Refusal,
  type RemoteRun,
  type SystemSample,
  type TrackedRun,
  type Tracker,
} from '../../../plugin-api/tracker.ts';
import {artifactOf, inputOf, type ArtifactFile, type ArtifactInput} from './artifacts.ts';
import {runCli} from './cli.ts';
import {description, longTags, type RunDescription} from './description.ts';
import type {OfflineLog} from './offline-log.ts';
import type {MediaFile} from './media.ts';
import {addEvents, emptyState, objectOf, type Row, type RowState} from './rows.ts';
import {startSdk, type SdkRun} from './sdk.ts';
import {configYaml, endFiles, isPreempted, startFiles} from './run-files.ts';
import {systemLine, systemValues} from './system.ts';
import {WandbServer, type RemoteState, type RunPath, type StreamRequest} from './server.ts';
import {idOf, limits, type WandbSettings} from './settings.ts';

/** Kept in the run's folder. */
interface State {
  readonly runId: string;
  readonly entity: string | null;
  readonly project: string;
  /** Lines and `_step` that the server's run had before ours. */
  readonly firstLine: number;
  readonly firstStep: number;
}

export interface TrackerParts {
  readonly settings: WandbSettings;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly notice: (message: string) => void;
  /** Longest wait for one answer. */
  readonly timeoutMs: number;
  /** Pauses before the server's count of lines is looked at again. */
  readonly countPausesMs?: readonly number[];
}

const historyFile = 'wandb-history.jsonl';
const systemFile = 'wandb-events.jsonl';
const summaryFile = 'wandb-summary.json';
/** Of one request; W&B takes 10 MB. */
const requestLimitBytes = 8 << 20;

/** The run at W&B that rows go to. */
interface Remote {
  readonly run: TrackedRun;
  readonly where: RunPath;
  readonly state: State;
  /** What the server shows beside the rows. */
  description: RunDescription;
  /** Of the rows that are sent. */
  rows: RowState;
  /** System metrics that the server has. */
  systemLines: number;
}

export class WandbTracker implements Tracker {
  readonly heartbeatMs = 30_000;
  readonly offline: boolean;
  readonly #parts: TrackerParts;
  readonly #server: WandbServer;
  readonly #sendsRows: boolean;
  #log: OfflineLog | undefined;
  #isLogInTrouble = false;
  #remote: Remote | undefined;
  #sdk: SdkRun | undefined;
  #lastSeq = 0;
  #lastSample = 0;
  #isStopRequested = false;

  constructor(parts: TrackerParts) {
    const {env, settings, timeoutMs} = parts;
    this.#parts = parts;
    this.#server = new WandbServer(settings, env, timeoutMs);
    this.offline = settings.mode !== 'online';
    this.#sendsRows = !this.offline && settings.transport !== 'cli';
  }

  async open(
    run: TrackedRun,
    cursor: Cursor | undefined,
    signal: AbortSignal,
  ): Promise<RemoteRun & {readonly state: Json}> {
    const {settings} = this.#parts;
    const earlier = stateOf(cursor);
    const runId = earlier?.runId ?? settings.runId ?? idOf(run.uid);
    if (this.#log === undefined) {
      // It brings protobuf along.
      const {OfflineLog} = await import('./offline-log.ts');
      this.#log = new OfflineLog(run, runId, settings);
    }
    this.#writeLog();
    this.#lastSeq = cursor?.seq ?? 0;
    const project = earlier?.project ?? settings.project;
    if (this.offline) {
      const state: State = {runId, entity: settings.entity ?? null, project, firstLine: 0, firstStep: 0};
      const where = {entity: settings.entity ?? '', project, runId};
      this.#remote = {run, where, state, description: description(run, settings, []), rows: emptyState, systemLines: 0};
      return {id: runId, state: asJson(state)};
    }
    const entity = earlier?.entity ?? settings.entity ?? (await this.#server.defaultEntity(signal));
    const before = await this.#server.find({entity, project, runId}, signal);
    const begin = beginning(run, runId, {earlier, remote: before, resume: settings.resume});
    const remote = await this.#upsert(run, {entity, project, runId}, begin, signal);
    remote.systemLines = before?.systemLines ?? 0;
    this.#remote = remote;
    if (earlier === undefined) await this.#sendFiles(remote, startFiles(run), signal);
    const lines = before?.lines ?? 0;
    if (this.#sendsRows && remote.rows.count > 0 && lines < begin.firstLine + remote.rows.count) {
      await this.#fill(remote, lines, signal);
    }
    await this.#startSdk(remote);
    return {id: runId, url: pageOf(settings.baseUrl, remote.where), state: asJson(remote.state)};
  }

  async push(batch: readonly Event[], signal: AbortSignal): Promise<Pushed> {
    this.#writeLog();
    const remote = this.#opened();
    const {settings} = this.#parts;
    const artifactIn = (event: Event): ArtifactFile | undefined =>
      artifactOf(event, remote.run, remote.state.runId, settings.artifacts);
    const inputIn = (event: Event): ArtifactInput | undefined =>
      inputOf(event, remote.run, remote.state.runId, settings.artifacts);
    const isFile = (event: Event): boolean => artifactIn(event) !== undefined || inputIn(event) !== undefined;
    // A file goes alone: what stands before it in the batch is sent first.
    const position = this.offline ? -1 : batch.findIndex(isFile);
    const events = position === 0 ? batch.slice(0, 1) : position < 0 ? batch : batch.slice(0, position);
    const seq = events.at(-1)?.seq ?? this.#lastSeq;
    const state = asJson(remote.state);
    this.#lastSeq = seq;
    if (!this.#sendsRows) return {seq, state};
    const [alone] = position === 0 ? batch : [];
    const input = alone === undefined ? undefined : inputIn(alone);
    // Where its run was not sent to this server there is nothing to draw an edge to.
    if (input !== undefined) {
      if (existsSync(input.file)) await this.#server.useArtifact(remote.where, input, signal);
      return {seq, state};
    }
    const artifact = alone === undefined ? undefined : artifactIn(alone);
    if (artifact === undefined) return {seq, state, refused: await this.#sendEvents(remote, events, signal)};
    if (!existsSync(artifact.file)) return {seq, state, refused: [{seq, reason: `${artifact.file} is not there`}]};
    await this.#server.sendArtifact(remote.where, artifact, signal);
    return {seq, state};
  }

  async close(end: End, signal: AbortSignal): Promise<void> {
    const {env, settings} = this.#parts;
    this.#writeLog(end);
    if (this.offline) return;
    if (settings.transport === 'cli') {
      await runCli(this.#log?.files() ?? [], {settings, env, signal});
      return;
    }
    const remote = this.#opened();
    if (this.#sdk !== undefined) {
      await this.#sdk.finish(signal);
      this.#sdk = undefined;
      // The package has overwritten the config, without W&B's `{value: …}` around each key.
      await this.#server.upsert(remote.where, remote.description, signal);
      await this.#checkCount(remote, signal);
      await this.#sendRows(remote, {rows: [], first: remote.rows.count, summary: remote.rows}, signal);
    }
    await this.#sendFiles(remote, new Map([['config.yaml', configYaml(remote.description.config)]]), signal);
    for (const name of endFiles(remote.run.directory, settings)) {
      const body = bodyOf({content: {file: name}}, remote.run.directory);
      if (body !== undefined) await this.#server.upload(remote.where, name, body, signal);
    }
    if (isPreempted(end, this.#isStopRequested)) await this.#stream(remote, {preempting: true}, signal);
    await this.#stream(remote, {complete: true, exitcode: end.exitCode}, signal);
    await this.#checkCount(remote, signal);
    if (!this.#isLogInTrouble) this.#log?.markSynced();
  }

  async heartbeat(signal: AbortSignal): Promise<void> {
    this.#writeLog();
    if (this.#sendsRows) await this.#stream(this.#opened(), {}, signal);
  }

  async logSystem({metrics, ts}: SystemSample, signal: AbortSignal): Promise<void> {
    const remote = this.#opened();
    const values = systemValues(metrics);
    if (ts !== this.#lastSample) this.#tryLog((log) => log.logSystem(values, ts));
    this.#lastSample = ts;
    if (!this.#sendsRows) return;
    const line = systemLine(values, ts, remote.run.startedAt);
    await this.#stream(remote, {files: {[systemFile]: {offset: remote.systemLines, content: [line]}}}, signal);
    remote.systemLines += 1;
  }

  stopRequested(): boolean {
    return this.#isStopRequested;
  }

  async dispose(): Promise<void> {
    this.#writeLog();
    try {
      this.#log?.close();
    } catch (error) {
      this.#parts.notice(`wandb: ${(error as Error).message}`);
    }
    await this.#sdk?.kill();
  }

  #opened(): Remote {
    if (this.#remote === undefined) throw new Error('the tracker is not open');
    return this.#remote;
  }

  /** What the disk refuses now is written at the next call. */
  #writeLog(end?: End): void {
    this.#tryLog((log) => {
      log.catchUp();
      if (end !== undefined) log.end(end);
    });
  }

  /** Tells of a disk that refuses it once. */
  #tryLog(write: (log: OfflineLog) => void): void {
    try {
      if (this.#log !== undefined) write(this.#log);
      this.#isLogInTrouble = false;
    } catch (error) {
      if (!this.#isLogInTrouble)
        this.#parts.notice(`wandb: ${(error as Error).message} The log for \`wandb sync\` waits; the journal has all.`);
      this.#isLogInTrouble = true;
    }
  }

  /** Makes or updates the run, with the state after the events that an earlier process sent. */
  async #upsert(
    run: TrackedRun,
    wanted: RunPath,
    begin: Pick<State, 'firstLine' | 'firstStep'>,
    signal: AbortSignal,
  ): Promise<Remote> {
    const {settings} = this.#parts;
    let rows: RowState = {...emptyState, lastStep: begin.firstStep - 1};
    let shown = description(run, settings, []);
    for (const events of eventsUpTo(run, this.#lastSeq)) {
      rows = addEvents(rows, events, run.startedAt, settings).state;
      shown = description(run, settings, events, shown);
    }
    shown = {...shown, config: {...shown.config, sdq: {...(shown.config['sdq'] as object), ...begin}}};
    const where = await this.#server.upsert(wanted, shown, signal);
    const {entity, project} = where;
    return {
      run,
      where,
      state: {runId: wanted.runId, entity, project, ...begin},
      description: shown,
      rows,
      systemLines: 0,
    };
  }

  async #startSdk({description: shown, rows, where}: Remote): Promise<void> {
    const {cwd, env, notice, settings} = this.#parts;
    if (settings.transport !== 'sdk' || this.#sdk !== undefined || rows.count > 0) return;
    this.#sdk = await startSdk({cwd, settings, where, config: shown.config, name: shown.name, env, notice});
  }

  async #stream({where}: Remote, request: StreamRequest, signal: AbortSignal): Promise<void> {
    if (await this.#server.stream(where, request, signal)) this.#isStopRequested = true;
  }

  /** Sends the rows, files, config and tags of events. @returns what W&B will never take */
  async #sendEvents(remote: Remote, events: readonly Event[], signal: AbortSignal): Promise<readonly Refusal[]> {
    const {notice, settings} = this.#parts;
    const added = addEvents(remote.rows, events, remote.run.startedAt, settings);
    const next = description(remote.run, settings, events, remote.description);
    const {classLabels, config, metrics, tags} = remote.description;
    const hasNewConfig = next.config !== config || next.classLabels !== classLabels;
    if (hasNewConfig || next.metrics !== metrics || next.tags !== tags) {
      await this.#server.upsert(remote.where, next, signal);
      remote.description = next;
      for (const tag of longTags(events)) notice(`wandb: the tag ${tag} is cut: W&B takes ${limits.tag} characters.`);
    }
    const gone = await this.#sendMedia(remote, added.rows, signal);
    if (this.#sdk !== undefined) await this.#sdk.log(added.rows);
    else await this.#sendRows(remote, {rows: added.rows, first: remote.rows.count, summary: added.state}, signal);
    remote.rows = added.state;
    const reason = 'its row is longer than the 10 MB that W&B takes';
    return [...added.refused.map((seq) => ({seq, reason})), ...gone];
  }

  /** @param files texts by their names at W&B */
  async #sendFiles({where}: Remote, files: ReadonlyMap<string, string>, signal: AbortSignal): Promise<void> {
    for (const [name, text] of files) await this.#server.upload(where, name, text, signal);
  }

  /** The files that rows point to. @returns refusals of those that are not there any more */
  async #sendMedia({run, where}: Remote, rows: readonly Row[], signal: AbortSignal): Promise<readonly Refusal[]> {
    const refused: Refusal[] = [];
    for (const {media, seq} of rows) {
      for (const file of media?.files ?? []) {
        const body = bodyOf(file, run.directory);
        if (body !== undefined) await this.#server.upload(where, file.path, body, signal);
        else refused.push({seq, reason: `the file of ${media?.name} is not there`});
      }
    }
    return refused;
  }

  /** @param sent.first number of the first of these rows in the run */
  async #sendRows(
    remote: Remote,
    {first, rows, summary}: {readonly rows: readonly Row[]; readonly first: number; readonly summary: RowState},
    signal: AbortSignal,
  ): Promise<void> {
    let offset = remote.state.firstLine + first;
    const requests = portions(rows);
    for (const [i, content] of requests.entries()) {
      const history = content.length === 0 ? {} : {[historyFile]: {offset, content}};
      const isLast = i === requests.length - 1;
      const whole = isLast ? {[summaryFile]: {offset: 0, content: [objectOf(summary.summary)]}} : {};
      await this.#stream(remote, {files: {...history, ...whole}}, signal);
      offset += content.length;
    }
  }

  /** Sends again what the server lacks of the rows so far. */
  async #fill(remote: Remote, serverLines: number, signal: AbortSignal): Promise<void> {
    const {run, state: begin} = remote;
    let state: RowState = {...emptyState, lastStep: begin.firstStep - 1};
    const there = Math.max(0, serverLines - begin.firstLine);
    for (const events of eventsUpTo(run, this.#lastSeq)) {
      const added = addEvents(state, events, run.startedAt, this.#parts.settings);
      const lacking = added.rows.slice(Math.max(0, there - state.count));
      if (lacking.length > 0) {
        const first = added.state.count - lacking.length;
        await this.#sendMedia(remote, lacking, signal);
        await this.#sendRows(remote, {rows: lacking, first, summary: added.state}, signal);
      }
      state = added.state;
    }
  }

  /** Compares the server's count of rows with ours. @throws TrackerError (permanent) when it stays too small */
  async #checkCount(remote: Remote, signal: AbortSignal): Promise<void> {
    const wanted = remote.state.firstLine + remote.rows.count;
    const count = async (): Promise<number> => (await this.#server.find(remote.where, signal))?.lines ?? 0;
    let lines = 0;
    for (const pause of [0, ...(this.#parts.countPausesMs ?? [500, 2000])]) {
      await sleep(pause, undefined, {signal});
      lines = await count();
      if (lines >= wanted) return;
    }
    await this.#fill(remote, lines, signal);
    const after = await count();
    if (after >= wanted) return;
    throw new TrackerError(`the server says that it has ${after} of ${wanted} rows`, {kind: 'permanent'});
  }
}

const asJson = (state: State): Json => state as unknown as Json;

function stateOf(cursor: Cursor | undefined): State | undefined {
  const state = cursor?.state as unknown as Partial<State> | null | undefined;
  return typeof state?.runId === 'string' && typeof state.project === 'string' ? (state as State) : undefined;
}

/** The lines of rows, in portions for one request each: at least one, which may be empty. */
function portions(rows: readonly Row[]): readonly (readonly string[])[] {
  const lists: string[][] = [[]];
  let size = 0;
  for (const {values} of rows) {
    const line = objectOf(values);
    if (size > 0 && size + line.length > requestLimitBytes) {
      lists.push([]);
      size = 0;
    }
    last(lists).push(line);
    size += line.length;
  }
  return lists;
}

/**
 * Where our rows begin in the server's run: at 0, or after the rows of another one that is continued.
 * @throws TrackerError (permanent) where WANDB_RESUME forbids what is found
 */
function beginning(
  {uid}: TrackedRun,
  runId: string,
  {
    earlier,
    remote,
    resume,
  }: {
    readonly earlier: State | undefined;
    readonly remote: RemoteState | undefined;
    readonly resume: WandbSettings['resume'];
  },
): Pick<State, 'firstLine' | 'firstStep'> {
  const mark = remote?.config['sdq']?.value as Partial<Record<string, unknown>> | undefined;
  if (mark?.['uid'] === uid) {
    return {firstLine: Number(mark['firstLine'] ?? 0), firstStep: Number(mark['firstStep'] ?? 0)};
  }
  if (remote === undefined && resume === 'must') {
    throw new TrackerError(`there is no run ${runId}, and WANDB_RESUME is must`, {kind: 'permanent'});
  }
  if (earlier !== undefined) return {firstLine: earlier.firstLine, firstStep: earlier.firstStep};
  if (remote === undefined) return {firstLine: 0, firstStep: 0};
  if (resume === 'never') {
    throw new TrackerError(`run ${runId} is there already, and WANDB_RESUME is never`, {kind: 'permanent'});
  }
  return {firstLine: remote.lines, firstStep: remote.lastStep + 1};
}

/** What is uploaded; undefined when the file is not there any more. */
function bodyOf({content}: Pick<MediaFile, 'content'>, directory: string): HttpRequest['body'] | undefined {
  if ('text' in content) return content.text;
  const file = path.join(directory, content.file);
  const size = statSync(file, {throwIfNoEntry: false})?.size;
  return size === undefined ? undefined : {file, size};
}

/** Page of a run; the public server has its pages at another address than its interface. */
function pageOf(baseUrl: string, {entity, project, runId}: RunPath): string {
  const site = baseUrl.replace('://api.wandb.ai', '://wandb.ai');
  return `${site}/${encodeURIComponent(entity)}/${encodeURIComponent(project)}/runs/${encodeURIComponent(runId)}`;
}
