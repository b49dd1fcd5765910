/** Journal events as what MLflow stores: metrics, params, tags and artifacts, within the server's limits. */
import {flatten} from '../../../tracking/flatten.ts';
import type {Event} from '../../../plugin-api/tracker.ts';

interface Metric {
  readonly key: string;
  /** JSON has no NaN and no infinities: they are the strings that protobuf's JSON knows. */
  readonly value: number | 'NaN' | 'Infinity' | '-Infinity';
  readonly timestamp: number;
  readonly step: number;
}

interface Pair {
  readonly key: string;
  readonly value: string;
}

export type Entry =
  | {readonly list: 'metrics'; readonly item: Metric}
  | {readonly list: 'params'; readonly item: Pair}
  | {readonly list: 'tags'; readonly item: Pair};

/** Of one `runs/log-batch`. */
export const limits = {metrics: 1000, params: 100, tags: 100, all: 1000, bytes: 900_000} as const;

const keyLimit = 250;
const valueLimit = {params: 6000, tags: 5000};

/** Names may have letters, digits, `_`, `-`, `.`, `/` and spaces; `.` and `..` may not be parts of a path. */
export function validKey(name: string): string {
  const clean = name
    .replaceAll(/[^\w.\- /]/g, '_')
    .split('/')
    .map((part) => (/^\.*$/.test(part) ? '_'.repeat(Math.max(1, part.length)) : part))
    .join('/');
  return clean.slice(0, keyLimit);
}

function pair(list: 'params' | 'tags', name: string, value: unknown): Entry {
  return {list, item: {key: validKey(name), value: cut(String(value), valueLimit[list])}};
}

/** At most `limit` UTF-16 units, never half a character. */
function cut(text: string, limit: number): string {
  if (text.length <= limit) return text;
  return `${text.slice(0, limit - 1).replace(/[\uD800-\uDBFF]$/, '')}…`;
}

/** The config as params; two names that become the same keep the first, because params cannot be changed. */
export function paramEntries(values: Readonly<Record<string, unknown>>): readonly Entry[] {
  const entries = new Map<string, Entry>();
  for (const [name, value] of flatten(values, '.')) {
    const key = validKey(name);
    if (!entries.has(key)) entries.set(key, pair('params', name, value));
  }
  return [...entries.values()];
}

export function tagEntries(values: Readonly<Record<string, unknown>>): readonly Entry[] {
  return [...flatten(values, '.')].map(([name, value]) => pair('tags', name, value));
}

const isNonFinite = (value: unknown): value is 'NaN' | 'Infinity' | '-Infinity' =>
  value === 'NaN' || value === 'Infinity' || value === '-Infinity';

/** @param step of the event; a summary, which has none, takes that of the metric before it */
export function entriesOf({data, kind, ts}: Event, step: number): readonly Entry[] {
  if (kind === 'param') return paramEntries(data);
  if (kind === 'tag') return tagEntries(data);
  if (kind !== 'metric' && kind !== 'summary') return [];
  return [...flatten(data, '/')].map(([name, value]): Entry => {
    if (typeof value === 'number' || isNonFinite(value)) {
      return {list: 'metrics', item: {key: validKey(name), value, timestamp: ts, step}};
    }
    return pair('tags', name, value);
  });
}

/** Cuts entries into batches that the server takes. */
export function batches<T extends Entry>(entries: readonly T[]): readonly (readonly T[])[] {
  const parts: T[][] = [];
  let counts = {metrics: 0, params: 0, tags: 0, bytes: 0};
  for (const entry of entries) {
    const bytes = Buffer.byteLength(JSON.stringify(entry.item)) + 1;
    const last = parts.at(-1);
    const full =
      last === undefined ||
      last.length >= limits.all ||
      counts[entry.list] >= limits[entry.list] ||
      counts.bytes + bytes > limits.bytes;
    if (full) {
      counts = {metrics: 0, params: 0, tags: 0, bytes: 0};
      parts.push([entry]);
    } else {
      last.push(entry);
    }
    counts[entry.list] += 1;
    counts.bytes += bytes;
  }
  return parts;
}
