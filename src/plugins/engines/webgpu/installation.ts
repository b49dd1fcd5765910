/** What `sdq engine install webgpu` brings: Dawn (npm `webgpu`) and the WebGPU backend of tfjs. */
import {existsSync, rmSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {engineCache} from '../../../data/cache.ts';
import type {EngineInstallContext} from '../../../plugin-api/registry.ts';
import {inInstallFolder} from '../install-folder.ts';
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

const webgpuFolder = (environment: NodeJS.ProcessEnv = process.env): string =>
  path.join(engineCache(environment), 'webgpu');

/** Is there when everything is; named after the versions, so that other ones are fetched anew. */
const finishedIn = (folder: string): string =>
  path.join(folder, `installed-${packages.map(({version}) => version).join('-')}`);

/** Undefined where it is not installed. */
export function installedFolder(): string | undefined {
  const folder = webgpuFolder();
  return existsSync(finishedIn(folder)) ? folder : undefined;
}

/** @returns the folder. @throws SdqError (exit 6) where npm cannot fetch a package, or the folder cannot be written */
export async function installWebgpu(context: EngineInstallContext): Promise<string> {
  const folder = webgpuFolder(context.environment);
  const finished = finishedIn(folder);
  await inInstallFolder(folder, context.signal, async (temporary) => {
    if (existsSync(finished)) return;
    rmSync(path.join(folder, 'node_modules'), {recursive: true, force: true});
    const names = packages.map(({name, version}) => `${name}@${version}`);
    context.notice(`Fetching ${names.join(' and ')} with npm.`);
    await unpackNpm(context, packages, {folder, temporary, shared: ['@tensorflow/tfjs-core']});
    writeFileSync(finished, `${names.join('\n')}\n`);
  });
  return folder;
}
