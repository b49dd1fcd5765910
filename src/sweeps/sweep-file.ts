/**
 * Reads a W&B sweep config and says everything that is wrong with it: against schemas/sweep.schema.json, as W&B's YAML
 * 1.1 reads it, and against what `sdq` logs and takes.
 */
import {createHash} from 'node:crypto';
import {createRequire} from 'node:module';
import path from 'node:path';

import {isScalar, parseDocument, visit, type Document} from 'yaml';

import {readTextBounded} from '../files.ts';
import {present, property} from '../lookup.ts';
import {isMapping} from '../mapping.ts';
import {didYouMean} from '../nearest.ts';
import {firstProblem} from '../schema/check.ts';
import type {JsonSchema} from '../schema/json-schema.ts';
import type {Problem} from '../schema/problem.ts';
import type {Source} from '../schema/settings.ts';
import {gridOf, impliedDistribution, probes, type Distribution} from './distributions.ts';
import {figureNames, isLoggedBy, type TaskMetrics} from './metric-names.ts';

export type Method = 'grid' | 'random' | 'bayes' | 'custom';

interface Parameter {
  /** Key of the config, e.g. `search.target.meanWeightBits`. */
  readonly name: string;
  /** JSON pointer in the file. */
  readonly place: string;
  readonly spec: Distribution;
}

export interface Metric {
  readonly name: string;
  readonly goal: 'minimize' | 'maximize';
  /** No further trial starts once one has reached it. */
  readonly target: number | null;
}

/** Hyperband's brackets: `min_iter`, or `max_iter` and `s`. */
export interface EarlyTerminate {
  readonly min_iter?: number;
  readonly max_iter?: number;
  readonly s?: number;
  readonly eta?: number;
  readonly strict?: boolean;
}

export interface Sweep {
  /** Absolute. */
  readonly file: string;
  /** SHA-256 of the content, hexadecimal. */
  readonly digest: string;
  readonly method: Method;
  readonly name: string | null;
  /** The arguments of `sdq` that a trial starts with, e.g. `run --sweep-params ${args_json_file}`. */
  readonly arguments: readonly string[];
  /** Whether the command starts it by npx, which does not pass signals on. */
  readonly usesNpx: boolean;
  readonly metric: Metric | null;
  /** In W&B's order: by name, at every level. */
  readonly parameters: readonly Parameter[];
  readonly runCap: number | null;
  readonly earlyTerminate: EarlyTerminate | null;
}

const maximumBytes = 1 << 20;
const placeholders = ['${args_json_file}', '${args_json}'];
const sweepable = ['run', 'search', 'train', 'pretrain'];

const schema = createRequire(import.meta.url)('../../schemas/sweep.schema.json') as JsonSchema;
const definitions = schema['$defs'] as Readonly<Record<string, JsonSchema>>;

/** The file without its parameters, which are looked at one by one: an error then names its distribution's own keys. */
const outerSchema: JsonSchema = {
  ...schema,
  properties: {
    ...schema.properties,
    parameters: {type: 'object', minProperties: 1},
    early_terminate: {...present(schema.properties, 'properties of the sweep')['early_terminate'], anyOf: [{}]},
  },
};

/** @throws SdqError (exit 3) when the file cannot be read */
export const readSweepText = (file: string): string => readTextBounded(file, maximumBytes);

/**
 * @param file how the sweep is named, absolute
 * @param tasks those that its runs may have: the sweep's metric is one of theirs
 * @returns the sweep, undefined where the text is too broken to look at; and all that is wrong
 */
export function parseSweep(
  text: string,
  file: string,
  tasks: readonly TaskMetrics[],
): {readonly sweep: Sweep | undefined; readonly problems: readonly Problem[]} {
  // PyYAML, which W&B reads the file with, is YAML 1.1.
  const document = parseDocument(text, {version: '1.1', prettyErrors: false});
  const [broken] = document.errors;
  const problem = (message: string, place = '', suggestions: readonly string[] = []): Problem => ({
    message,
    place,
    suggestions,
  });
  if (broken !== undefined) {
    const line = text.slice(0, broken.pos[0]).split('\n').length;
    return {sweep: undefined, problems: [problem(`not YAML, line ${line}: ${broken.message}.`)]};
  }
  let content: unknown;
  try {
    content = document.toJS();
  } catch (error) {
    return {sweep: undefined, problems: [problem(`not YAML: ${(error as Error).message}.`)]};
  }
  const outer = firstProblem(content, outerSchema);
  if (outer !== undefined || !isMapping(content)) {
    return {sweep: undefined, problems: [outer ?? problem('expected a mapping.')]};
  }
  const fields = content as unknown as {
    method: Method;
    name?: string;
    command?: unknown[];
    metric?: {name: string; goal?: Metric['goal']; target?: number};
    parameters?: Record<string, unknown>;
    run_cap?: number;
    early_terminate?: EarlyTerminate;
  };
  const {method, metric, early_terminate: earlyTerminate} = fields;
  const parameters = findParameters(fields.parameters ?? {}, document);
  const words = argumentsOf(fields.command ?? []);
  const problems = [
    ...textNumbers(document),
    ...parameters.flatMap(({problems: parameterProblems}) => parameterProblems),
    ...(fields.parameters === undefined ? [problem('"parameters" is missing.')] : []),
    ...commandProblems(fields.command),
    ...metricProblems(metric?.name, method, earlyTerminate !== undefined, words[0], tasks),
    ...(earlyTerminate === undefined ? [] : bracketProblems(earlyTerminate)),
    ...(method === 'grid' ? gridProblems(parameters) : []),
  ];
  // A copy: the check fills defaults in.
  const fits = (): boolean => firstProblem(structuredClone(content), schema) === undefined;
  if (problems.length === 0 && !fits()) problems.push(problem('does not fit schemas/sweep.schema.json.'));
  const sweep: Sweep = {
    file,
    digest: createHash('sha256').update(text).digest('hex'),
    method,
    name: fields.name ?? null,
    arguments: words,
    usesNpx: (fields.command ?? []).includes('npx'),
    metric:
      metric === undefined ? null : {name: metric.name, goal: metric.goal ?? 'minimize', target: metric.target ?? null},
    parameters: parameters.flatMap(({parameter}) => (parameter === undefined ? [] : [parameter])),
    runCap: fields.run_cap ?? null,
    earlyTerminate: earlyTerminate ?? null,
  };
  return {sweep, problems};
}

interface Found {
  readonly place: string;
  readonly parameter?: Parameter;
  readonly problems: readonly Problem[];
}

const escape = (key: string): string => key.replaceAll('~', '~0').replaceAll('/', '~1');
const byName = ([a]: [string, unknown], [b]: [string, unknown]): number => (a < b ? -1 : 1);

function findParameters(
  specs: Readonly<Record<string, unknown>>,
  document: Document,
  parent: {readonly keys: readonly string[]; readonly path: readonly string[]} = {keys: [], path: ['parameters']},
): Found[] {
  return Object.entries(specs)
    .sort(byName)
    .flatMap(([key, spec]): Found[] => {
      const keys = [...parent.keys, key];
      const yamlPath = [...parent.path, key];
      const place = `/${yamlPath.map(escape).join('/')}`;
      const wrong = (message: string): Found[] => [{place, problems: [{message, place, suggestions: []}]}];
      if (!/^[A-Za-z_][A-Za-z0-9_.-]*$/.test(key)) return wrong('a name has letters, digits, "_", "." and "-" only.');
      if (!isMapping(spec)) return wrong('expected a mapping, e.g. {values: [2, 3]}.');
      if ('parameters' in spec) {
        const extra = Object.keys(spec).find((name) => name !== 'parameters');
        if (extra !== undefined) return wrong(`"${extra}" cannot stand beside "parameters".`);
        if (!isMapping(spec['parameters'])) return wrong('"parameters" must be a mapping.');
        return findParameters(spec['parameters'], document, {keys, path: [...yamlPath, 'parameters']});
      }
      const isFloat = ['min', 'max'].some((end) => isWrittenAsFloat(document, [...yamlPath, end]));
      const distribution = impliedDistribution(spec, isFloat);
      const known = Object.keys(definitions).filter((name) => !['nested', 'parameters'].includes(name));
      if (distribution === undefined || !known.includes(distribution)) {
        const name = spec['distribution'];
        const message =
          name === undefined
            ? 'needs value, values, min and max, distribution or parameters.'
            : `unknown distribution ${JSON.stringify(name)}. Known: ${known.join(', ')}.`;
        const suggestions = typeof name === 'string' ? didYouMean(name, known) : [];
        return [{place, problems: [{message, place, suggestions}]}];
      }
      const problem = firstProblem(spec, property(definitions, distribution));
      if (problem !== undefined) {
        return [
          {
            place,
            problems: [{...problem, message: `${distribution}: ${problem.message}`, place: place + problem.place}],
          },
        ];
      }
      const full: Distribution = {...spec, distribution};
      const message = contradiction(full);
      if (message !== undefined) return wrong(message);
      return [{place, problems: [], parameter: {name: keys.join('.'), place, spec: full}}];
    });
}

/** What a schema cannot say about a distribution. */
function contradiction({min, max, values, probabilities}: Distribution): string | undefined {
  if (typeof min === 'number' && typeof max === 'number' && min >= max)
    return `min ${min} is not less than max ${max}.`;
  if (!Array.isArray(values) || !Array.isArray(probabilities)) return undefined;
  if (values.length !== probabilities.length) {
    return `${values.length} values and ${probabilities.length} probabilities.`;
  }
  const sum = (probabilities as number[]).reduce((total, probability) => total + probability, 0);
  return Math.abs(sum - 1) > 1e-6 ? `the probabilities sum to ${sum}, not 1.` : undefined;
}

function isWrittenAsFloat(document: Document, yamlPath: readonly string[]): boolean {
  const node = document.getIn(yamlPath, true);
  return isScalar(node) && typeof node.value === 'number' && /[.eE]/.test(node.source ?? '');
}

/** 1e-4 is text in YAML 1.1, and W&B hands it to the trial as such. */
function textNumbers(document: Document): Problem[] {
  const problems: Problem[] = [];
  visit(document, {
    Scalar(key, node, ancestors) {
      if (key === 'key' || node.type !== 'PLAIN' || !/^[-+]?\d[\d_]*(\.[\d_]*)?[eE][-+]?\d+$/.test(node.source ?? ''))
        return;
      const {source = ''} = node;
      if (/\.[\d_]*[eE][-+]/.test(source)) return;
      const keys = ancestors.flatMap((pair) => ('key' in pair && isScalar(pair.key) ? [String(pair.key.value)] : []));
      problems.push({
        message: `${source} is text to W&B, which reads YAML 1.1.`,
        place: `/${keys.map(escape).join('/')}`,
        suggestions: [
          `Write ${Number(node.value)
            .toExponential()
            .replace(/^(-?\d+)e/, '$1.0e')}.`,
        ],
      });
    },
  });
  return problems;
}

/** Where `sdq` stands in the command: by its name, by npx, or as the file itself. */
const positionOfSdq = (command: readonly unknown[]): number =>
  command.findIndex((word) => /(^|[\\/])(sdq(\.cmd)?|sdq@[\w.-]+|bin[\\/]run\.js)$/.test(String(word)));

const argumentsOf = (command: readonly unknown[]): string[] => command.slice(positionOfSdq(command) + 1).map(String);

function commandProblems(command: readonly unknown[] | undefined): Problem[] {
  const example = 'command: ["${env}", node_modules/.bin/sdq, run, --sweep-params, "${args_json_file}"]';
  const problem = (message: string): Problem[] => [{message, place: '/command', suggestions: [example]}];
  if (command === undefined) return problem('"command" is missing: a W&B agent would start python.');
  const words = command.map(String);
  const position = positionOfSdq(words);
  if (position < 0) return problem('does not call sdq.');
  const [name = ''] = words.slice(position + 1);
  if (!sweepable.includes(name)) {
    return problem(`calls "sdq ${name}"; a sweep can call sdq ${sweepable.join(', sdq ')}.`);
  }
  const other = words.find((word) => /^\$\{args(?!_json(_file)?\})/.test(word));
  if (other !== undefined) return problem(`${other} hands the values over as Python prints them, not as JSON.`);
  const flag = words.indexOf('--sweep-params', position);
  if (flag < 0 || !placeholders.includes(words[flag + 1] ?? '')) {
    return problem(
      'does not hand the parameters over: --sweep-params, then "${args_json_file}" or "${args_json}", each as a separate word.',
    );
  }
  return words.some((word) => word.includes('runs.directory='))
    ? problem('runs.directory cannot be set by a sweep.')
    : [];
}

/** @param command of sdq; whether a sweep can call it is `commandProblems`'s matter */
function metricProblems(
  name: string | undefined,
  method: Method,
  isEarly: boolean,
  command: string | undefined,
  tasks: readonly TaskMetrics[],
): Problem[] {
  if (name === undefined) {
    if (method !== 'bayes' && !isEarly) return [];
    return [
      {message: `"metric" is missing: ${isEarly ? 'early_terminate' : 'bayes'} needs one.`, place: '', suggestions: []},
    ];
  }
  const place = '/metric/name';
  const known = tasks.map(figureNames);
  const metrics = known.flatMap((figures) => figures.metrics);
  const summaries = known.flatMap((figures) => figures.summaries);
  if (!known.some(({isLogged}) => isLogged(name))) {
    return [
      {
        message: `sdq logs no "${name}" (docs/metrics.md).`,
        place,
        suggestions: didYouMean(name, [...metrics, ...summaries]),
      },
    ];
  }
  if (command !== undefined && sweepable.includes(command) && !isLoggedBy(command, name)) {
    return [{message: `"sdq ${command}" logs no "${name}".`, place, suggestions: ['Let the command call sdq run.']}];
  }
  if (isEarly && summaries.includes(name) && !metrics.includes(name)) {
    const message = `"${name}" is known at the end only; early_terminate needs a metric that is logged on the way.`;
    const example = metrics.find((other) => other.startsWith('train/validation'));
    return [{message, place, suggestions: [`E.g. ${example ?? 'train/loss'}.`]}];
  }
  return [];
}

function bracketProblems({min_iter: first, max_iter: last, s}: EarlyTerminate): Problem[] {
  if (first !== undefined || (last !== undefined && s !== undefined)) return [];
  return [{message: 'needs min_iter, or max_iter and s.', place: '/early_terminate', suggestions: []}];
}

function gridProblems(parameters: readonly Found[]): Problem[] {
  return parameters.flatMap(({parameter}) => {
    if (parameter === undefined || gridOf(parameter.spec) !== undefined) return [];
    const {place, spec} = parameter;
    const message = `a grid takes value, values, int_uniform and q_uniform, not ${spec.distribution}.`;
    return [{message, place, suggestions: ['Use method: random, or list the values.']}];
  });
}

/**
 * Each value that tells whether the config takes what a parameter gives, as a source of settings.
 * @returns with the place of the parameter in the sweep
 */
export function probeSources({file, parameters}: Sweep): {readonly place: string; readonly source: Source}[] {
  return parameters.flatMap(({name, place, spec}) =>
    probes(spec).map((value) => ({
      place,
      source: {
        name: place,
        base: path.dirname(file),
        values: name.split('.').reduceRight<unknown>((inner, key) => ({[key]: inner}), value) as Source['values'],
      },
    })),
  );
}
