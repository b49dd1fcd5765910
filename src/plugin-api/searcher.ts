/** What a search method is given and what it returns. */
import type * as tf from '@tensorflow/tfjs-core';

import type {Weights} from '../graph/graph.ts';
import type {ForwardOptions, Network} from '../graph/network.ts';
import type {DbpOptions} from '../sdq/search/dbp-state.ts';
import type {BudgetResult} from '../sdq/search/outcome.ts';
import type {KeptPoint} from '../sdq/search/pareto.ts';
import type {Precision, SearchProblem, Selection} from '../sdq/search/problem.ts';
import type {Targets} from '../sdq/strategy.ts';
import type {InputSample} from '../training/calibration.ts';
import type {Json} from '../training/checkpoint.ts';
import type {TrainedParameter} from '../training/optimizers.ts';
import type {Quantizers} from '../training/quantized-network.ts';
import type {Figures, Metric} from '../training/task.ts';

/** The keys of the config's section `search` that concern the method. */
export interface SearchSettings extends DbpOptions {
  /** Weight bitwidths a layer may get, ascending. */
  readonly candidates: readonly number[];
  /** Bits of the layers' inputs: one for all, or the ones to learn among, ascending. */
  readonly activationBits: number | readonly number[];
  /** Budgets by name; at least one. */
  readonly targets: Targets;
  /** Where a search by differentiable bitwidth parameters begins; undefined where the config leaves it to the method. */
  readonly start?: 'highest' | 'sensitivity';
  /** Number of strategies to keep on the way to the targets. */
  readonly pareto: number;
  /** The method's own options. */
  readonly options?: Readonly<Record<string, unknown>>;
}

/** How weights and inputs are quantized in a forward pass. */
type Forward = Pick<ForwardOptions, 'weight' | 'activation' | 'input'>;

/** A training of the network during the search, with the optimizer, the epochs and the data of the config. */
export interface SearchTraining {
  /** Trained beside the network's own parameters, e.g. ranges of quantizers. */
  readonly parameters: readonly TrainedParameter[];
  /** Scalars whose gradients every step hands to `advance`. */
  readonly followed: readonly tf.Variable[];
  /** Before the first step; not called when the training is resumed. */
  start(): Promise<void>;
  /**
   * How the network runs in the next step. Nothing of a step is half done here: what takes long, e.g. an evaluation, belongs here,
   * may end with the error of a signal, and is asked for again after a resume.
   */
  forward(): Promise<Forward>;
  /** After the update of a step whose loss is finite. @param gradients ∂loss of `followed`, in their order */
  advance(gradients: readonly number[]): Promise<void>;
  /** The candidates that the layers have now: shown beside the progress. */
  selection(): Selection;
  /** Metrics beside the loss, for the journal; their names are in docs/metrics.md. */
  metrics(): Readonly<Record<string, number>>;
  /** All that the next step depends on, beside the network and the optimizer; and back. */
  exportState(): Promise<{readonly state: Json; readonly arrays: Weights}>;
  /** @throws SdqError (exit 3) for a state that is not one of this search */
  importState(state: Json, arrays: Weights, file: string): void;
  /** Ends the training before its epochs are used up. */
  isDone(): boolean;
}

/** The task's metrics by name, and its loss. */
export type Judgement = Figures;

/** What a search method works with. */
export interface SearchContext {
  /** Decisions with their candidates, the cost of each, and the budgets. */
  readonly problem: SearchProblem;
  readonly settings: SearchSettings;
  /** `search.options` of the config, checked by the definition's `optionsSchema`. */
  readonly options: Readonly<Record<string, unknown>>;
  /** The task's primary metric: a key of every `Judgement`. */
  readonly metric: Metric;
  /** With the weights that the search starts from. Its weights after the search are those that phase 2 starts from. */
  readonly network: Network;
  readonly quantizers: Quantizers;
  /** Full-precision activations, by id of the site, for a fixed sample of training images: for the ranges of quantizers. */
  readonly sampleInputs: (sites: Iterable<string>) => Promise<InputSample>;
  /**
   * On the validation images; null where the config holds none out.
   * @param forward full precision where it is left out
   * @throws the reason of a signal to stop
   */
  readonly evaluate: (forward?: Forward) => Promise<Judgement | null>;
  /** The same at bitwidths a layer, in the order of `problem.layers`: steps from statistics, ranges from `sampleInputs`. */
  readonly evaluateAt: (bits: readonly Precision[]) => Promise<Judgement | null>;
  /**
   * Mean loss of the task on a fixed sample of training images, without augmentation.
   * @param forward full precision where it is left out
   * @throws SdqError (exit 5) when it is not finite; the reason of a signal to stop
   */
  readonly sampleLoss: (forward?: Forward) => Promise<number>;
  /**
   * The backward pass of the task's loss on the first images of that sample, batch by batch, with the running statistics of batch-norm.
   * Changes no weights.
   * @param images how many; fewer where the sample has fewer
   * @param forward full precision where it is left out
   * @param visit after each batch: its samples, and the gradients of its mean loss by parameter, valid until it returns
   * @throws SdqError (exit 5) when the loss is not finite; the reason of a signal to stop
   */
  readonly sampleGradients: (
    images: number,
    forward: Forward | undefined,
    visit: (samples: number, gradients: ReadonlyMap<string, tf.Tensor>) => void,
  ) => Promise<void>;
  /**
   * Trains until `isDone`, or to the end of the epochs, from the run's checkpoint where there is one.
   * @throws SdqError (exit 130 or 143) after a signal, with the state saved; (exit 5) when the loss is not finite
   */
  readonly train: (training: SearchTraining) => Promise<void>;
  /** A row of metrics in the journal, at the present step. */
  readonly log: (metrics: Readonly<Record<string, number>>) => void;
  /** One line for the user. */
  readonly line: (text: string) => void;
  /** How much of something long is done. */
  readonly progress: (label: string, done: number, total: number) => void;
}

export interface SearchOutcome {
  /** In the order of `problem.layers`; each layer's bits are among the candidates of its decisions. */
  readonly bits: readonly Precision[];
  /** In the order of `problem.budgets`. */
  readonly budgets: readonly BudgetResult[];
  readonly details: {
    /** More than half of the layers that are not pinned ended at their lowest candidate. */
    readonly collapsed: boolean;
    /** Strategies kept on the way, from the most expensive. */
    readonly points: readonly KeptPoint[];
  };
}

export interface Searcher {
  search(context: SearchContext): Promise<SearchOutcome>;
}
