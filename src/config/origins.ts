/** A resolved config with where each of its values comes from. */
import path from 'node:path';

import {Document, isMap, isScalar, isSeq, type Node} from 'yaml';

import {invalidInput} from '../errors.ts';
import {isMapping} from '../mapping.ts';
import {meantPaths} from '../schema/key-paths.ts';
import {originOf, type Source} from '../schema/settings.ts';
import {configSchema} from './schema.ts';

/** By dotted key: a file with line and column, a flag, a variable, or `default`. Lists and empty mappings are values. */
export function originsOf(
  config: unknown,
  sources: readonly Source[],
  keys: readonly string[] = [],
): Readonly<Record<string, string>> {
  if (isMapping(config) && Object.keys(config).length > 0) {
    return Object.assign(
      {},
      ...Object.entries(config).map(([key, value]) => originsOf(value, sources, [...keys, key])),
    ) as Readonly<Record<string, string>>;
  }
  return keys.length === 0 ? {} : {[keys.join('.')]: originOf(keys, sources) ?? 'default'};
}

/** YAML that is a config again, a comment behind each value. @param base folder that paths in comments start from */
export function annotated(
  value: unknown,
  origins: Readonly<Record<string, string>>,
  base: string,
  keys: readonly string[] = [],
): string {
  const document = new Document(value);
  const visit = (node: Node | null, place: readonly string[]): void => {
    if (isMap(node) && node.items.length > 0) {
      for (const {key, value: child} of node.items) {
        visit(child as Node | null, [...place, String(isScalar(key) ? key.value : key)]);
      }
      return;
    }
    if (isMap(node) || isSeq(node)) node.flow = true;
    const origin = origins[place.join('.')];
    if (node !== null && origin !== undefined)
      node.comment = ` ${path.isAbsolute(origin) ? path.relative(base, origin) : origin}`;
  };
  visit(document.contents, keys);
  return document.toString({lineWidth: 0}).trimEnd();
}

/**
 * The part of a config below a dotted key.
 * @throws SdqError (exit 3) for a key that the config does not have
 */
export function partOf(config: unknown, key: string): unknown {
  let node = config;
  for (const word of key.split('.')) {
    if (!isMapping(node) || !Object.hasOwn(node, word)) {
      const near = meantPaths(key.split('.').at(-1) ?? key, configSchema).map((keys) => keys.join('.'));
      throw invalidInput(
        'unknown-key',
        `The config has no value at "${key}".`,
        near.slice(0, 3).map((name) => `Did you mean "${name}"?`),
      );
    }
    node = node[word];
  }
  return node;
}
