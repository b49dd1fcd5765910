/** JSON Schemas with every `$ref` written out, which is what the validator and the generated types work on. */
import {isMapping, merge} from '../mapping.ts';

export interface JsonSchema {
  readonly [keyword: string]: unknown;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
}

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
