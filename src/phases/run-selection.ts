/** Which runs a list shows, and in which order. */
import {ExitCode, SdqError} from '../errors.ts';
import {didYouMean} from '../nearest.ts';
import type {RunSummary} from './run-summary.ts';

/** A row of the list. */
export interface ListedRun extends RunSummary {
  readonly tags: readonly string[];
}

/** What rows can be filtered by: the texts that a row has under that name. */
const filters: Readonly<Record<string, (run: ListedRun) => readonly (string | null)[]>> = {
  command: ({command}) => [command],
  status: ({status}) => [status],
  model: ({model}) => [model],
  data: ({data}) => [data],
  tag: ({tags}) => tags,
};

/** What rows can be sorted by; rows without the figure come last. */
const sortKeys = {
  started: ({startedAt}: ListedRun) => Date.parse(startedAt),
  duration: ({seconds}: ListedRun) => seconds,
  bits: ({meanWeightBits}: ListedRun) => meanWeightBits,
  metric: ({accuracy, metric}: ListedRun) => (metric === undefined ? accuracy : metric.value),
} as const;

export const sortNames = Object.keys(sortKeys) as readonly (keyof typeof sortKeys)[];

export interface Selection {
  /** Each `KEY=VALUE`; values of one key are alternatives, keys narrow the choice. */
  readonly filter: readonly string[];
  readonly sort: keyof typeof sortKeys;
  readonly reverse: boolean;
  /** The newest so many of those that the filters leave. */
  readonly last: number | undefined;
}

/**
 * @param runs oldest first
 * @throws SdqError (exit 2) for a filter that is none
 */
export function selectRuns(runs: readonly ListedRun[], {filter, sort, reverse, last}: Selection): readonly ListedRun[] {
  const wanted = new Map<string, string[]>();
  for (const [key, value] of filter.map(parseFilter)) wanted.set(key, [...(wanted.get(key) ?? []), value]);
  const matching = runs.filter((run) =>
    [...wanted].every(([key, values]) => filters[key]?.(run).some((text) => text !== null && values.includes(text))),
  );
  const newest = last === undefined ? matching : matching.slice(Math.max(0, matching.length - last));
  const sign = reverse ? -1 : 1;
  return newest.toSorted((a, b) => {
    const [x, y] = [sortKeys[sort](a), sortKeys[sort](b)];
    if (x === null || y === null) return Number(x === null) - Number(y === null);
    return sign * (x - y);
  });
}

function parseFilter(text: string): readonly [key: string, value: string] {
  const [, key = '', value = ''] = /^([^=]*)=(.*)$/s.exec(text) ?? [];
  if (key in filters && value !== '') return [key, value];
  const names = Object.keys(filters);
  throw new SdqError(`--filter ${text}: expected KEY=VALUE with a KEY of ${names.join(', ')}.`, {
    code: 'invalid-flag',
    exit: ExitCode.usage,
    suggestions: didYouMean(key, names),
  });
}

const hour = 3_600_000;
const ages: Readonly<Record<string, number>> = {h: hour, d: 24 * hour, w: 7 * 24 * hour};

/** Milliseconds of `12h`, `30d`, `8w`. @throws SdqError (exit 2) */
export function parseAge(text: string): number {
  const [, count = '', unit = ''] = /^(\d{1,6})([hdw])$/.exec(text) ?? [];
  const ms = ages[unit];
  if (ms !== undefined) return Number(count) * ms;
  throw new SdqError(`--older-than ${text}: expected a number of hours, days or weeks, e.g. 12h, 30d, 8w.`, {
    code: 'invalid-flag',
    exit: ExitCode.usage,
  });
}
