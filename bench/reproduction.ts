/**
 * The runs behind docs/reproduction.md: their settings, and the table of their results. Needs `npm run build` and `sdq data fetch cifar10`.
 * A run that was interrupted goes on, a finished one is not repeated.
 *
 *   node --import tsx bench/reproduction.ts run w2a32 uniform --seeds 0,1,2 --set model.weights=resnet20.safetensors
 *   node --import tsx bench/reproduction.ts table [--json]
 */
import {spawnSync} from 'node:child_process';
import {existsSync, mkdirSync, readdirSync, readFileSync} from 'node:fs';
import path from 'node:path';
import {parseArgs} from 'node:util';

import {table} from '../src/cli/table.ts';

interface Experiment {
  /** Without `hard`: `--config` as it is. */
  readonly asConfigured?: true;
  readonly set?: readonly string[];
  /** Phase 2 only, from what this experiment's search of the same seed found. */
  readonly searchOf?: string;
  /** Chosen by the validation images: its accuracy on the test images is not for looking at. */
  readonly tuning?: true;
}

const searchTrial = (...set: string[]): Experiment => ({tuning: true, set: ['train.epochs=3', ...set]});
const trial = (...set: string[]): Experiment => ({...searchTrial(...set), searchOf: 'tune-search'});

/** Phase 2 as a whole training, at a rate that leaves the weights it starts from, of all 50,000 images. */
const anew = [
  'data.validation=0',
  'train.epochs=20',
  'train.optimizer.learningRate=0.1',
  'train.optimizer.weightDecay=0.0005',
  'train.schedule.warmupEpochs=1',
];
const teacherResnet56 = 'train.distillation.teacher={model: resnet56, weights: resnet56.safetensors}';

const w3a4 = ['search.target.meanWeightBits=3', 'search.activationBits=4'];
const uniform = ['search.method=uniform', 'search.target.meanWeightBits=2'];
const midRise = 'quantizers.weights=mid-rise';

/** What an experiment has where it says nothing else. */
const hard = [
  'quantizers.weights=symmetric',
  'data.validation=5000',
  'train.epochs=14',
  'train.distillation.temperature=1',
  'train.optimizer.learningRate=0.02',
];
/** A temperature gives nearly all images a gradient, so the learning rate is lower. */
const soft = [
  'data.validation=0',
  'train.epochs=9',
  'train.distillation.temperature=4',
  'train.optimizer.learningRate=0.004',
];

/** What differs from `--config` and `hard`. */
const experiments: Readonly<Record<string, Experiment>> = {
  example: {asConfigured: true},
  w2a32: {},
  /** At most the bits that `uniform` has: 2.0240 with the first and the last layer at 8. */
  'w2.02a32': {set: ['search.target.meanWeightBits=2.0239']},
  'w2a32-long': {set: ['train.epochs=40']},
  'w2a32-50000': {searchOf: 'w2a32', set: ['data.validation=0']},
  'w2a32-anew': {searchOf: 'w2a32', set: anew},
  'w2a32-anew-resnet56': {searchOf: 'w2a32', set: [...anew, teacherResnet56]},
  'w2a32-soft': {searchOf: 'w2a32', set: soft},
  'w2a32-mid-rise': {set: [midRise]},
  'w2a32-mid-rise-soft': {searchOf: 'w2a32-mid-rise', set: [midRise, ...soft]},
  'w2a32-mid-rise-soft-resnet56': {searchOf: 'w2a32-mid-rise', set: [midRise, ...soft, teacherResnet56]},
  w3a4: {set: w3a4},
  'w3a4-mid-rise': {set: [...w3a4, midRise]},
  'w3a4-mid-rise-soft': {set: [...w3a4, midRise, ...soft, 'train.epochs=5']},
  'w3a4-mid-rise-soft-resnet56': {
    searchOf: 'w3a4-mid-rise-soft',
    set: [...w3a4, midRise, ...soft, 'train.epochs=5', teacherResnet56],
  },
  uniform: {set: uniform},
  'uniform-soft': {set: [...uniform, ...soft]},
  'uniform-mid-rise': {set: [...uniform, midRise]},
  'uniform-mid-rise-soft': {searchOf: 'uniform-mid-rise', set: [midRise, ...soft]},
  /** With `--config bench/reproduction/vit-cifar10.yaml`. */
  'vit-w4a8': {asConfigured: true},
  'vit-w4a8-uniform': {asConfigured: true, set: ['search.method=uniform']},
  'short-sdq': {set: ['train.epochs=2']},
  'short-interpolation': {set: ['search.method=interpolation', 'train.epochs=2']},
  'no-bin-regularization': {searchOf: 'w2a32', set: ['train.binRegularization.weight=0']},
  'short-teacher-resnet56': {
    searchOf: 'short-sdq',
    set: ['train.epochs=2', teacherResnet56],
  },

  'tune-search': searchTrial(),
  'tune-search-beta-0.35': searchTrial('search.dbp.betaThreshold=0.35'),
  'tune-search-tau-0.5': searchTrial('search.dbp.tauStart=0.5', 'search.dbp.tauEnd=0.5'),
  'tune-search-learning-rate-0.03': searchTrial('search.optimizer.learningRate=0.03'),
  'tune-search-2-bits': searchTrial('search.candidates=[2, 3, 4, 5, 6, 7, 8]', 'search.target.meanWeightBits=2.05'),
  'tune-learning-rate-0.01': trial('train.optimizer.learningRate=0.01'),
  'tune-learning-rate-0.05': trial('train.optimizer.learningRate=0.05'),
  'tune-learning-rate-0.1': trial('train.optimizer.learningRate=0.1'),
  'tune-weight-decay-0.0005': trial('train.optimizer.weightDecay=0.0005'),
  'tune-fixed-steps': trial('train.learnScales=false'),
  'tune-scale-rate-0.1': trial('train.scaleRateFactor=0.1'),
  'tune-scale-rate-10': trial('train.scaleRateFactor=10'),
  'tune-no-bin-regularization': trial('train.binRegularization.weight=0'),
  'tune-bin-regularization-at-once': trial('train.binRegularization.rampEpochs=0'),
  'tune-hard-labels': trial('train.distillation.teacher=none'),
  'tune-hard-labels-0.5': trial('train.distillation.hardLabelWeight=0.5'),
};

const {values, positionals} = parseArgs({
  allowPositionals: true,
  options: {
    config: {type: 'string', default: path.join(import.meta.dirname, '../examples/cifar10-resnet20/sdq.config.yaml')},
    folder: {type: 'string', default: '.sdq/reproduction'},
    seeds: {type: 'string', default: '0'},
    set: {type: 'string', multiple: true, default: []},
    json: {type: 'boolean', default: false},
  },
});

interface RunFile {
  readonly id: string;
  readonly command: string;
  readonly status: string;
  readonly config: {readonly data: {readonly batchSize: number}; readonly runs: {readonly logEverySteps: number}};
  readonly versions: {readonly sdq: string};
  readonly engine: {readonly name: string; readonly threads: number};
  readonly results: {
    readonly search?: {readonly meanWeightBits: number; readonly steps: number};
    readonly train?: {
      readonly meanWeightBits: number;
      readonly steps: number;
      readonly accuracy: {readonly best: number | null; readonly test: number};
    };
  };
}

const folderOf = (name: string, seed: string): string => path.resolve(values.folder, `${name}@${seed}`);

/** The runs in a folder, oldest first. */
function runsIn(folder: string): RunFile[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .map((id) => path.join(folder, id, 'run.json'))
    .filter((file) => existsSync(file))
    .toSorted()
    .map((file) => JSON.parse(readFileSync(file, 'utf8')) as RunFile);
}

function run(name: string, seed: string): void {
  const experiment = experiments[name];
  if (experiment === undefined) throw new Error(`no experiment "${name}": ${Object.keys(experiments).join(', ')}`);
  const folder = folderOf(name, seed);
  const earlier = runsIn(folder).at(-1);
  if (earlier?.status === 'finished' && earlier.results.train !== undefined) return;
  const args: string[] = [];
  if (earlier !== undefined) args.push(earlier.command, '--resume', path.join(folder, earlier.id));
  else {
    if (experiment.searchOf === undefined) args.push('run');
    else {
      const searches = folderOf(experiment.searchOf, seed);
      const found = runsIn(searches).find(({results}) => results.search !== undefined);
      if (found === undefined)
        throw new Error(`${name} needs the search of ${experiment.searchOf}, seed ${seed}: run it first`);
      const file = (base: string): string => path.join(searches, found.id, base);
      args.push('train', '--strategy', file('strategy.json'), '--checkpoint', file('searched.safetensors'));
    }
    args.push('--config', values.config, '--set', `runs.directory=${folder}`, '--set', `seed=${seed}`);
    const base = experiment.asConfigured ? [] : hard;
    for (const setting of [...base, ...(experiment.set ?? []), ...values.set]) args.push('--set', setting);
  }
  mkdirSync(folder, {recursive: true});
  process.stderr.write(`${name}, seed ${seed}: sdq ${args.join(' ')}\n`);
  const {status} = spawnSync(process.execPath, [path.join(import.meta.dirname, '../bin/run.js'), ...args], {
    stdio: 'inherit',
  });
  if (status !== 0) throw new Error(`${name}, seed ${seed}: exit code ${status}`);
}

interface Row {
  readonly experiment: string;
  readonly seed: number;
  readonly meanWeightBits: number;
  /** Fractions of 1. */
  readonly validation: number | null;
  /** Null for tuning. */
  readonly test: number | null;
  readonly searchSteps: number;
  readonly trainSteps: number;
  /** Of both phases' steps, without evaluation and start. */
  readonly minutes: number;
  readonly threads: number;
  /** Over the search, of the training loss averaged over each interval of the journal; null without a search of its own. */
  readonly searchLoss: {readonly variance: number; readonly successiveVariance: number} | null;
  readonly version: string;
}

const mean = (numbers: readonly number[]): number => numbers.reduce((sum, x) => sum + x, 0) / numbers.length;

function row(entry: string): Row | undefined {
  const [name, seed] = entry.split('@') as [string, string];
  const runs = runsIn(folderOf(name, seed));
  const {search, train} = Object.assign({}, ...runs.map(({results}) => results)) as RunFile['results'];
  if (train === undefined) return undefined;
  let seconds = 0;
  const losses: number[] = [];
  for (const {id, config} of runs) {
    const journal = readFileSync(path.join(folderOf(name, seed), id, 'events.jsonl'), 'utf8');
    for (const line of journal.trimEnd().split('\n')) {
      const {data} = JSON.parse(line) as {data: Record<string, number>};
      const rate = data['search/imagesPerSecond'] ?? data['train/imagesPerSecond'];
      if (rate !== undefined) seconds += (config.runs.logEverySteps * config.data.batchSize) / rate;
      if (data['search/loss'] !== undefined) losses.push(data['search/loss']);
    }
  }
  const centre = mean(losses);
  return {
    experiment: name,
    seed: Number(seed),
    meanWeightBits: train.meanWeightBits,
    validation: train.accuracy.best,
    test: experiments[name]?.tuning ? null : train.accuracy.test,
    searchSteps: search?.steps ?? 0,
    trainSteps: train.steps,
    minutes: seconds / 60,
    threads: runs[0]!.engine.threads,
    searchLoss:
      losses.length === 0
        ? null
        : {
            variance: mean(losses.map((loss) => (loss - centre) ** 2)),
            // Half the mean squared difference of neighbours (von Neumann): what is left of the variance without the trend.
            successiveVariance: mean(losses.slice(1).map((loss, i) => (loss - losses[i]!) ** 2)) / 2,
          },
    version: runs[0]!.versions.sdq,
  };
}

function show(): void {
  const rows = readdirSync(values.folder)
    .toSorted()
    .map((entry) => row(entry))
    .filter((found) => found !== undefined);
  if (values.json) {
    process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`);
    return;
  }
  const percent = (fraction: number | null): string => (fraction === null ? '' : (100 * fraction).toFixed(2));
  process.stdout.write(
    `${table(
      [
        {head: 'experiment'},
        ...['seed', 'mean bits', 'validation %', 'test %', 'search steps', 'train steps', 'minutes', 'threads'].map(
          (head) => ({head, align: 'right' as const}),
        ),
        {head: 'variance of search loss', align: 'right'},
        {head: 'without trend', align: 'right'},
      ],
      rows.map((found) => [
        found.experiment,
        String(found.seed),
        found.meanWeightBits.toFixed(3),
        percent(found.validation),
        percent(found.test),
        String(found.searchSteps),
        String(found.trainSteps),
        found.minutes.toFixed(0),
        String(found.threads),
        found.searchLoss?.variance.toPrecision(3) ?? '',
        found.searchLoss?.successiveVariance.toPrecision(3) ?? '',
      ]),
    )}\n`,
  );
}

const [what, ...names] = positionals;
if (what === 'table') show();
else if (what === 'run' && names.length > 0)
  for (const name of names) for (const seed of values.seeds.split(',')) run(name, seed);
else throw new Error('run NAME… or table');
