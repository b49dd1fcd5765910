import {createHash} from 'node:crypto';
import {existsSync} from 'node:fs';
import path from 'node:path';

import {Flags} from '@oclif/core';

import {SweepCommand, trialFlags} from '../cli/sweep-command.ts';
import {table} from '../cli/table.ts';
import type {Config} from '../config/config-types.ts';
import {settingsOfFlags} from '../config/overrides.ts';
import {ExitCode, invalidInput, SdqError} from '../errors.ts';
import {writeFileAtomic} from '../files.ts';
import {readJsonFile} from '../json-file.ts';
import {leaves} from '../mapping.ts';
import {budgetNames, budgetUnit, digits, metricCell, metricHead} from '../phases/results.ts';
import type {SearcherDefinition} from '../plugin-api/registry.ts';
import type {RunMetric} from '../runs/run-record.ts';
import {
  frontierAssignments,
  frontierPoints,
  frontierRuns,
  numberTrials,
  type FrontierPlan,
  type FrontierPoint,
  type FrontierRun,
} from '../sweeps/frontier.ts';
import {readTrials} from '../sweeps/runner.ts';

interface Result {
  readonly budget: string;
  readonly metric: RunMetric | null;
  /** Folder of the state, the table and the picture. */
  readonly directory: string;
  /** The picture; null while no run has finished. */
  readonly picture: string | null;
  readonly runs: readonly FrontierRun[];
  readonly points: readonly FrontierPoint[];
}

export default class Frontier extends SweepCommand {
  static override summary = 'Compare search methods over budgets and seeds: accuracy against cost.';
  static override description = `Each method, target and seed is an \`sdq run\` from the weights of model.weights, with the same training after \
the search. Run the same command again to continue, even after kill -9; more targets, methods or seeds add to the results. The folder \
gets frontier.json and frontier.svg, where a point that another one dominates is hollow.`;
  static override examples = [
    '<%= config.bin %> frontier --targets 1.5,2,3 --methods sdq,sensitivity,uniform --seeds 0,1,2',
    '<%= config.bin %> frontier --budget latencyMs --targets 0.4,0.6 --parallel 2',
  ];
  static override flags = {
    budget: Flags.option({
      summary: 'The key of search.target that is varied; others of the config hold in every run.',
      options: budgetNames,
      default: 'meanWeightBits' as const,
    })(),
    targets: Flags.string({summary: 'Its values.', helpValue: 'N,N…', required: true}),
    methods: Flags.string({
      summary: 'Search methods.',
      helpValue: 'NAME,NAME…',
      default: 'sdq,interpolation,sensitivity,uniform',
    }),
    seeds: Flags.string({summary: 'Run each method and target once with each seed.', helpValue: 'N,N…', default: '0'}),
    directory: Flags.directory({
      summary: 'Folder of the state, frontier.json and frontier.svg. Default: one for these settings beside the runs.',
      helpValue: 'DIR',
    }),
    ...trialFlags,
  };

  async run(): Promise<Result> {
    const {flags} = await this.parse(Frontier);
    const targets = numbers('targets', flags.targets, (value) => value > 0, 'numbers above 0');
    const isSeed = (value: number): boolean => Number.isInteger(value) && value >= 0 && value < 2 ** 32;
    const seeds = numbers('seeds', flags.seeds, isSeed, 'whole numbers from 0 to 4294967295');
    refuseVaried(flags.set ?? [], flags.budget);
    const {config, plan} = await this.#plan(flags.budget, list(flags.methods), targets, seeds);
    const {runs} = config;
    const digest = settingsDigest(config, plan);
    const directory =
      flags.directory === undefined
        ? path.join(path.dirname(runs.directory), 'frontiers', digest.slice(0, 8))
        : path.resolve(flags.directory);
    checkSettings(directory, digest);
    const trials = numberTrials(readTrials(directory), frontierAssignments(plan));
    this.notice(`Frontier of ${trials.size} runs in ${directory}`);
    const {signal, trials: all} = await this.runTrials(config, {
      sweep: {
        file: directory,
        arguments: ['run', '--sweep-params', '${args_json_file}'],
        metric: null,
        earlyTerminate: null,
      },
      trials,
      directory,
      parallel: flags.parallel,
      retryFailed: flags['retry-failed'],
    });
    const made = all.filter(({number}) => trials.has(number));
    const {metric, runs: rows} = frontierRuns(plan, made, runs.directory);
    const points = metric === null ? [] : frontierPoints(rows, metric.better);
    const frontier = {budget: plan.budget, directory, runs: rows, points};
    const picture = metric === null || points.length === 0 ? null : await drawn(frontier, metric);
    const result = {...frontier, metric, picture};
    const file = path.join(directory, 'frontier.json');
    writeFileAtomic(file, `${JSON.stringify(result, null, 2)}\n`);
    this.reportEnd(made, {total: trials.size, directory, signal});
    if (metric !== null && picture !== null) {
      this.log(`${pointTable(frontier, metric)}\n\nPicture: ${picture}\nRows:    ${file}`);
    }
    return result;
  }

  /** Everything that can be wrong with the settings of any run, before one starts. */
  async #plan(
    budget: string,
    methods: readonly string[],
    targets: readonly number[],
    seeds: readonly number[],
  ): Promise<{config: Config; plan: FrontierPlan}> {
    const kinds = ['model', 'dataset', 'task', 'engine', 'searcher'] as const;
    const tried = (values: Readonly<Record<string, unknown>>) =>
      this.settings({
        kinds: [...kinds],
        require: ['model', 'data'],
        tried: [{name: 'sdq frontier', base: process.cwd(), values}],
      });
    const plans = [];
    for (const name of methods) {
      const searches: {target: number; settings: unknown}[] = [];
      for (const target of targets) {
        const {config, registry} = await tried({search: {method: name, target: {[budget]: target}}});
        searches.push({target, settings: preparedSettings(registry.get('searcher', name), config)});
      }
      // One bitwidth for all layers is the same search for 2 and for 2.5 mean bits.
      const distinct = new Map(searches.toReversed().map((search) => [JSON.stringify(search.settings), search.target]));
      plans.push({name, targets: [...distinct.values()].toSorted((a, b) => a - b)});
    }
    const {config} = await tried({});
    if (config.model.weights === undefined) {
      throw invalidInput(
        'weights-missing',
        '/model/weights is missing: every run would train the full-precision network anew.',
        ['sdq pretrain --output weights.safetensors, then --set model.weights=weights.safetensors'],
      );
    }
    return {config, plan: {budget, methods: plans, seeds}};
  }
}

/** Refuses a `--set` of what differs between the runs. @throws SdqError (exit 2) naming the flag in its place */
function refuseVaried(set: readonly string[], budget: string): void {
  const varied = [
    {flag: '--methods', key: 'search.method'},
    {flag: '--targets', key: `search.target.${budget}`},
    {flag: '--seeds', key: 'seed'},
  ];
  for (const {name, values} of settingsOfFlags(set, process.cwd())) {
    const keys = leaves(values, '.');
    const taken = varied.find(({key}) => keys.has(key));
    if (taken === undefined) continue;
    throw new SdqError(`${name}: sdq frontier sets ${taken.key} itself in every run.`, {
      code: 'invalid-set',
      exit: ExitCode.usage,
      suggestions: [`Use ${taken.flag}.`],
    });
  }
}

/** What the method makes of the settings: equal for targets that it treats alike. */
function preparedSettings(definition: SearcherDefinition, {search: {target, ...search}}: Config): unknown {
  const {hardware: _, ...targets} = target;
  const asked = {...search, targets};
  return definition.prepare?.(asked) ?? asked;
}

const list = (text: string): string[] => [
  ...new Set(
    text
      .split(',')
      .map((word) => word.trim())
      .filter((word) => word !== ''),
  ),
];

/** @throws SdqError (exit 2) */
function numbers(flag: string, text: string, isAllowed: (value: number) => boolean, allowed: string): number[] {
  const words = list(text);
  const wrong = words.length === 0 ? text : words.find((word) => !isAllowed(Number(word)));
  if (wrong === undefined) return words.map(Number).toSorted((a, b) => a - b);
  throw new SdqError(`--${flag}: ${JSON.stringify(wrong)}; expected ${allowed}, separated by commas.`, {
    code: 'invalid-flag',
    exit: ExitCode.usage,
  });
}

/** Of all that the runs of a frontier have in common. */
function settingsDigest({runs: _, seed: __, ...config}: Config, {budget}: FrontierPlan): string {
  const {method: ___, target, ...search} = config.search;
  const common = {...config, search: {...search, target: {...target, [budget]: null}}};
  return createHash('sha256').update(JSON.stringify(common)).digest('hex');
}

/** @throws SdqError (exit 3) where the folder has runs of other settings */
function checkSettings(directory: string, digest: string): void {
  const file = path.join(directory, 'settings.json');
  if (!existsSync(file)) {
    writeFileAtomic(file, `${JSON.stringify({version: 1, digest})}\n`);
    return;
  }
  const stored = readJsonFile(file, 1 << 16, 'frontier') as {digest?: unknown} | null;
  if (stored?.digest === digest) return;
  throw invalidInput('other-settings', `${directory} has a frontier of other settings.`, [
    'Choose another --directory, or leave it out.',
  ]);
}

/** Draws the picture. @returns its file */
async function drawn(
  {budget, directory, points, runs}: Omit<Result, 'metric' | 'picture'>,
  metric: RunMetric,
): Promise<string> {
  const {frontierChart} = await import('../report/frontier-chart.ts');
  const scale = metric.isFraction ? 100 : 1;
  const references = runs.flatMap(({fullPrecision}) => (fullPrecision === null ? [] : [fullPrecision]));
  const [reference] = references;
  const file = path.join(directory, 'frontier.svg');
  writeFileAtomic(
    file,
    frontierChart({
      xLabel: budgetUnit(budget),
      yLabel: `test ${metricHead(metric)}`,
      points: points.map(({cost, deviation, dominatedBy, method, test}) => ({
        method,
        cost,
        value: scale * test,
        deviation: deviation === null ? null : scale * deviation,
        isDominated: dominatedBy.length > 0,
      })),
      reference: reference === undefined ? null : scale * reference,
    }),
  );
  return file;
}

function pointTable({budget, points}: Pick<Result, 'budget' | 'points'>, metric: RunMetric): string {
  return table(
    [
      {head: 'method'},
      {head: 'target', align: 'right'},
      {head: budgetUnit(budget), align: 'right'},
      {head: `test ${metricHead(metric)}`, align: 'right'},
      {head: '±', align: 'right'},
      {head: 'runs', align: 'right'},
      {head: 'dominated by', wrap: true},
    ],
    points.map(({cost, deviation, dominatedBy, method, runs, target, test}) => [
      method,
      String(target),
      digits(cost),
      metricCell(metric, test),
      metricCell(metric, deviation),
      String(runs),
      dominatedBy.join(', '),
    ]),
  );
}
