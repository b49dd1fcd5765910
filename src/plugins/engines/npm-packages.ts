/** Packages of npm that an engine needs, unpacked into its own folder without running any script of theirs. */
import {writeFileSync} from 'node:fs';
import path from 'node:path';

import {extract} from 'tar';

import {packNpm} from '../../data/npm-package.ts';
import {makeFolder} from '../../files.ts';
import type {EngineInstallContext} from '../../plugin-api/registry.ts';

export interface NpmPackage {
  readonly name: string;
  readonly version: string;
  /** sha512 of the tarball, base64. */
  readonly integrity: string;
  /** Which files are wanted, by their path in the package; default: all. */
  readonly wants?: (file: string) => boolean;
}

/** Under this name unpacked packages find sdq's own tfjs-core: a second copy would have tensors of its own. */
export const sharedTfjs = Symbol.for('sdq.tfjs-core');

/**
 * @param folder in whose `node_modules` they come
 * @param temporary for the tarballs
 * @param shared names of packages whose exports are those of sdq's own tfjs-core
 * @throws SdqError (exit 6) where npm cannot fetch one
 */
export async function unpackNpm(
  {environment, signal}: Pick<EngineInstallContext, 'environment' | 'signal'>,
  packages: readonly NpmPackage[],
  {
    folder,
    temporary,
    shared,
  }: {readonly folder: string; readonly temporary: string; readonly shared: readonly string[]},
): Promise<void> {
  const modules = path.join(folder, 'node_modules');
  for (const {wants = () => true, ...each} of packages) {
    const tarball = await packNpm({...each, folder: temporary, signal, environment});
    const target = path.join(modules, each.name);
    makeFolder(target);
    const filter = (entry: string): boolean => wants(entry.replace(/^package\//, ''));
    await extract({file: tarball, cwd: target, strip: 1, strict: true, preserveOwner: false, filter});
  }
  for (const name of shared) {
    const target = path.join(modules, name);
    makeFolder(target);
    writeFileSync(path.join(target, 'index.js'), "module.exports = globalThis[Symbol.for('sdq.tfjs-core')];\n");
  }
}
