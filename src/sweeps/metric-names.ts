/**
 * Every figure of a run that a sweep can look at: the metrics of the journal and the numbers of its summaries, whose
 * keys are joined by `/`. docs/metrics.md explains each; a test compares it, this list and a real journal.
 */
const perPhase = (phase: string, names: readonly string[]): string[] => names.map((name) => `${phase}/${name}`);

const interval = ['loss', 'accuracy', 'epoch', 'imagesPerSecond', 'dataWaitFraction', 'epochLoss'];

/** LAYER stands for the name of a layer. */
export const metrics: readonly string[] = [
  ...perPhase('pretrain', [...interval, 'learningRate', 'validationAccuracy']),
  ...perPhase('search', [...interval, 'expectedMeanBits', 'committedMeanBits', 'scheduledMeanBits', 'lambda', 'tau']),
  'dbp/LAYER/beta',
  'dbp/LAYER/bits',
  'dbp/LAYER/cost',
  ...perPhase('train', [...interval, 'learningRate', 'validationAccuracy', 'taskLoss', 'binRegularizer']),
];

const training = ['accuracy/best', 'accuracy/last', 'accuracy/test', 'epoch', 'steps'];

/** Known once, at the end of a phase. */
export const summaries: readonly string[] = [
  ...perPhase('pretrain', training),
  ...perPhase('search', ['meanWeightBits', 'meanWeightBitsUnpinned', 'compression', 'missedBy', 'steps']),
  ...perPhase('train', [...training, 'meanWeightBits', 'startAccuracy']),
  ...perPhase('fullPrecision', ['accuracy', 'top5', 'loss', 'samples']),
];

/** Whether a run logs a figure of this name. */
export function isLogged(name: string): boolean {
  return metrics.includes(name) || summaries.includes(name) || /^dbp\/.+\/(beta|bits|cost)$/.test(name);
}
