/** The text of a new sweep file. */
import {parse, stringify} from 'yaml';

import {isMapping} from '../mapping.ts';
import {ExitCode, SdqError} from '../errors.ts';
import {item} from '../lookup.ts';

export interface NewSweep {
  readonly method: 'grid' | 'random' | 'bayes';
  readonly metric: string;
  readonly goal: 'maximize' | 'minimize';
  /** By key of the config; by default the bits, and the search's learning rate where the method takes a range. */
  readonly parameters?: readonly (readonly [key: string, spec: unknown])[] | undefined;
  readonly runCap?: number | undefined;
  /** min_iter of hyperband. */
  readonly hyperband?: number | undefined;
  readonly name?: string | undefined;
  readonly project?: string | undefined;
  readonly entity?: string | undefined;
}

const bits = 'search.target.meanWeightBits';
const ranges: readonly (readonly [string, unknown])[] = [
  [bits, {distribution: 'uniform', min: 1.5, max: 4.5}],
  ['search.optimizer.learningRate', {distribution: 'log_uniform_values', min: 0.001, max: 0.1}],
];
const defaults: Readonly<Record<NewSweep['method'], readonly (readonly [string, unknown])[]>> = {
  grid: [[bits, {values: [2, 3, 4]}]],
  random: ranges,
  bayes: ranges,
};

/**
 * A parameter as a flag gives it: `key=[1, 2]`, `key={min: 0.1, max: 1.5}`, `key=2`.
 * @throws SdqError (exit 2)
 */
export function parameterOf(text: string): readonly [key: string, spec: unknown] {
  const usage = (message: string): SdqError =>
    new SdqError(`--parameter ${text}: ${message}.`, {
      code: 'invalid-parameter',
      exit: ExitCode.usage,
      suggestions: ['E.g. --parameter search.target.meanWeightBits=[2,3,4].'],
    });
  const equals = text.indexOf('=');
  if (equals < 1) throw usage('expected KEY=SPEC');
  let spec: unknown;
  try {
    spec = parse(text.slice(equals + 1));
  } catch (error) {
    throw usage(item((error as Error).message.split('\n', 1), 0));
  }
  return [text.slice(0, equals), Array.isArray(spec) ? {values: spec} : isMapping(spec) ? spec : {value: spec}];
}

/** YAML as W&B reads it: version 1.1, where a number such as 1e-4 needs a point. */
export function newSweep({
  method,
  metric,
  goal,
  parameters,
  runCap,
  hyperband,
  name,
  project,
  entity,
}: NewSweep): string {
  const cap = runCap ?? (method === 'grid' ? undefined : 20);
  const content = {
    ...(name === undefined ? {} : {name}),
    ...(project === undefined ? {} : {project}),
    ...(entity === undefined ? {} : {entity}),
    method,
    metric: {name: metric, goal},
    parameters: Object.fromEntries(parameters ?? defaults[method]),
    ...(cap === undefined ? {} : {run_cap: cap}),
    ...(hyperband === undefined ? {} : {early_terminate: {type: 'hyperband', min_iter: hyperband}}),
    // Not by npx, which dies of the agent's SIGTERM without passing it on.
    command: ['${env}', 'node_modules/.bin/sdq', 'run', '--sweep-params', '${args_json_file}'],
  };
  return stringify(content, {version: '1.1'}).replaceAll(/(^|[\s[])(-?\d+)(e[-+]\d+)/g, '$1$2.0$3');
}
