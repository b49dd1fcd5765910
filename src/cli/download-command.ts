/** What the download commands share: progress, and a clean stop after which the same command continues. */
import {SdqError} from '../errors.ts';
import {exitCodeOf, listenForStop} from '../runs/signals.ts';
import {SdqCommand} from './base-command.ts';

interface Download {
  readonly signal: AbortSignal;
  readonly progress: (step: string, done: number, total: number | undefined) => void;
  readonly notice: (message: string) => void;
}

export abstract class DownloadCommand extends SdqCommand {
  /** @throws SdqError (exit 130 or 143) when a signal ended the work */
  protected async download<T>(work: (context: Download) => Promise<T>): Promise<T> {
    const progress = this.progress();
    const stop = listenForStop(() => undefined);
    this.defer(() => stop.dispose());
    try {
      const result = await work({
        signal: stop.signal,
        progress: (step, done, total) => progress.update(step, done, total),
        notice: (message) => this.notice(message),
      });
      progress.stop();
      return result;
    } catch (error) {
      const signal = stop.received();
      if (signal === undefined) throw error;
      throw new SdqError(`Stopped by ${signal}; run the same command again to continue.`, {
        code: 'interrupted',
        exit: exitCodeOf(signal),
        cause: error,
      });
    }
  }
}
