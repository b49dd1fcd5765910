/** What `sdq engine install webgpu` brings: Dawn (npm `webgpu`) and the WebGPU backend of tfjs. */
import {existsSync, mkdirSync, rmSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {engineCache} from '../../../data/cache.ts';
import {fileError, isFileSystemError} from '../../../files.ts';
import {acquireLock} from '../../../lock.ts';
import type {EngineInstallContext} from '../../../plugin-api/registry.ts';
import {unpackNpm, type NpmPackage} from '../npm-packages.ts';

const platform = `${process.platform}-${process.platform === 'darwin' ? 'universal' : process.arch}`;

const packages: readonly NpmPackage[] = [
  {
    name: 'webgpu',
    version: '0.6.2',
    integrity: '3L4GfmqJLvYUIEWJngEQY+2HQiUlAFkg8+P8NDDj3Xx5hHHIFO/r8JW+ynfqBj7kHN4mbnwO74uB+lrRtLhp4Q==',
    // It holds the binaries of all platforms.
    wants: (file) => !file.startsWith('dist/') || file.startsWith(`dist/${platform}/`),
  },
  {
    name: '@tensorflow/tfjs-backend-webgpu',
    version: '4.22.0',
    integrity: 'lvIc7Af4Tl2BCdYp43iQmSCRq3asaKT0q2xaErphXiUZ+jqeB0bQa0ZvQys1Xatvto0U4/c90DVsHPfvkn5ftg==',
    wants: (file) => file === 'package.json' || file === 'dist/tf-backend-webgpu.node.js',
  },
];

/** What the folder was made of: another list makes it anew. */
const content = packages.map(({name, version}) => `${name}@${version}\n`).join('');

const webgpuFolder = (environment: NodeJS.ProcessEnv = process.env): string =>
  path.join(engineCache(environment), 'webgpu');

/** Undefined where it is not installed. */
export function installedFolder(): string | undefined {
  const folder = webgpuFolder();
  return existsSync(path.join(folder, `installed-${digestOfContent}`)) ? folder : undefined;
}

const digestOfContent = packages.map(({version}) => version).join('-');

/** @returns the folder. @throws SdqError (exit 6) where npm cannot fetch a package, or the folder cannot be written */
export async function installWebgpu(context: EngineInstallContext): Promise<string> {
  const folder = webgpuFolder(context.environment);
  const finished = path.join(folder, `installed-${digestOfContent}`);
  const temporary = path.join(folder, 'temporary');
  try {
    mkdirSync(folder, {recursive: true});
    const lock = acquireLock(folder);
    try {
      if (existsSync(finished)) return folder;
      for (const each of ['node_modules', 'temporary']) rmSync(path.join(folder, each), {recursive: true, force: true});
      mkdirSync(temporary);
      context.notice(`Fetching ${content.trim().replace('\n', ' and ')} with npm.`);
      await unpackNpm(context, packages, {folder, temporary, shared: ['@tensorflow/tfjs-core']});
      writeFileSync(finished, content);
      return folder;
    } finally {
      rmSync(temporary, {recursive: true, force: true});
      lock.release();
    }
  } catch (error) {
    context.signal.throwIfAborted();
    throw isFileSystemError(error) ? fileError(error, 'write', folder) : error;
  }
}
