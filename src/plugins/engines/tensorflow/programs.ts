/** Runs the programs that an installation needs: Python, the compiler, nvidia-smi. */
import {spawn} from 'node:child_process';
import {createInterface} from 'node:readline';

interface Outcome {
  /** Null when it could not be started or a signal ended it. */
  readonly code: number | null;
  /** The ends of stdout and stderr. */
  readonly stdout: string;
  readonly stderr: string;
}

interface ProgramOptions {
  readonly environment: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
  readonly onLine?: (line: string) => void;
}

const shownLength = 20_000;

/** @throws the signal's reason when it is aborted; the program is then ended */
export async function runProgram(
  command: string,
  args: readonly string[],
  {environment, signal, onLine = () => undefined}: ProgramOptions,
): Promise<Outcome> {
  signal.throwIfAborted();
  const child = spawn(command, args, {env: environment, stdio: ['ignore', 'pipe', 'pipe'], signal});
  const texts = {stdout: '', stderr: ''};
  for (const name of ['stdout', 'stderr'] as const) {
    createInterface({input: child[name]}).on('line', (line) => {
      texts[name] = `${texts[name]}${line}\n`.slice(-shownLength);
      onLine(line);
    });
  }
  const code = await new Promise<number | null>((resolve) => {
    child.once('error', () => resolve(null)).once('close', resolve);
  });
  signal.throwIfAborted();
  return {code, ...texts};
}

/** The last line that says something. */
export function lastLine({stdout, stderr}: Outcome): string {
  const lines = `${stdout}\n${stderr}`.split('\n').map((line) => line.trim());
  return lines.findLast((line) => line !== '')?.replace(/\.$/, '') ?? 'it says nothing';
}
