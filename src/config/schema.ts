/** The config's schema with every `$ref` written out, which is what the validator and the generated types work on. */
import {createRequire} from 'node:module';

export interface JsonSchema {
  readonly [keyword: string]: unknown;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
}

const require = createRequire(import.meta.url);

/** The schema as it is published. */
export const configSchema = expand(require('../../schemas/config.schema.json') as JsonSchema);

/** `{$ref: '#/$defs/x', …siblings}` becomes the definition with the siblings laid over it. */
export function expand(root: JsonSchema): JsonSchema {
  const definitions = (root['$defs'] ?? {}) as Readonly<Record<string, JsonSchema>>;
  const visit = (node: unknown): unknown => {
    if (Array.isArray(node)) return node.map(visit);
    if (!isMapping(node)) return node;
    const {$ref, ...siblings} = node;
    if (typeof $ref !== 'string') {
      return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, visit(value)]));
    }
    return visit(merge(definitions[$ref.replace('#/$defs/', '')], siblings));
  };
  return visit(Object.fromEntries(Object.entries(root).filter(([key]) => key !== '$defs'))) as JsonSchema;
}

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
