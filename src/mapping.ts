/** Mappings: what JSON and YAML call an object. */

export function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Mappings are merged key by key; anything else of `over` takes the place of what `base` has. */
export function merge(base: unknown, over: unknown): unknown {
  if (!isMapping(base) || !isMapping(over)) return over;
  const merged = {...base};
  for (const [key, value] of Object.entries(over)) {
    Object.defineProperty(merged, key, {
      value: Object.hasOwn(merged, key) ? merge(merged[key], value) : value,
      configurable: true,
      enumerable: true,
      writable: true,
    });
  }
  return merged;
}

/**
 * Leaves of a mapping under joined names: `search.target.meanWeightBits` with `.`, `train/accuracy/test` with `/`. A list is a
 * leaf; empty mappings have none.
 */
export function leaves(value: Readonly<Record<string, unknown>>, separator: '.' | '/'): ReadonlyMap<string, unknown> {
  const flat = new Map<string, unknown>();
  const visit = (node: Readonly<Record<string, unknown>>, prefix: string): void => {
    for (const [key, child] of Object.entries(node)) {
      if (isMapping(child)) visit(child, `${prefix}${key}${separator}`);
      else flat.set(`${prefix}${key}`, child);
    }
  };
  visit(value, '');
  return flat;
}
