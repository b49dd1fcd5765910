/** Fills a registry: the built-ins, the plugins that oclif knows, and those that the config names. */
import {existsSync, readFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import path from 'node:path';
import {pathToFileURL} from 'node:url';

import {ModuleLoader, type Config as OclifConfig} from '@oclif/core';

import {ExitCode, SdqError} from '../errors.ts';
import {Registry, type Kind, type RegisterHook} from '../plugins/registry.ts';

const event = 'sdq:register';

/** A package with a hook `sdq:register`. */
interface Plugin {
  readonly name: string;
  readonly load: () => Promise<unknown>;
}

/**
 * @param named `plugins` of the config: package names, or folders that start with `.` or are absolute
 * @param base folder from which they are resolved
 * @throws SdqError (exit 3) when a package is missing, has no such hook, or its hook fails
 */
export async function loadRegistry(
  config: OclifConfig,
  named: readonly string[],
  base: string,
  kinds: readonly Kind[],
): Promise<Registry> {
  if (kinds.length === 0) return new Registry(kinds);
  const known = config.getPluginsList().flatMap((plugin) =>
    (plugin.hooks[event] ?? []).map(({target}) => ({
      name: plugin.name,
      load: () => ModuleLoader.load<unknown>(plugin, target),
    })),
  );
  const installed = new Set(known.map(({name}) => name));
  const others = named.flatMap((name, i) => namedPlugin(name, base, i)).filter(({name}) => !installed.has(name));
  return fillRegistry([...known, ...others], kinds);
}

/** Folders of the packages, beside sdq itself, that oclif knows to have the hook: `namedPlugin` finds them again. */
export function knownPlugins(config: OclifConfig): readonly string[] {
  return config
    .getPluginsList()
    .filter(({hooks, name}) => name !== config.name && (hooks[event] ?? []).length > 0)
    .map(({root}) => root);
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
    throw new SdqError(`/plugins/${position}: the package "${name}" is not installed where ${base} would find it.`, {
      code: 'plugin-missing',
      exit: ExitCode.invalidInput,
      suggestions: [`Install it: \`npm install ${name}\` in ${base}.`],
    });
  }
  const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
    name?: string;
    oclif?: {hooks?: Record<string, string | string[] | undefined>};
  };
  const targets = [manifest.oclif?.hooks?.[event] ?? []].flat();
  if (targets.length === 0) {
    throw new SdqError(`/plugins/${position}: the package "${name}" has no oclif hook ${event} in its package.json.`, {
      code: 'plugin-without-hook',
      exit: ExitCode.invalidInput,
    });
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
