/** Checks settings against the schema and says what is wrong in terms of the file, the place, the value and the rule. */
import {Ajv2020, type ErrorObject, type ValidateFunction} from 'ajv/dist/2020.js';

import {ExitCode, SdqError} from '../errors.ts';
import {didYouMean} from '../nearest.ts';
import type {Source} from './overrides.ts';
import {isMapping, type JsonSchema} from './schema.ts';

/**
 * Fills the defaults into `settings` (in place) and checks it.
 *
 * @param sources where the settings come from, the last wins: an error names the one that its value came from
 * @param at keys that lead to `settings` in the sources
 * @throws SdqError (exit 3) about the first thing that is wrong
 */
export function validateSettings(
  settings: unknown,
  schema: JsonSchema,
  sources: readonly Source[],
  at: readonly string[] = [],
): void {
  const problem = firstProblem(settings, schema);
  if (problem === undefined) return;
  const {message, suggestions} = problem;
  const place = at.map((key) => `/${escaped(key)}`).join('') + problem.place;
  const source = sourceOf(place, sources);
  throw new SdqError(`${source}: ${place === '' ? '' : `${place}: `}${message}`, {
    code: 'invalid-config',
    exit: ExitCode.invalidInput,
    suggestions,
  });
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
  const validate = compiled(schema);
  return validate(value) ? undefined : describe(mostTelling(validate.errors ?? []));
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

/** An unknown key explains most; of a choice (`anyOf`) the branch that fits the value's type, else the choice itself. */
function mostTelling(errors: readonly ErrorObject[]): ErrorObject {
  const choices = errors.filter(({keyword}) => keyword === 'anyOf');
  const candidates = errors.filter((error) => {
    if (error.keyword === 'anyOf') return !isMapping(error.data) || !takesMapping(error.schema as JsonSchema[]);
    const choice = choices.find(({schemaPath}) => error.schemaPath.startsWith(`${schemaPath}/`));
    if (choice === undefined) return true;
    return (
      isMapping(choice.data) &&
      (error.instancePath !== choice.instancePath || isMapping(error.parentSchema?.['properties']))
    );
  });
  return candidates.find(({keyword}) => keyword === 'additionalProperties') ?? candidates[0] ?? errors[0]!;
}

/** A key in a JSON pointer. */
const escaped = (key: string): string => key.replaceAll('~', '~0').replaceAll('/', '~1');

const takesMapping = (branches: readonly JsonSchema[]): boolean => branches.some(({type}) => type === 'object');

function describe(error: ErrorObject): Problem {
  const {data, instancePath, parentSchema = {}} = error;
  if (error.keyword === 'additionalProperties') {
    const key = (error.params as {additionalProperty: string}).additionalProperty;
    const known = Object.keys((parentSchema as JsonSchema).properties ?? {}).filter((name) => !name.startsWith('$'));
    return {
      message: `unknown key "${key}". ${known.length === 0 ? 'No key is allowed here' : `Known here: ${known.join(', ')}`}.`,
      place: `${instancePath}/${escaped(key)}`,
      suggestions: didYouMean(key, known),
    };
  }
  if (error.keyword === 'required') {
    const key = (error.params as {missingProperty: string}).missingProperty;
    return {message: `"${key}" is missing.`, place: instancePath, suggestions: []};
  }
  const allowed = (parentSchema['enum'] ?? []) as unknown[];
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

/** What a schema allows, in words. */
function expected(schema: JsonSchema): string {
  if (Array.isArray(schema['anyOf'])) return (schema['anyOf'] as JsonSchema[]).map(expected).join(' or ');
  if (Array.isArray(schema['enum'])) return `one of ${schema['enum'].map(shown).join(', ')}`;
  if ('const' in schema) return shown(schema['const']);
  const {type, minItems, minLength, uniqueItems} = schema;
  const bounds = Object.entries({
    minimum: 'at least',
    exclusiveMinimum: 'above',
    maximum: 'at most',
    exclusiveMaximum: 'below',
  }).flatMap(([keyword, words]) => (keyword in schema ? [`${words} ${shown(schema[keyword])}`] : []));
  const limits = bounds.join(' and ');
  const kinds: Readonly<Record<string, string>> = {
    object: schema.properties === undefined ? 'a mapping' : `a mapping of ${Object.keys(schema.properties).join(', ')}`,
    array: `a list${minItems === undefined ? '' : ` of at least ${shown(minItems)}`}${uniqueItems === true ? ' different' : ''} ${
      isMapping(schema['items']) && typeof schema['items']['type'] === 'string'
        ? `${schema['items']['type']}s`
        : 'values'
    }`,
    string:
      typeof schema['pattern'] === 'string'
        ? `text like /${schema['pattern']}/`
        : minLength === undefined
          ? 'text'
          : 'text that is not empty',
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

/** The last source that has the place, or the deepest part of it that any source has. */
function sourceOf(pointer: string, sources: readonly Source[]): string {
  const keys = pointer
    .split('/')
    .slice(1)
    .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
  let best = {depth: 0, name: sources[0]?.name ?? 'settings'};
  for (const {name, values} of sources) {
    let depth = 0;
    for (let node: unknown = values; depth < keys.length; depth++) {
      const key = keys[depth]!;
      if (typeof node !== 'object' || node === null || !Object.hasOwn(node, key)) break;
      node = (node as Record<string, unknown>)[key];
    }
    if (depth > 0 && depth >= best.depth) best = {depth, name};
  }
  return best.name;
}
