/** A run of another process seen through its journal while it grows. */
import {existsSync} from 'node:fs';
import {setTimeout} from 'node:timers/promises';

import {isLocked} from '../lock.ts';
import {followJournal, journalOf, type Event} from '../runs/journal.ts';
import type {FoundRun} from '../runs/find-run.ts';
import {metricOfRun, prefixedMetric, type RunRecord} from '../runs/run-record.ts';
import {shownMetric} from './results.ts';

const chunk = {events: 10_000, bytes: 16 << 20};

/**
 * The events of a run in order, those that are there and those that come, until no living process works on it.
 * @param options.pollMs how often the journal is looked at [ours]
 * @throws SdqError (exit 3) for a broken journal; the reason of `signal`
 */
export async function* watchEvents(
  {directory}: Pick<FoundRun, 'directory'>,
  {signal, pollMs = 500}: {readonly signal: AbortSignal; readonly pollMs?: number},
): AsyncGenerator<Event> {
  const file = journalOf(directory);
  while (!existsSync(file)) {
    if (!isLocked(directory)) return;
    await setTimeout(pollMs, undefined, {signal});
  }
  const reader = followJournal(file);
  try {
    for (let isLast = false; ;) {
      const events = reader.read(chunk);
      yield* events;
      if (events.length > 0) continue;
      if (isLast) return;
      // What the owner wrote last is read after it has let go.
      isLast = !isLocked(directory);
      if (!isLast) await setTimeout(pollMs, undefined, {signal});
    }
  } finally {
    reader.close();
  }
}

export interface WatchedStep {
  /** `search, epoch 2/4`. */
  readonly label: string;
  /** Epochs that are complete, of how many. */
  readonly done: number;
  readonly total: number;
  /** `loss 0.431, W 3.10, 1240 images/s`. */
  readonly detail: string;
  readonly isEpochEnd: boolean;
}

/** What an event says of the progress of a phase; undefined where it says nothing. */
export function stepOf({kind, data}: Event, record: RunRecord): WatchedStep | undefined {
  if (kind !== 'metric') return undefined;
  const phase = Object.keys(data)
    .find((name) => /^\w+\/epoch$/.test(name))
    ?.split('/')[0];
  if (phase === undefined) return undefined;
  const of = (name: string): number | undefined => {
    const value = data[`${phase}/${name}`];
    return typeof value === 'number' ? value : undefined;
  };
  const epoch = of('epoch') ?? 1;
  const total = epochsOf(record, phase) ?? epoch;
  const metric = metricOfRun(record);
  const isEpochEnd = of('epochLoss') !== undefined;
  const shown = (name: string, text: (value: number) => string): readonly string[] => {
    const value = of(name);
    return value === undefined ? [] : [text(value)];
  };
  const detail = [
    shown(isEpochEnd ? 'epochLoss' : 'loss', (loss) => `loss ${loss.toFixed(3)}`),
    shown(prefixedMetric('validation', metric), (value) => `validation ${shownMetric(metric, value)}`),
    shown('committedMeanBits', (bits) => `W ${bits.toFixed(2)}`),
    shown('imagesPerSecond', (speed) => `${Math.round(speed)} images/s`),
  ].flat();
  return {
    label: `${phase}, epoch ${epoch}/${total}`,
    done: isEpochEnd ? epoch : epoch - 1,
    total,
    detail: detail.join(', '),
    isEpochEnd,
  };
}

function epochsOf({config}: RunRecord, phase: string): number | undefined {
  const epochs = (config as Readonly<Record<string, {readonly epochs?: unknown} | undefined>>)[phase]?.epochs;
  return typeof epochs === 'number' ? epochs : undefined;
}
