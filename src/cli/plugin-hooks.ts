/** Runs the hooks `sdq:register` of plugins. Without oclif, so that a worker thread can have a registry for little memory. */
import {existsSync, readFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import path from 'node:path';
import {pathToFileURL} from 'node:url';

import {ExitCode, invalidInput, SdqError} from '../errors.ts';
import {Registry, type Kind, type RegisterHook} from '../plugin-api/registry.ts';

export const event = 'sdq:register';

/** A package with the hook. */
interface Plugin {
  readonly name: string;
  readonly load: () => Promise<unknown>;
}

/** @throws SdqError (exit 3) when a hook fails */
export async function fillRegistry(plugins: readonly Plugin[], kinds: readonly Kind[]): Promise<Registry> {
  const registry = new Registry(kinds);
  for (const plugin of plugins) {
    try {
      const hook = registerHook(await plugin.load());
      await registry.from(plugin.name, () => hook({registry}));
    } catch (error) {
      if (error instanceof SdqError) throw error;
      throw new SdqError(
        `The plugin ${plugin.name} failed to register: ${error instanceof Error ? error.message : String(error)}`,
        {code: 'plugin-failed', exit: ExitCode.invalidInput, cause: error},
      );
    }
  }
  return registry;
}

function registerHook(module: unknown): RegisterHook {
  const hook = (module as {default?: unknown}).default ?? module;
  if (typeof hook !== 'function') throw new Error(`its hook ${event} has no default export that is a function.`);
  return hook as RegisterHook;
}

/** @param position in `plugins` of the config, for the error */
export function namedPlugin(name: string, base: string, position: number): Plugin[] {
  const root = pluginRoot(name, base);
  if (root === undefined) {
    throw invalidInput(
      'plugin-missing',
      `/plugins/${position}: the package "${name}" is not installed where ${base} would find it.`,
      [`Install it: \`npm install ${name}\` in ${base}.`],
    );
  }
  const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
    name?: string;
    oclif?: {hooks?: Record<string, string | string[] | undefined>};
  };
  const targets = [manifest.oclif?.hooks?.[event] ?? []].flat();
  if (targets.length === 0) {
    throw invalidInput(
      'plugin-without-hook',
      `/plugins/${position}: the package "${name}" has no oclif hook ${event} in its package.json.`,
    );
  }
  return targets.map((target) => ({
    name: manifest.name ?? name,
    load: () => import(pathToFileURL(path.join(root, target)).href),
  }));
}

/** The folder of a package as Node would find it from `base`, whatever its `exports` leave out. */
function pluginRoot(name: string, base: string): string | undefined {
  const folders =
    name.startsWith('.') || path.isAbsolute(name)
      ? [path.resolve(base, name)]
      : (createRequire(path.join(base, 'x.js')).resolve.paths(name) ?? []).map((folder) => path.join(folder, name));
  return folders.find((folder) => existsSync(path.join(folder, 'package.json')));
}
