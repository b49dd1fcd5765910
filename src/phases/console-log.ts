/** What a run says on the console, kept in its folder for its trackers. */
import {appendFileSync} from 'node:fs';

import {redactor} from '../redact.ts';
import type {Reporter} from './session.ts';

export interface ConsoleLog {
  /** Passes everything on to the reporter that it was made with. */
  readonly reporter: Reporter;
  /** Writes the lines so far, and those that follow, to the end of this file. */
  readonly open: (file: string) => void;
}

/** A disk that refuses a line ends nothing: the run's own files tell of it. */
export function keepConsole(reporter: Reporter): ConsoleLog {
  const redact = redactor(process.env);
  let waiting = '';
  let target: string | undefined;
  const write = (text: string): void => {
    waiting += text;
    if (target === undefined) return;
    const lines = waiting;
    waiting = '';
    try {
      appendFileSync(target, lines);
    } catch {
      // See above.
    }
  };
  return {
    reporter: {
      ...(reporter.plan === undefined ? {} : {plan: reporter.plan.bind(reporter)}),
      update: reporter.update.bind(reporter),
      line(text) {
        reporter.line(text);
        write(`${redact(text)}\n`);
      },
    },
    open(file) {
      target = file;
      write('');
    },
  };
}
