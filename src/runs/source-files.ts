/** The sources beside a run, as git knows them: kept in the run's folder for a tracker that is asked to send them. */
import {execFileSync} from 'node:child_process';
import {lstatSync, readFileSync} from 'node:fs';
import path from 'node:path';

import {makeFolder, writeFileAtomic} from '../files.ts';
import {redactSource} from '../redact.ts';
import type {Run} from './run-directory.ts';

/** In the run's folder. */
export const diffFile = 'diff.patch';
/** Folder in the run's folder. */
export const codeFolder = 'code';

const limits = {diffBytes: 10 << 20, fileBytes: 1 << 20, codeBytes: 10 << 20, files: 200} as const;

/** Never kept, whatever git says of them. */
const secretFiles = [
  '.env*',
  '*.env',
  '*.pem',
  '*.key',
  '*.p12',
  '.netrc',
  '_netrc',
  'id_rsa*',
  'id_ed25519*',
  '*credentials*',
];
const sourceFiles = ['js', 'mjs', 'cjs', 'ts', 'mts', 'cts', 'py', 'json', 'yaml', 'yml'].map(
  (ending) => `*.${ending}`,
);

/**
 * Writes what differs from the last commit of the working folder's repository, as a patch without what looks like a secret.
 * @param notice gets the reason where there is none
 */
export function keepDiff(run: Run, env: NodeJS.ProcessEnv, notice: (message: string) => void): void {
  const excluded = secretFiles.map((name) => `:(top,exclude,glob,icase)**/${name}`);
  const diff = git(['diff', '--no-color', '--no-ext-diff', '--no-textconv', 'HEAD', '--', ':/', ...excluded]);
  if (typeof diff !== 'string') notice(`There is no ${diffFile}: ${diff.reason}.`);
  else if (diff !== '') writeFileAtomic(run.path(diffFile), redactSource(diff, env));
}

/**
 * Copies the sources below the working folder that git does not ignore, without what looks like a secret.
 * @param notice gets the reason where there are none, and the names of those left out
 */
export function keepCode(run: Run, env: NodeJS.ProcessEnv, notice: (message: string) => void): void {
  const named = (names: readonly string[], magic: string): string[] =>
    names.map((name) => `:(${magic}glob,icase)**/${name}`);
  const patterns = [...named(sourceFiles, ''), ...named(secretFiles, 'exclude,')];
  const list = git(['ls-files', '-z', '--cached', '--others', '--exclude-standard', '--', ...patterns]);
  if (typeof list !== 'string') {
    notice(`There is no code for the trackers: ${list.reason}.`);
    return;
  }
  let [bytes, count, left] = [0, 0, 0];
  for (const name of list.split('\0').filter((each) => each !== '')) {
    // A link may lead to what is no source.
    const stat = lstatSync(name, {throwIfNoEntry: false});
    if (stat?.isFile() !== true) continue;
    const isFull = count === limits.files || bytes + stat.size > limits.codeBytes;
    if (isFull || stat.size > limits.fileBytes) {
      left += 1;
      continue;
    }
    const target = run.path(codeFolder, name);
    makeFolder(path.dirname(target));
    writeFileAtomic(target, redactSource(readFileSync(name, 'utf8'), env));
    bytes += stat.size;
    count += 1;
  }
  if (left > 0)
    notice(`Source files that are not sent: ${left}. At most ${limits.files} files, 1 MB each and 10 MB in all are.`);
}

function git(args: readonly string[]): string | {readonly reason: string} {
  try {
    const options = {encoding: 'utf8', maxBuffer: limits.diffBytes, timeout: 30_000} as const;
    return execFileSync('git', args, {...options, stdio: ['ignore', 'pipe', 'ignore']});
  } catch (error) {
    const {code} = error as NodeJS.ErrnoException;
    if (code === 'ENOBUFS') return {reason: 'it is longer than 10 MB'};
    return {reason: code === 'ENOENT' ? 'git is not installed' : 'git knows no commit here'};
  }
}
