/** Asks before something is deleted: on a terminal only, so that a script never hangs. */
import {createInterface} from 'node:readline/promises';

import {ExitCode, SdqError} from '../errors.ts';

/**
 * @param question without its question mark
 * @param options.command the command line that does it unasked
 * @returns whether the user agreed
 * @throws SdqError (exit 2) where nobody can be asked: no terminal, or `--json`
 */
export async function confirm(
  question: string,
  {json, command}: {readonly json: boolean; readonly command: string},
): Promise<boolean> {
  if (json || !process.stdin.isTTY) {
    throw new SdqError(`${question}? Nobody can be asked here.`, {
      code: 'not-confirmed',
      exit: ExitCode.usage,
      suggestions: [`${command} --yes`, `To see first what would go: ${command} --dry-run`],
    });
  }
  const terminal = createInterface({input: process.stdin, output: process.stderr});
  try {
    const answer = await terminal.question(`${question}? [y/N] `);
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    terminal.close();
  }
}
