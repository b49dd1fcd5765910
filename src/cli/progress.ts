/**
 * How far a long command is: a bar on a terminal, one line a finished epoch (or file) elsewhere. The bar is drawn from
 * the loop that reports to it, because a loop of synchronous tensor steps lets no timer run.
 */
import {SingleBar} from 'cli-progress';

export interface Progress {
  /**
   * Moves the bar, which redraws itself at most ten times a second.
   *
   * @param label what runs, e.g. `search, epoch 2/4`; a new label starts a new bar
   * @param done steps (or bytes) so far
   * @param total of how many; undefined where nobody knows
   * @param detail figures after the bar, e.g. `loss 0.43, 3.1 bits`
   */
  update(label: string, done: number, total: number | undefined, detail?: string): void;
  /** A line that stays. */
  line(text: string): void;
  /** Takes the bar away. Idempotent. */
  stop(): void;
}

/** @param silent draws and prints nothing: `--json`, `--quiet` */
export function createProgress(stream: NodeJS.WriteStream, {silent}: {readonly silent: boolean}): Progress {
  if (silent) return {update: () => undefined, line: () => undefined, stop: () => undefined};
  if (!stream.isTTY) {
    const line = (text: string) => {
      stream.write(`${text}\n`);
    };
    return {update: () => undefined, line, stop: () => undefined};
  }
  const create = () =>
    new SingleBar({
      stream,
      format: '{label} [{bar}] {percentage}% {detail} ETA {eta_formatted}',
      barsize: 20,
      etaBuffer: 50,
      clearOnComplete: true,
      gracefulExit: false,
      hideCursor: null,
      linewrap: true,
      emptyOnZero: true,
    });
  let bar: SingleBar | undefined;
  let current = '';
  const stop = () => {
    bar?.stop();
    bar = undefined;
  };
  return {
    update(label, done, total, detail = '') {
      if (label !== current) stop();
      current = label;
      if (bar === undefined) {
        bar = create();
        bar.start(total ?? 0, done, {label, detail});
      } else {
        bar.update(done, {label, detail});
      }
    },
    line(text) {
      stop();
      stream.write(`${text}\n`);
    },
    stop,
  };
}
