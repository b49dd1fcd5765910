/** What each phase leaves in `run.json` under `results`. Accuracies are fractions of 1; paths are absolute. */

export interface Accuracy {
  /** Top-1 on the split. */
  readonly accuracy: number;
  readonly top5: number;
  /** Mean cross-entropy, nats. */
  readonly loss: number;
  readonly samples: number;
}

/** Accuracy of a training on the validation split, by epoch, and on the test split, read once at the end. */
export interface TrainingAccuracy {
  /** Of the best validation epoch; null without a validation split. */
  readonly best: number | null;
  /** Of the last epoch on the validation split; null without one. */
  readonly last: number | null;
  /** On the test split, of the checkpoint that is kept. */
  readonly test: number;
}

export interface PretrainResult {
  readonly checkpoint: string;
  readonly accuracy: TrainingAccuracy;
  /** Epoch (from 1) whose weights are kept. */
  readonly epoch: number;
  /** Optimizer steps. */
  readonly steps: number;
}

export interface SearchResult {
  readonly strategy: string;
  /** The weights as the search left them: where phase 2 starts. */
  readonly checkpoint: string;
  /** Over all quantized layers, weighted by parameters; pinned layers included: what the target is about. */
  readonly meanWeightBits: number;
  /** The same without the pinned layers; null when all are pinned. */
  readonly meanWeightBitsUnpinned: number | null;
  readonly compression: number;
  /** Names of the hardware profiles whose rules it keeps. */
  readonly hardware: readonly string[];
  /** Each budget of the target, what the strategy costs, and by how much that is above; 0 when it was reached. */
  readonly budgets: readonly {
    readonly name: string;
    readonly target: number;
    readonly cost: number;
    readonly missedBy: number;
  }[];
  /** More than half of the searched layers ended at their lowest candidate. */
  readonly collapsed: boolean;
  readonly steps: number;
  /** Strategies kept on the way, from the most expensive; empty unless `search.pareto` asks for them. */
  readonly pareto: readonly ParetoPoint[];
}

export interface ParetoPoint {
  readonly strategy: string;
  /** Steps of the search before it. */
  readonly step: number;
  /** On the validation images, with the weights as the search had them then. */
  readonly accuracy: number;
  /** Mean cross-entropy there, nats. */
  readonly loss: number;
  readonly meanWeightBits: number;
  /** By the name of the budget. */
  readonly costs: Readonly<Record<string, number>>;
  /** Another one costs no more and has a lower loss. */
  readonly dominated: boolean;
}

export interface TrainResult {
  readonly checkpoint: string;
  readonly accuracy: TrainingAccuracy;
  readonly epoch: number;
  readonly steps: number;
  readonly meanWeightBits: number;
}

export interface Results {
  readonly fullPrecision?: Accuracy;
  readonly pretrain?: PretrainResult;
  readonly search?: SearchResult;
  readonly train?: TrainResult;
}

/** What the number of a budget counts. */
const units: Readonly<Record<string, string>> = {
  meanWeightBits: 'mean weight bits',
  sizeKiB: 'KiB of weights',
  bops: 'bit operations',
  latencyMs: 'ms (modelled)',
  energyUj: 'µJ (modelled)',
};

export const digits = (value: number): string => (value >= 1 ? value.toFixed(3) : value.toPrecision(4));

/** `1.938 mean weight bits`. */
export const inUnits = (budget: string, value: number): string => `${digits(value)} ${units[budget] ?? budget}`;
