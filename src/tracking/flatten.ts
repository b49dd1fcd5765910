/** Nested settings and results as flat names: how servers want them, and what dashboards depend on. */
import {leaves} from '../mapping.ts';

/**
 * Leaves of a mapping under joined names: `search.target.meanWeightBits` with `.`, `train/accuracy/test` with `/`.
 * Lists become JSON text; null, undefined and empty mappings are left out.
 */
export function flatten(
  value: Readonly<Record<string, unknown>>,
  separator: '.' | '/',
): ReadonlyMap<string, string | number | boolean> {
  return new Map(
    [...leaves(value, separator)].flatMap(([name, leaf]): [string, string | number | boolean][] => {
      if (typeof leaf === 'string' || typeof leaf === 'number' || typeof leaf === 'boolean') return [[name, leaf]];
      return Array.isArray(leaf) ? [[name, JSON.stringify(leaf)]] : [];
    }),
  );
}
