/**
 * Every figure of a run that a sweep can look at: the metrics of the journal and the numbers of its summaries, whose
 * keys are joined by `/`. docs/metrics.md explains each; a test compares it, this list and a real journal.
 */
const perPhase = (phase: string, names: readonly string[]): string[] => names.map((name) => `${phase}/${name}`);

const interval = ['loss', 'accuracy', 'epoch', 'imagesPerSecond', 'dataWaitFraction', 'epochLoss'];

/** LAYER stands for the name of a layer, BUDGET for a key of `search.target`, BITS for a number of bits. */
export const metrics: readonly string[] = [
  ...perPhase('pretrain', [...interval, 'learningRate', 'validationAccuracy']),
  ...perPhase('search', [...interval, 'expectedMeanBits', 'committedMeanBits', 'scheduledMeanBits', 'lambda', 'tau']),
  'dbp/LAYER/beta',
  'dbp/LAYER/bits',
  'dbp/LAYER/cost',
  ...perPhase('train', [...interval, 'learningRate', 'validationAccuracy', 'taskLoss', 'binRegularizer']),
];

/** Logged where the target has other budgets than mean bits, activation bits are learned, or the method measures sensitivities. */
export const optionalMetrics: readonly string[] = [
  ...perPhase('search/BUDGET', ['expected', 'committed', 'scheduled', 'lambda']),
  'dbp/LAYER/BUDGET',
  'dbp/LAYER/activationBeta',
  'dbp/LAYER/activationBits',
  'sensitivity/LAYER/wBITS',
  'sensitivity/LAYER/aBITS',
  'sensitivity/LAYER/wBITSaBITS',
];

const training = ['accuracy/best', 'accuracy/last', 'accuracy/test', 'epoch', 'steps'];

/** Known once, at the end of a phase. */
export const summaries: readonly string[] = [
  ...perPhase('pretrain', training),
  ...perPhase('search', ['meanWeightBits', 'meanWeightBitsUnpinned', 'compression', 'steps']),
  ...perPhase('train', [...training, 'meanWeightBits', 'startAccuracy']),
  ...perPhase('fullPrecision', ['accuracy', 'top5', 'loss', 'samples']),
];

const patterns = [...metrics, ...optionalMetrics].map(
  (name) =>
    new RegExp(
      `^${name.replace('LAYER', '.+').replace('BUDGET', '(sizeKiB|bops|latencyMs|energyUj)').replaceAll('BITS', '\\d+')}$`,
    ),
);

/** Whether a run logs a figure of this name. */
export function isLogged(name: string): boolean {
  return summaries.includes(name) || patterns.some((pattern) => pattern.test(name));
}

/** Whether a phase of `sdq COMMAND` logs it. */
export function isLoggedBy(command: string, name: string): boolean {
  const [phase = ''] = name.split('/');
  return command === 'run' || (phase === 'dbp' || phase === 'sensitivity' ? 'search' : phase) === command;
}

/** Whether it is measured on the validation images, so that without any it has no value. */
export function isOfValidation(name: string): boolean {
  return /\/(validationAccuracy|accuracy\/(best|last)|startAccuracy)$/.test(name);
}
