/**
 * How far a long command is: a bar on a terminal, one line a finished epoch (or file) elsewhere. The bar is drawn from
 * the loop that reports to it, because a loop of synchronous tensor steps lets no timer run.
 */
import {SingleBar} from 'cli-progress';

import {item} from '../lookup.ts';
import type {Reporter} from '../phases/session.ts';

/** A reporter whose bar redraws itself at most ten times a second. */
export interface Progress extends Required<Reporter> {
  /** Takes the bar away. Idempotent. */
  stop(): void;
}

/** Less than this says nothing about the speed. */
const leastMs = 1000;

/** What a step of a phase takes, in steps of pretraining: for phases that have not begun [ours, rough]. */
const relativeCosts: ReadonlyMap<string, number> = new Map([
  ['pretrain', 1],
  ['search', 1.5],
  ['train', 2],
]);

/**
 * Mean milliseconds a step of one piece of work, the pauses in it (validation, checkpoints) included.
 * @returns undefined as long as nothing is known
 */
function createPace(now: () => number): (done: number) => number | undefined {
  let first: {readonly done: number; readonly ms: number} | undefined;
  let last = 0;
  return (done) => {
    // Work of the same name begins anew: another evaluation.
    if (first === undefined || done < last) first = {done, ms: now()};
    last = done;
    const elapsed = now() - first.ms;
    return elapsed < leastMs || done - first.done < 2 ? undefined : elapsed / (done - first.done);
  };
}

/** `11m50s`, `1h04m`, `7s`. */
function shownTime(ms: number): string {
  const seconds = Math.round(ms / 1000);
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const two = (value: number): string => String(value).padStart(2, '0');
  if (hours > 0) return `${hours}h${two(minutes)}m`;
  return minutes > 0 ? `${minutes}m${two(seconds % 60)}s` : `${seconds}s`;
}

/** Work of a job, in its order. */
type Job = readonly {readonly name: string; readonly steps: number}[];

/** `ETA 11m50s` of this work, and of the whole job where other work follows; '' where nothing is known. */
function timeLeft(work: string, steps: number, pace: number | undefined, job: Job): string {
  if (pace === undefined || steps <= 0) return '';
  const position = job.findIndex(({name}) => name === work);
  const later = position < 0 ? [] : job.slice(position + 1);
  const cost = (name: string): number => relativeCosts.get(name) ?? 1;
  const all = later.reduce((ms, {name, steps: count}) => ms + (count * pace * cost(name)) / cost(work), steps * pace);
  return `ETA ${shownTime(steps * pace)}${later.length === 0 ? '' : ` (all ${shownTime(all)})`}`;
}

/** @param silent draws and prints nothing: `--json`, `--quiet` */
export function createProgress(
  stream: NodeJS.WriteStream,
  {silent, now = () => performance.now()}: {readonly silent: boolean; readonly now?: () => number},
): Progress {
  const nothing = (): void => undefined;
  if (silent) return {plan: nothing, update: nothing, line: nothing, stop: nothing};
  if (!stream.isTTY) {
    const line = (text: string) => {
      stream.write(`${text}\n`);
    };
    return {plan: nothing, update: nothing, line, stop: nothing};
  }
  // A narrow terminal gets a short bar or none: the figures matter more.
  const barsize = Math.max(0, Math.min(20, (stream.columns || 80) - 92));
  const create = () =>
    new SingleBar({
      stream,
      format: `{label} ${barsize === 0 ? '' : '[{bar}] '}{percentage}% {figures}`,
      barsize,
      clearOnComplete: true,
      gracefulExit: false,
      hideCursor: null,
      linewrap: true,
      emptyOnZero: true,
    });
  let bar: SingleBar | undefined;
  let current = '';
  const paces = new Map<string, (done: number) => number | undefined>();
  let job: Job = [];
  const stop = () => {
    bar?.stop();
    bar = undefined;
  };
  return {
    plan(work) {
      job = work;
    },
    update(label, done, total, detail = '') {
      const work = item(label.split(','), 0);
      const pace = paces.get(work) ?? createPace(now);
      paces.set(work, pace);
      const left = timeLeft(work, (total ?? 0) - done, pace(done), job);
      const payload = {label, figures: [left, detail].filter((text) => text !== '').join(', ')};
      if (work !== current) stop();
      current = work;
      if (bar === undefined) {
        bar = create();
        bar.start(total ?? 0, done, payload);
      } else {
        bar.update(done, payload);
      }
    },
    line(text) {
      stop();
      stream.write(`${text}\n`);
    },
    stop,
  };
}
