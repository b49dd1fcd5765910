/** How long to wait between two tries: one policy for trackers and downloads. */
import {setTimeout as sleep} from 'node:timers/promises';

export interface Clock {
  /** Milliseconds that only grow, whatever happens to the wall clock; only differences count. */
  now(): number;
  /** Resolves after `ms`, or as soon as `signal` aborts. */
  wait(ms: number, signal: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  wait: (ms, signal) => sleep(ms, undefined, {signal}).catch(() => undefined),
};

const firstPauseMs = 1000;
const longestPauseMs = 60_000;

/**
 * The pause after a failure: 1 s, doubled with each failure up to 1 min, a quarter more or less at random.
 * @param failures in a row, at least 1
 */
export function backoffMs(failures: number): number {
  return Math.min(longestPauseMs, firstPauseMs * 2 ** (failures - 1)) * (0.75 + 0.5 * Math.random());
}

/**
 * Settles as `call` does, or rejects with the signal's reason as soon as it aborts, should `call` not heed it. Leaves
 * nothing behind on the signal, which may live for days: `Promise.race` with one long-lived promise would.
 */
export function untilAborted<T>(signal: AbortSignal, call: () => Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- whatever the signal's owner chose
    const abort = (): void => reject(signal.reason);
    if (signal.aborted) {
      abort();
      return;
    }
    signal.addEventListener('abort', abort, {once: true});
    call()
      .then(resolve, reject)
      .finally(() => signal.removeEventListener('abort', abort));
  });
}
