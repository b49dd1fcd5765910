/** What a plugin registers, checked before anything uses it: a mistake in it is its author's, and is not reported as one of sdq. */
import {invalidInput} from '../errors.ts';
import {isMapping} from '../mapping.ts';
import type {Definitions, Kind} from '../plugin-api/registry.ts';
import {firstProblem, schemaProblem} from '../schema/check.ts';
import type {JsonSchema} from '../schema/json-schema.ts';

/** What a kind asks for beside what every definition has. */
const requirements = {
  engine: {functions: ['probe', 'start']},
  dataset: {functions: ['fetch', 'verify', 'open'], properties: {sources: {type: 'array', items: {type: 'string'}}}},
  model: {
    functions: ['build'],
    properties: {
      defaults: {
        type: 'object',
        required: ['classes', 'inputShape'],
        properties: {
          classes: {type: 'integer', minimum: 1},
          inputShape: {type: 'array', minItems: 1, maxItems: 3, items: {type: 'integer', minimum: 1}},
        },
      },
    },
  },
  task: {
    functions: ['outputs', 'load'],
    properties: {
      metrics: {
        type: 'array',
        minItems: 1,
        items: {
          type: 'object',
          required: ['name', 'better', 'isFraction'],
          properties: {
            name: {type: 'string', pattern: '^(?!(loss|samples)$)[a-z][A-Za-z0-9]*$'},
            better: {enum: ['higher', 'lower']},
            isFraction: {type: 'boolean'},
            minOutputs: {type: 'integer', minimum: 1},
          },
        },
      },
    },
  },
  'weight-quantizer': {
    functions: ['grid', 'load'],
    properties: {
      zeroPoint: {enum: [0, null]},
      granularity: {enum: ['tensor', 'channel']},
      learnsScale: {type: 'boolean'},
    },
  },
  'activation-quantizer': {functions: ['load']},
  searcher: {functions: ['load']},
  'cost-model': {
    functions: ['layer'],
    properties: {
      constants: {type: 'array', items: {type: 'string'}},
      resources: {type: 'array', items: {type: 'string'}},
      energy: {enum: ['absolute', 'relative', 'none']},
    },
  },
  exporter: {functions: ['load']},
  'strategy-format': {functions: [], properties: {extension: {type: 'string', minLength: 1}}},
  tracker: {functions: ['probe', 'create']},
} as const satisfies {
  [K in Kind]: {
    readonly functions: readonly (keyof Definitions[K])[];
    readonly properties?: Readonly<Partial<Record<keyof Definitions[K], JsonSchema>>>;
  };
};

const common: Readonly<Record<string, JsonSchema>> = {
  kind: {enum: Object.keys(requirements)},
  name: {type: 'string', pattern: '^[a-z0-9][a-z0-9.-]*$'},
  summary: {type: 'string', minLength: 1},
};

/**
 * @param plugin the package it comes from
 * @throws SdqError (exit 3) that names the plugin, the definition, the place and what is allowed there
 */
export function checkDefinition(definition: unknown, plugin: string): void {
  const problem = definitionProblem(definition);
  if (problem === undefined) return;
  const {kind, name} = isMapping(definition) ? definition : {};
  const what = typeof kind === 'string' && typeof name === 'string' ? `the ${kind} "${name}"` : 'something';
  throw invalidInput('plugin-failed', `The plugin ${plugin} registers ${what}, which cannot be used: ${problem}`);
}

function definitionProblem(definition: unknown): string | undefined {
  const outline = described(definition, common);
  if (outline !== undefined) return outline;
  const {kind, optionsSchema = {}} = definition as {kind: Kind; optionsSchema?: JsonSchema};
  const {
    functions,
    properties = {},
  }: {functions: readonly string[]; properties?: Readonly<Record<string, JsonSchema>>} = requirements[kind];
  const missing = functions.find((name) => typeof (definition as Record<string, unknown>)[name] !== 'function');
  if (missing !== undefined) return `/${missing}: expected a function.`;
  const unfit = described(definition, properties);
  if (unfit !== undefined) return unfit;
  const unfitOptions = described({optionsSchema}, {optionsSchema: {type: 'object'}});
  if (unfitOptions !== undefined) return unfitOptions;
  const broken = schemaProblem(optionsSchema);
  return broken === undefined ? undefined : `/optionsSchema: not a JSON Schema (2020-12): ${broken}.`;
}

/** What is wrong with a mapping that must have these keys. */
function described(value: unknown, properties: Readonly<Record<string, JsonSchema>>): string | undefined {
  const problem = firstProblem(value, {type: 'object', required: Object.keys(properties), properties});
  return problem === undefined ? undefined : `${problem.place}: ${problem.message}`.replace(/^: /, '');
}
