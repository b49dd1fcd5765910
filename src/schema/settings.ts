/** Checks settings that come from several places, and files: an error names the place, its line, the value and the rule. */
import {isMap, isNode, isScalar, isSeq, LineCounter, parseDocument, type Scalar} from 'yaml';

import {invalidInput} from '../errors.ts';
import {item} from '../lookup.ts';
import {isMapping} from '../mapping.ts';
import {problemsOf} from './check.ts';
import type {JsonSchema} from './json-schema.ts';
import {escaped, keysOf} from './pointer.ts';

/** Settings from one place; of several the last wins. */
export interface Source {
  /** How an error names it: a file's path, `--set search.epochs=x`, `SDQ_SEED`. */
  readonly name: string;
  /** Folder that relative paths in it start from. */
  readonly base: string;
  readonly values: Readonly<Record<string, unknown>>;
  /** Text of a YAML or JSON file: errors then give the line and the column. */
  readonly text?: string;
}

/**
 * Fills the defaults into `settings` (in place) and checks it.
 *
 * @param sources where the settings come from, the last wins: an error names the one that its value came from
 * @param keys keys that lead to `settings` in the sources
 * @throws SdqError (exit 3) that lists everything that is wrong
 */
export function validateSettings(
  settings: unknown,
  schema: JsonSchema,
  sources: readonly Source[],
  keys: readonly string[] = [],
): void {
  const problems = problemsOf(settings, schema);
  if (problems.length === 0) return;
  const lines = problems.map(({message, place}) => {
    const whole = keys.map((key) => `/${escaped(key)}`).join('') + place;
    return `${shownPlace(whole, sourceOf(whole, sources))}${message}`;
  });
  const shown = lines.slice(0, mostShown).map((line) => `\n  ${line}`);
  const more = lines.length > mostShown ? `\n  and ${lines.length - mostShown} more.` : '';
  throw invalidInput(
    'invalid-config',
    lines.length === 1 ? item(lines, 0) : `${lines.length} settings are wrong:${shown.join('')}${more}`,
    [...new Set(problems.slice(0, mostShown).flatMap(({suggestions}) => suggestions))],
  );
}

/**
 * The same for a file's content, or a part of it.
 * @param place keys that lead to `value` in the file
 * @throws SdqError (exit 3) that lists everything that is wrong
 */
export function checkFile(value: unknown, schema: JsonSchema, file: string, place: readonly string[] = []): void {
  validateSettings(value, schema, [{name: file, base: '', values: {}}], place);
}

/** Problems that one error lists. */
const mostShown = 20;

/** `FILE:LINE:COLUMN: /search/epochs: `, or of a flag only what its own key does not say. */
function shownPlace(place: string, {name, text}: Source | {name: string; text?: undefined}): string {
  const flag = /^--set ([^=]+)=/.exec(name)?.[1];
  if (flag !== undefined && place === `/${flag.replaceAll('.', '/')}`) return `${name}: `;
  const position = text === undefined ? undefined : positionOf(text, keysOf(place));
  const suffix = position === undefined ? '' : `:${position.line}:${position.col}`;
  return `${name}${suffix}: ${place === '' ? '' : `${place}: `}`;
}

/**
 * Where the value at these keys comes from: `FILE:LINE:COLUMN`, `--set search.epochs=2`, `SDQ_SEED`; undefined for a default.
 * @param sources the last wins; `null`, or a mapping that is emptied, takes back what an earlier one says
 */
export function originOf(keys: readonly string[], sources: readonly Source[]): string | undefined {
  let origin: Source | undefined;
  for (const source of sources) {
    let node: unknown = source.values;
    let depth = 0;
    while (depth < keys.length && isMapping(node) && Object.hasOwn(node, item(keys, depth))) {
      node = node[item(keys, depth)];
      depth += 1;
    }
    if (depth === 0) continue;
    const isEmptied = !isMapping(node) || Object.keys(node).length === 0;
    if (depth === keys.length && node !== null) origin = source;
    else if (isEmptied) origin = undefined;
  }
  if (origin?.text === undefined) return origin?.name;
  const position = positionOf(origin.text, keys);
  return position === undefined ? origin.name : `${origin.name}:${position.line}:${position.col}`;
}

/** Where the deepest part of the path that a YAML or JSON text has begins; undefined where it has none. */
function positionOf(text: string, keys: readonly string[]): {line: number; col: number} | undefined {
  const lines = new LineCounter();
  let node: unknown = parseDocument(text, {lineCounter: lines, logLevel: 'silent'}).contents;
  let offset: number | undefined;
  for (const key of keys) {
    if (isMap(node)) {
      const pair = node.items.find(({key: name}) => isScalar(name) && String(name.value) === key);
      if (pair === undefined) break;
      offset = (pair.key as Scalar).range?.[0];
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(key)];
      if (!isNode(node)) break;
      offset = node.range?.[0];
    } else break;
  }
  return offset === undefined ? undefined : lines.linePos(offset);
}

/** The last source that has the place, or the deepest part of it that any source has. */
function sourceOf(pointer: string, sources: readonly Source[]): Source | {name: string} {
  const keys = keysOf(pointer);
  let best: {depth: number; source: Source | {name: string}} = {depth: 0, source: sources[0] ?? {name: 'settings'}};
  for (const source of sources) {
    let depth = 0;
    for (let node: unknown = source.values; depth < keys.length; depth++) {
      const key = item(keys, depth);
      if (typeof node !== 'object' || node === null || !Object.hasOwn(node, key)) break;
      node = (node as Record<string, unknown>)[key];
    }
    if (depth > 0 && depth >= best.depth) best = {depth, source};
  }
  return best.source;
}
