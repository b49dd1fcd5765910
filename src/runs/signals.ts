/** SIGINT, SIGTERM and a tracker's server ask the run to stop after the step in hand; a second signal ends the process at once. */
import {ExitCode, SdqError} from '../errors.ts';

export interface StopSignal {
  /** The signal received, or undefined while the run may go on. */
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

/** 130 for SIGINT, 143 for SIGTERM. */
export function exitCodeOf(signal: 'SIGINT' | 'SIGTERM'): ExitCode {
  return signal === 'SIGINT' ? ExitCode.interrupted : ExitCode.terminated;
}

/** @param onFirst told once who asks, e.g. to say that the step is being finished */
export function listenForStop(onFirst: (asker: string) => void): StopSignal {
  const abort = new AbortController();
  let received: 'SIGINT' | 'SIGTERM' | undefined;
  let stoppedBy = '';
  const stop = (signal: 'SIGINT' | 'SIGTERM', asker: string): void => {
    received = signal;
    stoppedBy = asker;
    onFirst(asker);
    abort.abort(new SdqError(`Stopped by ${asker}.`, {code: 'interrupted', exit: exitCodeOf(signal)}));
  };
  const handle = (signal: NodeJS.Signals): void => {
    if (signal !== 'SIGINT' && signal !== 'SIGTERM') return;
    if (received !== undefined) process.exit(exitCodeOf(signal));
    stop(signal, signal);
  };
  process.on('SIGINT', handle);
  process.on('SIGTERM', handle);
  return {
    received: () => received,
    request(asker) {
      if (received === undefined) stop('SIGTERM', asker);
    },
    stoppedBy: () => stoppedBy,
    signal: abort.signal,
    dispose() {
      process.off('SIGINT', handle);
      process.off('SIGTERM', handle);
    },
  };
}
