/** Fills a registry: the built-ins, the plugins that oclif knows, and those that the config names. */
import {ModuleLoader, type Config as OclifConfig} from '@oclif/core';

import {checkDefinition} from '../config/check-definition.ts';
import {Registry, type Kind} from '../plugin-api/registry.ts';
import {event, fillRegistry, namedPlugin} from './plugin-hooks.ts';

/**
 * @param named `plugins` of the config: package names, or folders that start with `.` or are absolute
 * @param base folder from which they are resolved
 * @throws SdqError (exit 3) when a package is missing, has no such hook, its hook fails, or what it adds is no definition
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
  const registry = await fillRegistry([...known, ...others], kinds);
  for (const {definition, source} of registry.additions) checkDefinition(definition, source);
  return registry;
}

/** Folders of the packages, beside sdq itself, that oclif knows to have the hook: `namedPlugin` finds them again. */
export function knownPlugins(config: OclifConfig): readonly string[] {
  return config
    .getPluginsList()
    .filter(({hooks, name}) => name !== config.name && (hooks[event] ?? []).length > 0)
    .map(({root}) => root);
}
