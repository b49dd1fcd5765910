/**
 * Settings that do not come from the config file: `--set key.path=value`, `SDQ_*` environment variables and the JSON
 * file of a sweep. Each becomes a nested mapping like the file's own.
 */
import path from 'node:path';

import {parse} from 'yaml';

import {ExitCode, invalidInput, SdqError} from '../errors.ts';
import {readTextBounded} from '../files.ts';
import {isMapping, merge} from '../mapping.ts';
import {didYouMean} from '../nearest.ts';
import type {JsonSchema} from '../schema/json-schema.ts';
import type {Source} from '../schema/settings.ts';

const maximumBytes = 2 ** 20;

/** Variables of oclif and of the data cache, which share our prefix. */
const otherVariables =
  /^SDQ_(AC_\w+|DATA_DIR|ENGINE_DIR|CACHE_DIR|CONFIG_DIR|BINPATH|DEBUG|RUN_ID|CONTENT_TYPE|DISABLE_THEME|NPM_REGISTRY|REDIRECTED|SKIP_\w+|S3_\w+|UPDATE_\w+|\w+_VERSION)$/;

/**
 * Reads a value as YAML: `2`, `true`, `[1, 2]`, `{conv1: 8}`, text.
 * @throws SdqError (exit 2 for a flag's value, 3 otherwise)
 */
function parseValue(text: string, name: string, exit: ExitCode): unknown {
  try {
    const value = parse(text, {prettyErrors: false, logLevel: 'error'}) as unknown;
    assertFinite(value, name, exit);
    return value;
  } catch (error) {
    if (error instanceof SdqError) throw error;
    throw new SdqError(`${name}: the value "${shorten(text)}" is not YAML: ${(error as Error).message}`, {
      code: 'invalid-value',
      exit,
      suggestions: ['Quote text that has special characters: --set key=\'"a: b"\'.'],
    });
  }
}

/**
 * Refuses a value that contains itself (a YAML alias) or nests deeper than the checks that follow can walk.
 * @throws SdqError
 */
function assertFinite(value: unknown, name: string, exit: ExitCode): void {
  try {
    JSON.stringify(value);
  } catch {
    throw new SdqError(`${name}: the value contains itself or nests too deeply.`, {code: 'invalid-value', exit});
  }
}

/**
 * @param assignments each `key.path=value`
 * @throws SdqError (exit 2)
 */
export function settingsOfFlags(assignments: readonly string[], cwd: string): Source[] {
  return assignments.map((assignment) => {
    const name = `--set ${shorten(assignment)}`;
    const equals = assignment.indexOf('=');
    const keys = assignment.slice(0, Math.max(0, equals)).split('.');
    if (equals < 0 || keys.includes('')) {
      throw new SdqError(`${name}: expected key.path=value, e.g. --set search.epochs=2.`, {
        code: 'invalid-set',
        exit: ExitCode.usage,
      });
    }
    return {name, base: cwd, values: nest(keys, parseValue(assignment.slice(equals + 1), name, ExitCode.usage))};
  });
}

/**
 * A flag of its own that stands for a key, e.g. `--bits 3`.
 * @throws SdqError (exit 2)
 */
export function settingOfFlag(flag: string, key: string, text: string, cwd: string): Source {
  const name = `${flag} ${shorten(text)}`;
  return {name, base: cwd, values: nest(key.split('.'), parseValue(text, name, ExitCode.usage))};
}

/**
 * `SDQ_SEARCH_TARGET_MEAN_WEIGHT_BITS=2` is `search.target.meanWeightBits: 2`.
 * @param onForeign gets a line about each variable that names no key, which a scheduler may have set for itself
 * @throws SdqError (exit 3) for a value that is not YAML
 */
export function settingsOfEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  schema: JsonSchema,
  cwd: string,
  onForeign: (message: string) => void = () => undefined,
): Source[] {
  const keys = new Map<string, readonly string[]>();
  const visit = (node: JsonSchema, keysSoFar: readonly string[]) => {
    for (const [key, child] of Object.entries(node.properties ?? {})) {
      const place = [...keysSoFar, key];
      keys.set(`SDQ_${place.map((word) => word.replaceAll(/[A-Z]/g, '_$&').toUpperCase()).join('_')}`, place);
      visit(child, place);
    }
  };
  visit(schema, []);
  const sources: Source[] = [];
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith('SDQ_') || text === undefined || otherVariables.test(name)) continue;
    const place = keys.get(name);
    if (place === undefined) {
      const near = didYouMean(name, keys.keys());
      onForeign([`Ignored ${name}: it sets no key of the config.`, ...near].join(' '));
      continue;
    }
    sources.push({name, base: cwd, values: nest(place, parseValue(text, name, ExitCode.invalidInput))});
  }
  // A whole section before a key in it, whatever the order of the environment.
  return sources.sort((a, b) => a.name.length - b.name.length);
}

/** What W&B puts beside the parameters. */
const agentKeys = ['_wandb', 'wandb_version'];

/**
 * A trial's parameters, dotted or nested: `{"search.target.meanWeightBits": 2, "train": {"epochs": 3}}`.
 * @param given a JSON file (`${args_json_file}` of an agent) or, beginning with a brace, JSON (`${args_json}`)
 * @throws SdqError (exit 3)
 */
export function settingsOfSweep(given: string, cwd: string): Source {
  const isText = given.trimStart().startsWith('{');
  const absolute = isText ? '--sweep-params' : path.resolve(cwd, given);
  const text = isText ? given : readTextBounded(absolute, maximumBytes);
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    throw invalidInput('invalid-sweep-params', `${absolute} is not JSON: ${(error as Error).message}.`);
  }
  assertFinite(content, absolute, ExitCode.invalidInput);
  if (!isMapping(content)) {
    throw invalidInput(
      'invalid-sweep-params',
      `${absolute}: expected an object of settings, found ${JSON.stringify(content).slice(0, 40)}.`,
    );
  }
  let values: unknown = {};
  for (const [key, value] of Object.entries(content)) {
    if (!agentKeys.includes(key)) values = merge(values, nest(key.split('.'), value));
  }
  // An agent puts the file into a folder of its own: a path in it means what it would in --set.
  return {name: absolute, base: cwd, values: values as Record<string, unknown>};
}

/** A value at the end of a path of keys. */
export function nest(keys: readonly string[], value: unknown): Record<string, unknown> {
  const [first = '', ...rest] = keys;
  const inner = rest.length === 0 ? value : nest(rest, value);
  return Object.defineProperty({}, first, {value: inner, enumerable: true, configurable: true, writable: true});
}

const shorten = (text: string): string => (text.length > 60 ? `${text.slice(0, 60)}…` : text);
