/**
 * How an error reaches the user: an expected error (`SdqError`, a usage error of the flag parser, the operating
 * system's refusal) with its message, code and next steps; anything else as a bug. The stack is for `DEBUG` only.
 */
import {stripVTControlCharacters} from 'node:util';

import {ExitCode, SdqError} from '../errors.ts';
import {didYouMean} from '../nearest.ts';
import {painted} from './colours.ts';
import {withoutControls} from './output.ts';

/** What `--json` prints instead of a result (`schemas/results/error.schema.json`). */
interface ErrorReport {
  readonly error: {
    readonly code: string;
    readonly message: string;
    readonly exit: number;
    readonly suggestions: readonly string[];
  };
}

/** Ends the command after its error has been shown: oclif then only sets the exit code. */
export class ShownError extends Error {
  readonly skipOclifErrorHandling = true;
  readonly code = 'EEXIT';
  readonly oclif: {readonly exit: number};

  constructor(exit: number) {
    super(`exit ${exit}`);
    this.oclif = {exit};
  }
}

/** What `showError` and `renderError` know of the command. */
interface CommandContext {
  /** Its flags, for a suggestion when an unknown one was given. */
  readonly flags?: readonly string[];
  /** Suggestions about what was typed. */
  readonly hints?: readonly string[];
}

/**
 * Shows the error, on stdout as an object under `--json` and on stderr as text otherwise; throw what it returns.
 */
export function showError(error: unknown, {json, ...context}: CommandContext & {readonly json: boolean}): ShownError {
  const report = errorReport(error, context);
  if (json) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  else process.stderr.write(renderError(error, context));
  if (process.env['DEBUG'] !== undefined && error instanceof Error) process.stderr.write(`${error.stack ?? ''}\n`);
  return new ShownError(report.error.exit);
}

function errorReport(error: unknown, {flags = [], hints = []}: CommandContext): ErrorReport {
  if (isExpected(error)) {
    const {code, message, oclif, suggestions} = error;
    return {error: {code, message, exit: oclif.exit, suggestions}};
  }
  if (isOclifError(error)) {
    // oclif dims a part of it in a terminal.
    const message = stripVTControlCharacters(error.message)
      .replace(/^Parsing (--\S+) \n\t/, '$1: ')
      .replace(/^The following errors? occurred:\n\s*/, '')
      // oclif says so of every flag that may be repeated; it is true of `--hardware NAME…` alone.
      .replace(/\n\nNote: (?!.*--hardware).* multiple values\.[^]*/, '')
      .replace(/\n?See more help with --help$/, '')
      .replace(/^Missing required flag (?=\w)/, 'Missing required flag --')
      .replace(/^Missing \d+ required (args?):\n/, (_, word: string) => `Missing argument${word.slice(3)} `)
      .replace(
        /^(Missing arguments?) (.*(?:\n\S.*)*)/,
        (_, missing: string, list: string) => `${missing} ${shownArguments(list)}`,
      );
    const unknown = 'flags' in error && Array.isArray(error.flags) ? (error.flags as string[]) : [];
    const near = unknown.flatMap((flag) => didYouMean(flag, flags));
    const suggestions = [...near, ...(near.length === 0 ? hints : []), 'List the arguments and flags with `--help`.'];
    // oclif gives some of its parser's errors the exit code of a bug.
    const exit = error.oclif.exit === ExitCode.bug ? ExitCode.usage : error.oclif.exit;
    return {error: {code: 'usage', message, exit, suggestions}};
  }
  if (isSystemError(error)) {
    const file = error.path === undefined ? '' : ` ${error.path}`;
    const reason = error.message.replace(/^[A-Z]+: /, '').replace(/, \w+( '.*')?$/, '');
    const message = `Cannot ${error.syscall ?? 'use'}${file}: ${reason} (${error.code}).`;
    return {error: {code: 'file-system', message, exit: ExitCode.invalidInput, suggestions: []}};
  }
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  const suggestions = ['Please report it, with the command and what it prints when the environment has DEBUG=sdq.'];
  return {error: {code: 'bug', message: `This is a bug in sdq. ${message}`, exit: ExitCode.bug, suggestions}};
}

/** The error as text for stderr: the message, a next step a line, the code. */
export function renderError(error: unknown, context: CommandContext = {}): string {
  const {code, message, suggestions} = errorReport(error, context).error;
  const paint = (style: Parameters<typeof painted>[1], text: string): string => painted(process.stderr, style, text);
  // Who stops a command has not met an error.
  const head = code === 'interrupted' ? '' : `${paint('red', 'Error:')} `;
  return [
    `${head}${withoutControls(message)}`,
    ...suggestions.map((text) => `  ${paint('cyan', '→')} ${withoutControls(text)}`),
    `  ${paint('dim', `[${code}]`)}`,
    '',
  ].join('\n');
}

/** `b  The other run.` of each missing argument as `B: The other run.` */
function shownArguments(list: string): string {
  return list.replaceAll(/^(\S+) +/gm, (_, name: string) => `${name.toUpperCase()}: `).replaceAll(/\n(?=\S)/g, ' ');
}

/** By name, because a plugin throws the `SdqError` of the copy of sdq that it finds. */
function isExpected(error: unknown): error is SdqError {
  return error instanceof SdqError || (error instanceof Error && error.name === 'SdqError' && 'suggestions' in error);
}

/** Errors of oclif's own: flags and arguments that it could not parse. */
function isOclifError(error: unknown): error is Error & {oclif: {exit: number}} {
  return error instanceof Error && 'oclif' in error && typeof (error.oclif as {exit?: unknown}).exit === 'number';
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException & {code: string} {
  return error instanceof Error && 'errno' in error && 'syscall' in error && 'code' in error;
}
