/** Process exit codes: the contract of every command (README, "Exit codes"). */
export const ExitCode = {
  done: 0,
  bug: 1,
  usage: 2,
  invalidInput: 3,
  hardwareViolated: 4,
  targetNotReached: 5,
  notAvailable: 6,
  verificationFailed: 7,
  interrupted: 130,
  terminated: 143,
} as const;

export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** What an `SdqError` carries beside its message. */
export interface SdqErrorOptions {
  /** Stable, machine-readable name in kebab case, e.g. `checkpoint-truncated`. */
  readonly code: string;
  readonly exit: ExitCode;
  /** What the user can do next; each a full sentence or a command line. */
  readonly suggestions?: readonly string[];
  readonly cause?: unknown;
}

/**
 * An expected error: the message names the file, the place in it (JSON pointer or byte offset), the value found and
 * what is allowed. Everything that is not an `SdqError` is a bug and is reported as one.
 * The shape is oclif's `CLIError` without the import, so that the method and the graph stay free of the CLI framework.
 */
export class SdqError extends Error {
  readonly code: string;
  readonly suggestions: readonly string[];
  readonly oclif: {readonly exit: ExitCode};

  constructor(message: string, options: SdqErrorOptions) {
    super(message, options.cause === undefined ? undefined : {cause: options.cause});
    this.name = 'SdqError';
    this.code = options.code;
    this.suggestions = options.suggestions ?? [];
    this.oclif = {exit: options.exit};
  }
}

/** The usual error: exit code 3. @param code stable name in kebab case @param suggestions what the user can do next */
export function invalidInput(code: string, message: string, suggestions: readonly string[] = []): SdqError {
  return new SdqError(message, {code, exit: ExitCode.invalidInput, suggestions});
}
