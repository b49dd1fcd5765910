/** What a validator finds wrong, in words: the place, the value and what is allowed there. */
import type {ErrorObject} from 'ajv/dist/2020.js';

import {isMapping} from '../mapping.ts';
import {didYouMean} from '../nearest.ts';
import type {JsonSchema} from './json-schema.ts';
import {meantPaths} from './key-paths.ts';
import {escaped, keysOf} from './pointer.ts';

/** What is wrong with a value, in words. */
export interface Problem {
  readonly message: string;
  /** JSON pointer; '' is the value itself. */
  readonly place: string;
  readonly suggestions: readonly string[];
}

/** Unknown keys come first. Of a choice (`anyOf`) there is the branch that fits the value's type, else the choice itself. */
export function telling(errors: readonly ErrorObject[]): readonly ErrorObject[] {
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

const takesMapping = (branches: readonly JsonSchema[]): boolean => branches.some(({type}) => type === 'object');

export function describe(error: ErrorObject, root: JsonSchema): Problem {
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
