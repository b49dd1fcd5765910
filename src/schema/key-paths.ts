/** Which keys of a schema a mistyped or borrowed name may stand for. */
import {nearest} from '../nearest.ts';
import type {JsonSchema} from './json-schema.ts';

/** What people call a key in other programs. */
const otherNames: ReadonlyMap<string, string> = new Map([
  ['lr', 'learningRate'],
  ['wd', 'weightDecay'],
  ['bs', 'batchSize'],
  ['batch', 'batchSize'],
  ['bits', 'meanWeightBits'],
]);

/** Paths of the keys whose last word is `name` (kebab and snake case too), else of those whose last word is nearest to it. */
export function meantPaths(name: string, schema: JsonSchema): readonly (readonly string[])[] {
  const paths: string[][] = [];
  const visit = (node: JsonSchema, path: readonly string[]): void => {
    for (const [key, child] of Object.entries(node.properties ?? {})) {
      paths.push([...path, key]);
      visit(child, [...path, key]);
    }
  };
  visit(schema, []);
  const plain = (key: string): string => key.replaceAll(/[-_]/g, '').toLowerCase();
  const word = plain(otherNames.get(name) ?? name);
  const last = new Map(paths.map((path) => [plain(path.at(-1) ?? ''), path.at(-1)]));
  const meant = last.get(last.has(word) ? word : (nearest(word, last.keys()) ?? ''));
  return paths.filter((path) => path.at(-1) === meant);
}
