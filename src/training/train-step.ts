/** One optimizer step of a network: what pretraining, the search, phase 2 and the benchmark share. */
import type * as tf from '@tensorflow/tfjs-core';

import type {ForwardOptions, Network} from '../graph/network.ts';
import {uniform} from '../random.ts';
import {keepPositive} from '../sdq/activation-quantizer.ts';
import {batchStatistics} from './batch-norm-statistics.ts';
import {descend, type Descent, type Objective} from './gradient-descent.ts';
import type {Optimizer, OptimizerState, TrainedParameter} from './optimizers.ts';

export interface TrainStepOptions {
  readonly network: Network;
  readonly optimizer: Optimizer;
  /** What the optimizer moves: the network's parameters and others, e.g. the ranges of quantizers. */
  readonly parameters: readonly TrainedParameter[];
  /** Scalars whose gradients each step returns as numbers; the optimizer leaves them alone. */
  readonly followed?: readonly tf.Variable[];
  /** Of the dropout draws. */
  readonly seed: number;
}

export interface TrainStepInput {
  /** [N, height, width, channels] */
  readonly images: tf.Tensor;
  /** Steps before this one: decides the dropout draws. */
  readonly step: number;
  readonly optimizerState: OptimizerState;
  /** Times the learning rate. */
  readonly rate: number;
  /** Names of parameters that this step leaves as they are. */
  readonly frozen?: ReadonlySet<string>;
  /** How weights and inputs are quantized; nothing for full precision. */
  readonly forward?: Pick<ForwardOptions, 'weight' | 'activation' | 'input' | 'value'>;
  /** From the network's outputs to the loss. Runs on the gradient tape. */
  readonly objective: (outputs: readonly tf.Tensor[]) => Objective;
}

export interface TrainStepResult extends Descent {
  readonly optimizerState: OptimizerState;
}

/**
 * A function that does one step: forward and backward pass, update, running batch-norm statistics. A step whose loss is not finite
 * changes nothing.
 */
export function createTrainStep({
  network,
  optimizer,
  parameters,
  followed = [],
  seed,
}: TrainStepOptions): (input: TrainStepInput) => Promise<TrainStepResult> {
  const statistics = batchStatistics(network);
  const positive = parameters.filter(({isPositive}) => isPositive === true).map(({variable}) => variable);
  return async ({images, step, optimizerState, rate, frozen, forward = {}, objective}) => {
    const moved = frozen === undefined ? parameters : parameters.filter(({name}) => !frozen.has(name));
    let next = optimizerState;
    const descent = await descend(
      moved,
      () =>
        objective(
          network.outputs(images, {
            ...forward,
            training: true,
            onBatchStatistics: statistics.collect,
            dropout: (index) => uniform(seed, 'dropout', step, index),
          }),
        ),
      (gradients) => {
        next = optimizer.update(moved, gradients, optimizerState, rate);
        keepPositive(positive);
      },
      followed,
    );
    statistics.settle(Number.isFinite(descent.metrics.loss));
    return {...descent, optimizerState: next};
  };
}
