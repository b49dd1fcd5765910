/** Colour, where the stream shows it: a terminal that is not dumb. NO_COLOR takes it away, FORCE_COLOR gives it to files and pipes too. */
import {styleText} from 'node:util';

type Style = Parameters<typeof styleText>[0];

type Stream = Pick<NodeJS.WriteStream, 'isTTY'> & Partial<Pick<NodeJS.WriteStream, 'hasColors'>>;

/** NO_COLOR counts if it is not empty (no-color.org); FORCE_COLOR goes before it, as in Node.js. */
export function hasColours(stream: Stream, env: NodeJS.ProcessEnv = process.env): boolean {
  const {FORCE_COLOR: forced, NO_COLOR: none, TERM: terminal} = env;
  if (forced !== undefined) return forced !== '0' && forced !== 'false';
  if (none !== undefined && none !== '') return false;
  return stream.isTTY && terminal !== 'dumb' && stream.hasColors?.() !== false;
}

/** Text in a style where the stream has colours, else as it is. */
export const painted = (stream: Stream, style: Style, text: string): string =>
  hasColours(stream) && text !== '' ? styleText(style, text) : text;

/** The line that says how a check ended. */
export function verdict(passed: boolean, text: string): string {
  const sign = passed ? painted(process.stdout, 'green', '✓') : painted(process.stdout, 'red', '✗');
  return `${sign} ${text}`;
}
