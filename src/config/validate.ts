/** Checks settings against the schema and says what is wrong in terms of the file, the place, the value and the rule. */
import {Ajv2020, type ErrorObject, type ValidateFunction} from 'ajv/dist/2020.js';
import {isMap, isNode, isScalar, isSeq, LineCounter, parseDocument, type Scalar} from 'yaml';

import {ExitCode, SdqError} from '../errors.ts';
import {item} from '../lookup.ts';
import {didYouMean} from '../nearest.ts';
import {meantPaths} from './key-paths.ts';
import type {Source} from './overrides.ts';
import {isMapping, type JsonSchema} from './schema.ts';

/**
 * Fills the defaults into `settings` (in place) and checks it.
 *
 * @param sources where the settings come from, the last wins: an error names the one that its value came from
 * @param at keys that lead to `settings` in the sources
 * @throws SdqError (exit 3) that lists everything that is wrong
 */
export function validateSettings(
  settings: unknown,
  schema: JsonSchema,
  sources: readonly Source[],
  at: readonly string[] = [],
): void {
  const problems = problemsOf(settings, schema);
  if (problems.length === 0) return;
  const lines = problems.map(({message, place}) => {
    const whole = at.map((key) => `/${escaped(key)}`).join('') + place;
    return `${shownPlace(whole, sourceOf(whole, sources))}${message}`;
  });
  const shown = lines.slice(0, mostShown).map((line) => `\n  ${line}`);
  const more = lines.length > mostShown ? `\n  and ${lines.length - mostShown} more.` : '';
  throw new SdqError(
    lines.length === 1 ? item(lines, 0) : `${lines.length} settings are wrong:${shown.join('')}${more}`,
    {
      code: 'invalid-config',
      exit: ExitCode.invalidInput,
      suggestions: [...new Set(problems.slice(0, mostShown).flatMap(({suggestions}) => suggestions))],
    },
  );
}

/** Problems that one error lists. */
const mostShown = 20;

/** `FILE:LINE:COLUMN: /search/epochs: `, or of a flag only what its own key does not say. */
function shownPlace(place: string, {name, text}: Source | {name: string; text?: undefined}): string {
  const flag = /^--set ([^=]+)=/.exec(name)?.[1];
  if (flag !== undefined && place === `/${flag.replaceAll('.', '/')}`) return `${name}: `;
  const position = text === undefined ? undefined : positionOf(text, keysOf(place));
  const at = position === undefined ? '' : `:${position.line}:${position.col}`;
  return `${name}${at}: ${place === '' ? '' : `${place}: `}`;
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

/** What is wrong with a value, in words. */
export interface Problem {
  readonly message: string;
  /** JSON pointer; '' is the value itself. */
  readonly place: string;
  readonly suggestions: readonly string[];
}

/** Fills the schema's defaults into `value` (in place). @returns what is most wrong with it; undefined when nothing is */
export function firstProblem(value: unknown, schema: JsonSchema): Problem | undefined {
  return problemsOf(value, schema)[0];
}

/** The same, with everything that is wrong: the most telling problem first. */
function problemsOf(value: unknown, schema: JsonSchema): readonly Problem[] {
  const validate = compiled(schema);
  if (validate(value)) return [];
  const problems = telling(validate.errors ?? []).map((error) => describe(error, schema));
  return problems.filter(
    ({place, message}, i) => i === problems.findIndex((p) => p.place === place && p.message === message),
  );
}

/** By the text of their schema: the settings of each trial of a sweep have an equal one. */
const validators = new Map<string, ValidateFunction>();

function compiled(schema: JsonSchema): ValidateFunction {
  const text = JSON.stringify(schema);
  const known = validators.get(text);
  if (known !== undefined) return known;
  // Schemas are checked elsewhere, ours by tests and those of plugins when they register: that takes as long as the rest.
  const validate = ajv({validateSchema: false}).compile(schema);
  validators.set(text, validate);
  return validate;
}

/** @returns why a schema cannot be used; undefined when it can */
export function schemaProblem(schema: JsonSchema): string | undefined {
  try {
    ajv({validateSchema: true}).compile(schema);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

function ajv(options: {readonly validateSchema: boolean}): Ajv2020 {
  const validators = new Ajv2020({
    ...options,
    allErrors: true,
    // A validator runs once or twice a process: to optimize its code takes longer than it saves.
    code: {optimize: false},
    strict: false,
    strictNumbers: true,
    useDefaults: true,
    verbose: true,
    logger: false,
  });
  validators.addFormat('path', true);
  validators.addFormat('hardware', true);
  // The two of a sweep file: its writer's 1.0 and 1 are one number here.
  validators.addFormat('integer', {type: 'number', validate: Number.isInteger});
  validators.addFormat('float', {type: 'number', validate: Number.isFinite});
  return validators;
}

/** Unknown keys come first. Of a choice (`anyOf`) there is the branch that fits the value's type, else the choice itself. */
function telling(errors: readonly ErrorObject[]): readonly ErrorObject[] {
  const choices = errors.filter(({keyword}) => keyword === 'anyOf');
  const candidates = errors.filter((error) => {
    // What is wrong in its branch is an error of its own.
    if (error.keyword === 'if') return false;
    if (error.keyword === 'anyOf') return !isMapping(error.data) || !takesMapping(error.schema as JsonSchema[]);
    const choice = choices.find(({schemaPath}) => error.schemaPath.startsWith(`${schemaPath}/`));
    if (choice === undefined) return true;
    return (
      isMapping(choice.data) &&
      (error.instancePath !== choice.instancePath || isMapping(error.parentSchema?.['properties']))
    );
  });
  if (candidates.length === 0) return errors.slice(0, 1);
  const isUnknownKey = ({keyword}: ErrorObject): boolean => keyword === 'additionalProperties';
  return [...candidates.filter(isUnknownKey), ...candidates.filter((error) => !isUnknownKey(error))];
}

/** A key in a JSON pointer. */
const escaped = (key: string): string => key.replaceAll('~', '~0').replaceAll('/', '~1');

const takesMapping = (branches: readonly JsonSchema[]): boolean => branches.some(({type}) => type === 'object');

function describe(error: ErrorObject, root: JsonSchema): Problem {
  const {data, instancePath, parentSchema = {}} = error;
  if (error.keyword === 'additionalProperties') {
    const key = (error.params as {additionalProperty: string}).additionalProperty;
    const known = Object.keys((parentSchema as JsonSchema).properties ?? {}).filter((name) => !name.startsWith('$'));
    return {
      message: `unknown key "${key}". ${known.length === 0 ? 'No key is allowed here' : `Known here: ${known.join(', ')}`}.`,
      place: `${instancePath}/${escaped(key)}`,
      suggestions: meantKey(key, known, root, keysOf(instancePath)),
    };
  }
  if (error.keyword === 'required') {
    const key = (error.params as {missingProperty: string}).missingProperty;
    return {message: `"${key}" is missing.`, place: instancePath, suggestions: []};
  }
  const allowed = (parentSchema['enum'] ?? []) as unknown[];
  if (parentSchema['type'] === 'array' && ['string', 'number'].includes(typeof data)) {
    const key = keysOf(instancePath).join('.');
    return {
      message: `expected ${expected(parentSchema)}, found ${shown(data)}.`,
      place: instancePath,
      suggestions: [`Write it as a list: ${key}: [${String(data)}], or --set '${key}=[${String(data)}]'.`],
    };
  }
  return {
    message: `expected ${expected(parentSchema)}, found ${shown(data)}.`,
    place: instancePath,
    suggestions:
      typeof data === 'string'
        ? didYouMean(
            data,
            allowed.filter((value) => typeof value === 'string'),
          )
        : [],
  };
}

/** A key near the unknown one: here, else anywhere in the schema, with its path. */
function meantKey(key: string, known: readonly string[], root: JsonSchema, here: readonly string[]): readonly string[] {
  const near = didYouMean(key, known);
  if (near.length > 0) return near;
  const paths = meantPaths(key, root).map((path) => path.join('.'));
  const inside = paths.filter((path) => path.startsWith(here.join('.')));
  const [path] = inside.length > 0 ? inside : paths;
  return path === undefined ? [] : [`Did you mean "${path}"?`];
}

/** What a schema allows, in words. */
function expected(schema: JsonSchema): string {
  if (Array.isArray(schema['anyOf'])) return (schema['anyOf'] as JsonSchema[]).map(expected).join(' or ');
  if (Array.isArray(schema['enum'])) return `one of ${schema['enum'].map(shown).join(', ')}`;
  if ('const' in schema) return shown(schema['const']);
  const {type, maxLength, minItems, minLength, uniqueItems} = schema;
  const bounds = Object.entries({
    minimum: 'at least',
    exclusiveMinimum: 'above',
    maximum: 'at most',
    exclusiveMaximum: 'below',
  }).flatMap(([keyword, words]) => (keyword in schema ? [`${words} ${shown(schema[keyword])}`] : []));
  const limits = bounds.join(' and ');
  const kinds: Readonly<Record<string, string>> = {
    object: schema.properties === undefined ? 'a mapping' : `a mapping of ${Object.keys(schema.properties).join(', ')}`,
    array: `a list of ${minItems === undefined ? '' : `at least ${shown(minItems)} `}${uniqueItems === true ? 'different ' : ''}${
      isMapping(schema['items']) && typeof schema['items']['type'] === 'string'
        ? `${schema['items']['type']}s`
        : 'values'
    }`,
    string:
      (typeof schema['pattern'] === 'string'
        ? `text like /${schema['pattern']}/`
        : minLength === undefined
          ? 'text'
          : 'text that is not empty') + (maxLength === undefined ? '' : ` of at most ${shown(maxLength)} characters`),
    integer: 'a whole number',
    number: 'a number',
    boolean: 'true or false',
  };
  return `${kinds[String(type)] ?? 'another value'} ${limits.startsWith('at ') ? 'of ' : ''}${limits}`.trimEnd();
}

function shown(value: unknown): string {
  const text = typeof value === 'number' ? String(value) : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

/** The keys of a JSON pointer. */
const keysOf = (pointer: string): readonly string[] =>
  pointer
    .split('/')
    .slice(1)
    .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));

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
