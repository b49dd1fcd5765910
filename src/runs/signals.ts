/** SIGINT and SIGTERM ask the run to stop after the step in hand; a second signal ends the process at once. */
import {ExitCode} from '../errors.ts';

export interface StopSignal {
  /** The signal received, or undefined while the run may go on. */
  readonly received: () => 'SIGINT' | 'SIGTERM' | undefined;
  /** Aborts with the first signal: for requests and downloads. */
  readonly signal: AbortSignal;
  /** Removes the handlers. */
  readonly dispose: () => void;
}

/** 130 for SIGINT, 143 for SIGTERM. */
export function exitCodeOf(signal: 'SIGINT' | 'SIGTERM'): ExitCode {
  return signal === 'SIGINT' ? ExitCode.interrupted : ExitCode.terminated;
}

/** @param onFirst told once, e.g. to say that the step is being finished */
export function listenForStop(onFirst: (signal: 'SIGINT' | 'SIGTERM') => void): StopSignal {
  const abort = new AbortController();
  let received: 'SIGINT' | 'SIGTERM' | undefined;
  const handle = (signal: NodeJS.Signals): void => {
    if (signal !== 'SIGINT' && signal !== 'SIGTERM') return;
    if (received !== undefined) process.exit(exitCodeOf(signal));
    received = signal;
    onFirst(signal);
    abort.abort();
  };
  process.on('SIGINT', handle);
  process.on('SIGTERM', handle);
  return {
    received: () => received,
    signal: abort.signal,
    dispose() {
      process.off('SIGINT', handle);
      process.off('SIGTERM', handle);
    },
  };
}
