/** Checks a value against a JSON Schema (2020-12) and fills in its defaults. */
import {Ajv2020, type ValidateFunction} from 'ajv/dist/2020.js';

import type {JsonSchema} from './json-schema.ts';
import {describe, telling, type Problem} from './problem.ts';

/** Fills the schema's defaults into `value` (in place). @returns what is most wrong with it; undefined when nothing is */
export function firstProblem(value: unknown, schema: JsonSchema): Problem | undefined {
  return problemsOf(value, schema)[0];
}

/** The same, with everything that is wrong: the most telling problem first. */
export function problemsOf(value: unknown, schema: JsonSchema): readonly Problem[] {
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
