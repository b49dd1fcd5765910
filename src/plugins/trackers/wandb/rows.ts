/**
 * Journal events as W&B history rows and summary. What comes out depends on the order of the events alone, so a second
 * process that reads the journal again makes the same rows: row k of a run is line k of its history at the server.
 */
import type {Event} from '../../../plugin-api/tracker.ts';
import {flatten} from '../../../tracking/flatten.ts';
import {mediaOf, type Media} from './media.ts';
import type {WandbSettings} from './settings.ts';

/** W&B drops a longer line. */
const historyLineLimitBytes = 10 << 20;

export interface Row {
  readonly seq: number;
  /** `_step`: unique and growing, as W&B wants it. */
  readonly step: number;
  /** Names and JSON texts of the values. */
  readonly values: ReadonlyMap<string, string>;
  /** The file that the row refers to. */
  readonly media?: Media;
}

/** Rows and summary of a run's events so far. */
export interface RowState {
  /** Rows so far. */
  readonly count: number;
  /** `_step` of the last row; -1 before the first. */
  readonly lastStep: number;
  /** Highest optimizer step so far: a row below it is not W&B's. */
  readonly journalStep: number;
  /** Names and JSON texts of the latest values. */
  readonly summary: ReadonlyMap<string, string>;
}

const notFinite: ReadonlySet<unknown> = new Set(['NaN', 'Infinity', '-Infinity']);

/** JSON, with the journal's strings for numbers that are not finite as the bare words that W&B writes itself. */
function jsonOf(value: unknown): string {
  return notFinite.has(value) ? (value as string) : JSON.stringify(value ?? null);
}

/** A JSON object of values that are JSON already. */
export function objectOf(values: ReadonlyMap<string, string>): string {
  return `{${[...values].map(([name, json]) => `${JSON.stringify(name)}:${json}`).join(',')}}`;
}

export const emptyState: RowState = {count: 0, lastStep: -1, journalStep: 0, summary: new Map()};

/** What of the settings makes the rows. */
export type RowSettings = Pick<WandbSettings, 'artifacts' | 'metricNames'>;

/** The metric's name at W&B: by quantity first, so that its charts stand together. */
export function shownName(name: string, {metricNames}: Pick<WandbSettings, 'metricNames'>): string {
  return metricNames === 'layer' ? name : name.replace(/^dbp\/(.+)\/([^/]+)$/, 'dbp/$2/$1');
}

/**
 * Takes events into the state, in their order.
 *
 * `_step` is the optimizer step, or one more than the last row's where that is not larger: two journal lines may have the
 * same step (an interval and an epoch that end together), and W&B keeps one row a `_step`. The exact optimizer step is the
 * column `step`.
 * @param startedAt milliseconds since 1970-01-01 UTC
 * @param settings.artifacts types that are sent: a table or a picture among them makes a row
 * @returns `refused`: seq of events whose row W&B would drop because of its length
 */
export function addEvents(
  state: RowState,
  events: Iterable<Event>,
  startedAt: number,
  settings: RowSettings,
): {readonly state: RowState; readonly rows: readonly Row[]; readonly refused: readonly number[]} {
  let {count, lastStep, journalStep} = state;
  const summary = new Map(state.summary);
  const rows: Row[] = [];
  const refused: number[] = [];
  for (const event of events) {
    if (event.kind === 'summary') {
      for (const [name, value] of flatten(event.data, '/')) summary.set(name, jsonOf(value));
      continue;
    }
    const media = mediaOf(event, settings.artifacts);
    if (event.kind !== 'metric' && media === undefined) continue;
    const exactStep = event.step ?? journalStep;
    if (exactStep < journalStep) continue;
    journalStep = exactStep;
    const step = Math.max(exactStep, lastStep + 1);
    const data = media === undefined ? event.data : {[media.name]: media.value};
    const values = new Map(Object.entries(data).map(([name, value]) => [shownName(name, settings), jsonOf(value)]));
    if (media === undefined) values.set('step', String(exactStep));
    values
      .set('_step', String(step))
      .set('_timestamp', String(event.ts / 1000))
      .set('_runtime', String(Math.max(0, event.ts - startedAt) / 1000));
    if (lineBytes(values) > historyLineLimitBytes) {
      refused.push(event.seq);
      continue;
    }
    for (const [name, json] of values) summary.set(name, json);
    rows.push({seq: event.seq, step, values, ...(media === undefined ? {} : {media})});
    lastStep = step;
    count += 1;
  }
  return {state: {count, lastStep, journalStep, summary}, rows, refused};
}

function lineBytes(values: ReadonlyMap<string, string>): number {
  let bytes = 2;
  for (const [name, json] of values) bytes += 4 + Buffer.byteLength(name) + Buffer.byteLength(json);
  return bytes;
}
