/**
 * Every figure of a run that a sweep can look at: the metrics of the journal and the numbers of its summaries, whose
 * keys are joined by `/`. docs/metrics.md explains each; a test compares it, this list and a real journal.
 */
import {prefixedMetric} from '../runs/run-record.ts';

/** What a task measures, as its definition says. */
export interface TaskMetrics {
  /** The first is the primary one. */
  readonly metrics: readonly [{readonly name: string}, ...{readonly name: string}[]];
  /** Names of the scalars of training batches beside the loss. */
  readonly reported?: readonly string[];
}

/** The names of the figures of a run. */
export interface FigureNames {
  readonly metrics: readonly string[];
  /** Logged where the target has other budgets than mean bits, activation bits are learned, or the method measures sensitivities. */
  readonly optionalMetrics: readonly string[];
  /** Known once, at the end of a phase. */
  readonly summaries: readonly string[];
  /** Whether a run logs a figure of this name. */
  readonly isLogged: (name: string) => boolean;
}

const perPhase = (phase: string, names: readonly string[]): string[] => names.map((name) => `${phase}/${name}`);

/** LAYER stands for the name of a layer, BUDGET for a key of `search.target`, BITS for a number of bits. */
const optionalMetrics: readonly string[] = [
  ...perPhase('search/BUDGET', ['expected', 'committed', 'scheduled', 'lambda']),
  'dbp/LAYER/BUDGET',
  'dbp/LAYER/activationBeta',
  'dbp/LAYER/activationBits',
  'sensitivity/LAYER/wBITS',
  'sensitivity/LAYER/aBITS',
  'sensitivity/LAYER/wBITSaBITS',
];

export function figureNames({metrics: [primary, ...others], reported = []}: TaskMetrics): FigureNames {
  const interval = ['loss', ...reported, 'epoch', 'imagesPerSecond', 'dataWaitFraction', 'epochLoss'];
  const validation = prefixedMetric('validation', primary);
  const metrics = [
    ...perPhase('pretrain', [...interval, 'learningRate', validation]),
    ...perPhase('search', [...interval, 'expectedMeanBits', 'committedMeanBits', 'scheduledMeanBits', 'lambda', 'tau']),
    'dbp/LAYER/beta',
    'dbp/LAYER/bits',
    'dbp/LAYER/cost',
    ...perPhase('train', [...interval, 'learningRate', validation, 'taskLoss', 'binRegularizer']),
  ];
  const training = [...perPhase(primary.name, ['best', 'last', 'test']), 'epoch', 'steps'];
  const summaries = [
    ...perPhase('pretrain', training),
    ...perPhase('search', ['meanWeightBits', 'meanWeightBitsUnpinned', 'compression', 'steps']),
    ...perPhase('train', [...training, 'meanWeightBits', prefixedMetric('start', primary)]),
    ...perPhase('fullPrecision', [primary.name, ...others.map(({name}) => name), 'loss', 'samples']),
  ];
  const patterns = [...metrics, ...optionalMetrics].map(
    (name) =>
      new RegExp(
        `^${name.replace('LAYER', '.+').replace('BUDGET', '(sizeKiB|bops|latencyMs|energyUj)').replaceAll('BITS', '\\d+')}$`,
      ),
  );
  return {
    metrics,
    optionalMetrics,
    summaries,
    isLogged: (name) => summaries.includes(name) || patterns.some((pattern) => pattern.test(name)),
  };
}

/** Whether a phase of `sdq COMMAND` logs it. */
export function isLoggedBy(command: string, name: string): boolean {
  const [phase = ''] = name.split('/');
  return command === 'run' || (phase === 'dbp' || phase === 'sensitivity' ? 'search' : phase) === command;
}

/** Whether it is measured on the validation images, so that without any it has no value. */
export function isOfValidation(name: string): boolean {
  return /^(pretrain|train)\/(validation[A-Z]\w*|start[A-Z]\w*|\w+\/(best|last))$/.test(name);
}
