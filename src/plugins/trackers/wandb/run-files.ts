/** The files that W&B's own client keeps of every run: where it ran, with which packages, its settings and its console. */
import {existsSync, readdirSync, readFileSync, statfsSync, statSync} from 'node:fs';
import {createRequire} from 'node:module';
import {arch, cpus, hostname, platform, release, totalmem} from 'node:os';
import path from 'node:path';

import {stringify} from 'yaml';

import {codeFolder, diffFile, type End, type TrackedRun} from '../../../plugin-api/tracker.ts';
import type {WandbSettings} from './settings.ts';

/** Of a run's folder and of the run at W&B. */
const consoleFile = 'output.log';

/** Files of the run's folder that are sent at its end, by their paths there and at W&B: the console log, and the sources that are asked for. */
export function endFiles(
  directory: string,
  {gitDiff, saveCode}: Pick<WandbSettings, 'gitDiff' | 'saveCode'>,
): readonly string[] {
  const code = path.join(directory, codeFolder);
  const sources = saveCode && existsSync(code) ? readdirSync(code, {recursive: true, encoding: 'utf8'}) : [];
  return [
    consoleFile,
    ...(gitDiff ? [diffFile] : []),
    ...sources.map((name) => `${codeFolder}/${name.replaceAll(path.sep, '/')}`).sort(),
  ].filter((name) => statSync(path.join(directory, name), {throwIfNoEntry: false})?.isFile() === true);
}

/** Said when the run begins, by the process that runs it. */
export function startFiles(run: TrackedRun): ReadonlyMap<string, string> {
  return new Map([
    ['wandb-metadata.json', `${JSON.stringify(metadataOf(run), undefined, 2)}\n`],
    ['requirements.txt', requirements(run.versions)],
  ]);
}

/** The names are those of wandb 0.30; there is no Python. */
function metadataOf({command, git, startedAt}: TrackedRun): object {
  const cores = cpus().length;
  return {
    os: `${platform()}-${release()}-${arch()}`,
    runtime: `Node.js ${process.version}`,
    startedAt: new Date(startedAt).toISOString(),
    program: 'sdq',
    args: [command],
    ...(git === null ? {} : {git: {...(git.remote === undefined ? {} : {remote: git.remote}), commit: git.commit}}),
    host: hostname(),
    executable: process.execPath,
    cpu_count_logical: cores,
    memory: {total: String(totalmem())},
    disk: {'/': diskOf('/')},
  };
}

/** In bytes, as texts. */
function diskOf(folder: string): {readonly total: string; readonly used: string} {
  const {bfree, blocks, bsize} = statfsSync(folder);
  return {total: String(blocks * bsize), used: String((blocks - bfree) * bsize)};
}

/** `NAME==VERSION` of sdq, Node.js and the packages that sdq is made with, as they are installed. */
function requirements(versions: TrackedRun['versions']): string {
  const packages = new Map(Object.entries(versions));
  const require = createRequire(import.meta.url);
  for (const name of dependencies()) {
    const version = require.resolve.paths(name)?.flatMap((folder) => versionIn(path.join(folder, name)))[0];
    if (version !== undefined) packages.set(name, version);
  }
  return [...packages]
    .map(([name, version]) => `${name}==${version}\n`)
    .sort()
    .join('');
}

function dependencies(): readonly string[] {
  for (let folder = import.meta.dirname; ; folder = path.dirname(folder)) {
    const file = path.join(folder, 'package.json');
    if (existsSync(file)) {
      const {dependencies: named = {}} = JSON.parse(readFileSync(file, 'utf8')) as {dependencies?: object};
      return Object.keys(named);
    }
    if (folder === path.dirname(folder)) return [];
  }
}

function versionIn(folder: string): readonly string[] {
  try {
    return [(JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8')) as {version: string}).version];
  } catch {
    return [];
  }
}

/** `config.yaml`, as the package writes it: each key with its value, in YAML 1.1, which Python reads. */
export function configYaml(config: Readonly<Record<string, unknown>>): string {
  const values = Object.entries(config).map(([name, value]) => [name, {value: value ?? null}] as const);
  return stringify(Object.fromEntries(values), {version: '1.1', lineWidth: 0});
}

/**
 * Whether to tell W&B that the run was preempted: a scheduler's signal stopped it, not Ctrl-C, not kill -9 and not W&B itself.
 * Its sweeps start such a run again.
 */
export function isPreempted({exitCode, status}: End, isStopRequested: boolean): boolean {
  return status === 'killed' && exitCode !== 130 && exitCode !== 137 && !isStopRequested;
}
