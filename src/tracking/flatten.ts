/** Nested settings and results as flat names: how servers want them, and what dashboards depend on. */

/**
 * Leaves of a mapping under joined names: `search.target.meanWeightBits` with `.`, `train/accuracy/test` with `/`.
 * Lists become JSON text; null, undefined and empty mappings are left out.
 */
export function flatten(
  value: Readonly<Record<string, unknown>>,
  separator: '.' | '/',
): ReadonlyMap<string, string | number | boolean> {
  const flat = new Map<string, string | number | boolean>();
  const visit = (node: unknown, name: string): void => {
    if (typeof node === 'string' || typeof node === 'number' || typeof node === 'boolean') flat.set(name, node);
    else if (Array.isArray(node)) flat.set(name, JSON.stringify(node));
    else if (typeof node === 'object' && node !== null) {
      for (const [key, child] of Object.entries(node)) visit(child, name === '' ? key : `${name}${separator}${key}`);
    }
  };
  visit(value, '');
  return flat;
}
