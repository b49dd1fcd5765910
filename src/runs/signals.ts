/**
 * SIGINT, SIGTERM, SIGUSR1 and a tracker's server ask the run to stop after the step in hand; a second SIGINT or SIGTERM ends the
 * process at once. SIGUSR1 is what SLURM sends some time before the end (`--signal=B:USR1@60`); SIGTERM may follow it.
 *
 * A scheduler sends SIGTERM to a shell and to its children, and the shell passes its own on: the second SIGTERM within a
 * second is the first one again.
 */
import {ExitCode, SdqError} from '../errors.ts';

export interface StopSignal {
  /** The signal received, SIGTERM for SIGUSR1 and a request too, or undefined while the run may go on. */
  readonly received: () => 'SIGINT' | 'SIGTERM' | undefined;
  /** Stops the run as SIGTERM does. @param asker who wants it */
  readonly request: (asker: string) => void;
  /** Who stopped the run: the signal's name or the asker. */
  readonly stoppedBy: () => string;
  /** Aborts with the first signal, its reason an SdqError (exit 130 or 143): for evaluations, requests and downloads. */
  readonly signal: AbortSignal;
  /** Removes the handlers. */
  readonly dispose: () => void;
}

/** Within this time of the first SIGTERM another one is its echo. */
const echoMs = 1000;

/** 130 for SIGINT, 143 for SIGTERM. */
export function exitCodeOf(signal: 'SIGINT' | 'SIGTERM'): ExitCode {
  return signal === 'SIGINT' ? ExitCode.interrupted : ExitCode.terminated;
}

/** @param onFirst told once who asks, e.g. to say that the step is being finished */
export function listenForStop(onFirst: (asker: string) => void): StopSignal {
  const abort = new AbortController();
  let first: {readonly signal: 'SIGINT' | 'SIGTERM'; readonly asker: string} | undefined;
  let terminatedAt = -Infinity;
  const stop = (signal: 'SIGINT' | 'SIGTERM', asker: string): void => {
    first = {signal, asker};
    onFirst(asker);
    abort.abort(new SdqError(`Stopped by ${asker}.`, {code: 'interrupted', exit: exitCodeOf(signal)}));
  };
  const handle = (signal: NodeJS.Signals): void => {
    if (signal !== 'SIGINT' && signal !== 'SIGTERM') return;
    const isEcho = signal === 'SIGTERM' && performance.now() - terminatedAt < echoMs;
    if (isEcho) return;
    if (signal === 'SIGTERM') terminatedAt = performance.now();
    if (first !== undefined && !isWarned) process.exit(exitCodeOf(signal));
    isWarned = false;
    if (first === undefined) stop(signal, signal);
  };
  let isWarned = false;
  const warn = (): void => {
    if (first !== undefined) return;
    isWarned = true;
    stop('SIGTERM', 'SIGUSR1');
  };
  process.on('SIGINT', handle);
  process.on('SIGTERM', handle);
  if (process.platform !== 'win32') process.on('SIGUSR1', warn);
  return {
    received: () => first?.signal,
    request(asker) {
      if (first === undefined) stop('SIGTERM', asker);
    },
    stoppedBy: () => first?.asker ?? '',
    signal: abort.signal,
    dispose() {
      // The echo may come when the run has ended, and must not end the process by its default.
      if (performance.now() - terminatedAt < echoMs) process.once('SIGTERM', () => undefined);
      process.off('SIGINT', handle);
      process.off('SIGTERM', handle);
      process.off('SIGUSR1', warn);
    },
  };
}
