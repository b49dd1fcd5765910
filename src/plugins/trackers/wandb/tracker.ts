/**
 * One run at W&B. The `.wandb` log is written first and whatever the network does; rows then go to the file stream, row k
 * as line k, so that a line sent twice is still one line.
 */
import {existsSync, statSync} from 'node:fs';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';

import type {HttpRequest} from '../../../http.ts';
import {eventsUpTo} from '../../../tracking/run-journal.ts';
import {
  TrackerError,
  type Cursor,
  type End,
  type Json,
  type Refusal,
  type TrackedRun,
  type Tracker,
} from '../../../tracking/tracker.ts';
import {artifactOf} from './artifacts.ts';
import {runCli} from './cli.ts';
import {description, longTags, type RunDescription} from './description.ts';
import type {OfflineLog} from './offline-log.ts';
import type {Media} from './media.ts';
import {addEvents, emptyState, objectOf, type Row, type RowState} from './rows.ts';
import {startSdk, type SdkRun} from './sdk.ts';
import {connect, type RemoteState, type RunPath, type StreamRequest} from './server.ts';
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

const heartbeatMs = 30_000;
const historyFile = 'wandb-history.jsonl';
const summaryFile = 'wandb-summary.json';
/** Of one request; W&B takes 10 MB. */
const requestLimitBytes = 8 << 20;

export function createWandbTracker({
  countPausesMs = [500, 2000],
  cwd,
  env,
  notice,
  settings,
  timeoutMs,
}: TrackerParts): Tracker {
  const server = connect(settings, env, timeoutMs);
  const isOnline = settings.mode === 'online';
  const sendsRows = isOnline && settings.transport !== 'cli';
  let run: TrackedRun;
  let log: OfflineLog | undefined;
  let where: RunPath;
  let kept: State;
  let told: RunDescription;
  let rows: RowState = emptyState;
  let sdk: SdkRun | undefined;
  let isStopRequested = false;
  let isLogTrouble = false;

  /** What the disk refuses now is written at the next call. */
  const writeLog = (end?: End): void => {
    try {
      log?.catchUp();
      if (end !== undefined) log?.end(end);
      isLogTrouble = false;
    } catch (error) {
      if (!isLogTrouble)
        notice(`wandb: ${(error as Error).message} The log for \`wandb sync\` waits; the journal has all.`);
      isLogTrouble = true;
    }
  };

  const stream = async (request: StreamRequest, signal: AbortSignal): Promise<void> => {
    if (await server.stream(where, request, signal)) isStopRequested = true;
  };

  /** The files that rows point to. @returns refusals of those that are not there any more */
  const sendMedia = async (lines: readonly Row[], signal: AbortSignal): Promise<readonly Refusal[]> => {
    const refused: Refusal[] = [];
    for (const {media, seq} of lines) {
      if (media === undefined) continue;
      const body = bodyOf(media, run.directory);
      if (body !== undefined) await server.upload(where, media.path, body, signal);
      else refused.push({seq, reason: `the file of ${media.name} is not there`});
    }
    return refused;
  };

  /** @param first number of the first of these rows in the run */
  const sendRows = async (
    lines: readonly Row[],
    first: number,
    signal: AbortSignal,
    summary?: RowState,
  ): Promise<void> => {
    let offset = kept.firstLine + first;
    const requests = portions(lines);
    for (const [i, content] of requests.entries()) {
      const history = content.length === 0 ? {} : {[historyFile]: {offset, content}};
      const isLast = i === requests.length - 1;
      const whole =
        isLast && summary !== undefined ? {[summaryFile]: {offset: 0, content: [objectOf(summary.summary)]}} : {};
      const files = {...history, ...whole};
      if (Object.keys(files).length > 0) await stream({files}, signal);
      offset += content.length;
    }
  };

  /** Sends again what the server lacks of the rows up to event `seq`. */
  const fill = async (serverLines: number, seq: number, signal: AbortSignal): Promise<void> => {
    let state: RowState = {...emptyState, lastStep: kept.firstStep - 1};
    const missing = Math.max(0, serverLines - kept.firstLine);
    for (const events of eventsUpTo(run, seq)) {
      const added = addEvents(state, events, run.startedAt, settings.artifacts);
      const lacking = added.rows.slice(Math.max(0, missing - state.count));
      if (lacking.length > 0) {
        await sendMedia(lacking, signal);
        await sendRows(lacking, added.state.count - lacking.length, signal, added.state);
      }
      state = added.state;
    }
  };

  const checkCount = async (seq: number, signal: AbortSignal): Promise<void> => {
    const wanted = kept.firstLine + rows.count;
    let lines = 0;
    for (const pause of [0, ...countPausesMs]) {
      await sleep(pause, undefined, {signal});
      lines = (await server.find(where, signal))?.lines ?? 0;
      if (lines >= wanted) return;
    }
    await fill(lines, seq, signal);
    const after = (await server.find(where, signal))?.lines ?? 0;
    if (after >= wanted) return;
    throw new TrackerError(`the server says that it has ${after} of ${wanted} rows`, {kind: 'permanent'});
  };

  let lastSeq = 0;

  return {
    heartbeatMs,
    offline: !isOnline,

    async open(tracked, cursor, signal) {
      run = tracked;
      const earlier = stateOf(cursor);
      const runId = earlier?.runId ?? settings.runId ?? idOf(run.uid);
      if (log === undefined) {
        // It brings protobuf along.
        const {OfflineLog} = await import('./offline-log.ts');
        log = new OfflineLog(run, runId, settings);
      }
      writeLog();
      told = description(run, settings, []);
      lastSeq = cursor?.seq ?? 0;
      if (!isOnline) {
        kept = {runId, entity: settings.entity ?? null, project: settings.project, firstLine: 0, firstStep: 0};
        return {id: runId, state: kept as unknown as Json};
      }
      const project = earlier?.project ?? settings.project;
      const entity = earlier?.entity ?? settings.entity ?? (await server.defaultEntity(signal));
      const remote = await server.find({entity, project, runId}, signal);
      const begin = beginning(run, runId, {earlier, remote, resume: settings.resume});
      const {firstLine, firstStep} = begin;
      kept = {runId, entity, project, ...begin};

      rows = {...emptyState, lastStep: firstStep - 1};
      for (const events of eventsUpTo(run, lastSeq)) {
        rows = addEvents(rows, events, run.startedAt, settings.artifacts).state;
        told = description(run, settings, events, told);
      }
      told = {...told, config: {...told.config, sdq: {...(told.config['sdq'] as object), ...begin}}};
      where = await server.upsert({entity, project, runId}, told, signal);
      kept = {...kept, entity: where.entity, project: where.project};
      if (sendsRows && rows.count > 0 && (remote?.lines ?? 0) < firstLine + rows.count) {
        await fill(remote?.lines ?? 0, lastSeq, signal);
      }
      if (settings.transport === 'sdk' && sdk === undefined && rows.count === 0) {
        sdk = await startSdk({cwd, settings, where, config: told.config, name: told.name, env, notice});
      }
      return {id: runId, url: pageOf(settings.baseUrl, where), state: kept as unknown as Json};
    },

    async push(batch, signal) {
      writeLog();
      const state = kept as unknown as Json;
      // A file goes alone: what stands before it in the batch is sent first.
      const position = batch.findIndex(
        (event) => isOnline && artifactOf(event, run, kept.runId, settings.artifacts) !== undefined,
      );
      const events = position === 0 ? batch.slice(0, 1) : position < 0 ? batch : batch.slice(0, position);
      const {seq} = events.at(-1)!;
      lastSeq = seq;
      if (!sendsRows) return {seq, state};
      if (position === 0) {
        const artifact = artifactOf(events[0]!, run, kept.runId, settings.artifacts)!;
        if (!existsSync(artifact.file)) return {seq, state, refused: [{seq, reason: `${artifact.file} is not there`}]};
        await server.sendArtifact(where, artifact, signal);
        return {seq, state};
      }
      const added = addEvents(rows, events, run.startedAt, settings.artifacts);
      const next = description(run, settings, events, told);
      if (next.config !== told.config || next.tags !== told.tags) {
        await server.upsert(where, next, signal);
        told = next;
        for (const tag of longTags(events)) notice(`wandb: the tag ${tag} is cut: W&B takes ${limits.tag} characters.`);
      }
      const gone = await sendMedia(added.rows, signal);
      if (sdk === undefined) await sendRows(added.rows, rows.count, signal, added.state);
      else await sdk.log(added.rows);
      rows = added.state;
      const reason = 'its row is longer than the 10 MB that W&B takes';
      return {seq, state, refused: [...added.refused.map((each) => ({seq: each, reason})), ...gone]};
    },

    async close(end, signal) {
      writeLog(end);
      if (!isOnline) return;
      if (settings.transport === 'cli') {
        await runCli(log!.files(), {settings, env, signal});
        return;
      }
      if (sdk !== undefined) {
        await sdk.finish(signal);
        sdk = undefined;
        // The package has overwritten the config, without W&B's `{value: …}` around each key.
        await server.upsert(where, told, signal);
        await checkCount(lastSeq, signal);
        await sendRows([], rows.count, signal, rows);
      }
      await stream({complete: true, exitcode: end.exitCode}, signal);
      await checkCount(lastSeq, signal);
      if (!isLogTrouble) log?.markSynced();
    },

    async heartbeat(signal) {
      writeLog();
      if (sendsRows) await stream({}, signal);
    },

    stopRequested: () => isStopRequested,

    async dispose() {
      writeLog();
      try {
        log?.close();
      } catch (error) {
        notice(`wandb: ${(error as Error).message}`);
      }
      await sdk?.kill();
    },
  };
}

function stateOf(cursor: Cursor | undefined): State | undefined {
  const state = cursor?.state as unknown as Partial<State> | null | undefined;
  return typeof state?.runId === 'string' && typeof state.project === 'string' ? (state as State) : undefined;
}

/** The lines of rows, in portions for one request each: at least one, which may be empty. */
function portions(rows: readonly Row[]): readonly (readonly string[])[] {
  const found: string[][] = [[]];
  let size = 0;
  for (const {values} of rows) {
    const line = objectOf(values);
    if (size > 0 && size + line.length > requestLimitBytes) {
      found.push([]);
      size = 0;
    }
    found.at(-1)!.push(line);
    size += line.length;
  }
  return found;
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
function bodyOf({content}: Media, directory: string): HttpRequest['body'] | undefined {
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
