/**
 * Optimizers as pairs of functions with their state passed in: `init(parameters)` gives the state, `update` assigns the
 * next values to the parameters' variables and returns the next state. Conventions are PyTorch's.
 */
import * as tf from '@tensorflow/tfjs-core';

import {invalidInput, type SdqError} from '../errors.ts';
import type {Array32, Weights} from '../graph/graph.ts';
import type {Network} from '../graph/network.ts';
import {entry, item} from '../lookup.ts';
import {adamUpdate, sgdUpdate} from '../tensor/optimizer-updates.ts';

/** A variable that is trained, and how. */
export interface TrainedParameter {
  /** Unique; names its state in a checkpoint. */
  readonly name: string;
  readonly variable: tf.Variable;
  /** Whether weight decay applies: weights, but no batch-norm parameter, bias or quantizer parameter. */
  readonly decays: boolean;
  /** Times the learning rate: 1, or another for quantizer parameters. */
  readonly rateFactor: number;
  /** A step or range of a quantizer: an update changes it by a bounded ratio, and keeps it above 0. */
  readonly isPositive?: boolean;
}

/** The network's own parameters: its weights decay, biases and batch-norm parameters do not. */
export function networkParameters({graph, parameters}: Network): TrainedParameter[] {
  const weights = new Set(graph.parameters.filter(({role}) => role === 'weight').map(({name}) => name));
  return [...parameters].map(([name, variable]) => ({name, variable, decays: weights.has(name), rateFactor: 1}));
}

export interface OptimizerOptions {
  readonly name: 'sgd' | 'adam' | 'adamw';
  /** The highest; a schedule scales it. */
  readonly learningRate: number;
  /** Momentum and whether it is Nesterov's, for sgd. */
  readonly momentum: number;
  readonly nesterov: boolean;
  readonly weightDecay: number;
  /** For adam and adamw. */
  readonly beta1: number;
  readonly beta2: number;
}

export interface OptimizerState {
  /** Updates so far. */
  readonly step: number;
  /** Parameter name → its moving averages, each of the parameter's shape, in the order of `Optimizer.moments`. */
  readonly moments: ReadonlyMap<string, readonly tf.Tensor[]>;
}

export interface Optimizer {
  /** What the state holds for each parameter: `velocity`, or `m` and `v`. */
  readonly moments: readonly string[];
  /** Zeros. The state belongs to the caller: `disposeState` frees it. */
  init(parameters: readonly TrainedParameter[]): OptimizerState;
  /**
   * One update. A parameter without a gradient is unchanged, and so is its state. Disposes what it replaces of the
   * old state, which is not to be used again.
   * @param gradients by parameter name
   * @param scale times the learning rate: the schedule's factor
   */
  update(
    parameters: readonly TrainedParameter[],
    gradients: ReadonlyMap<string, tf.Tensor>,
    state: OptimizerState,
    scale: number,
  ): OptimizerState;
}

/** Added to the denominator by Adam; PyTorch's default. */
const adamEpsilon = 1e-8;

export function createOptimizer(options: OptimizerOptions): Optimizer {
  const {name, momentum, nesterov, weightDecay, beta1, beta2} = options;
  const moments = name === 'sgd' ? ['velocity'] : ['m', 'v'];
  const next = (
    {variable, decays, rateFactor}: TrainedParameter,
    gradient: tf.Tensor,
    old: readonly tf.Tensor[],
    step: number,
    scale: number,
  ): [tf.Tensor, ...tf.Tensor[]] => {
    const common = {
      learningRate: options.learningRate * scale * rateFactor,
      weightDecay: decays ? weightDecay : 0,
    };
    return name === 'sgd'
      ? sgdUpdate(variable, gradient, item(old, 0), {...common, momentum, nesterov})
      : adamUpdate(variable, gradient, item(old, 0), item(old, 1), {
          ...common,
          beta1,
          beta2,
          epsilon: adamEpsilon,
          decoupled: name === 'adamw',
          step,
        });
  };
  return {
    moments,
    init: (parameters) => ({
      step: 0,
      moments: new Map(
        parameters.map(({name, variable}) => [name, moments.map(() => tf.keep(tf.zeros(variable.shape)))]),
      ),
    }),
    update(parameters, gradients, state, scale) {
      const step = state.step + 1;
      const updated = new Map(state.moments);
      for (const parameter of parameters) {
        const gradient = gradients.get(parameter.name);
        if (gradient === undefined) continue;
        const old = entry(state.moments, parameter.name);
        const [value, ...replaced] = next(parameter, gradient, old, step, scale);
        const assigned = parameter.isPositive === true ? bounded(value, parameter.variable) : value;
        parameter.variable.assign(assigned);
        tf.dispose([value, assigned, ...old]);
        for (const moment of replaced) tf.keep(moment);
        updated.set(parameter.name, replaced);
      }
      return {step, moments: updated};
    },
  };
}

/**
 * An update raises a quantizer's step or range by a quarter at most, or lowers it by a fifth. [ours] A step that one large gradient takes
 * to zero clips every input, and where a batch-norm follows, the next gradient, proportional to 1 / step, throws it out of all bounds.
 */
const largestRatio = 1.25;

function bounded(value: tf.Tensor, old: tf.Tensor): tf.Tensor {
  return tf.tidy(() => tf.maximum(tf.minimum(value, tf.mul(old, largestRatio)), tf.div(old, largestRatio)));
}

export function disposeState(state: OptimizerState): void {
  for (const tensors of state.moments.values()) tf.dispose([...tensors]);
}

/** The state as arrays for a checkpoint, by `<parameter>/<moment>`; `step` goes beside them. */
export async function exportMoments(optimizer: Optimizer, state: OptimizerState): Promise<Weights> {
  const arrays = new Map<string, Array32>();
  for (const [name, tensors] of state.moments) {
    for (const [i, tensor] of tensors.entries()) {
      const data = Float32Array.from(await tensor.data<'float32'>());
      arrays.set(`${name}/${item(optimizer.moments, i)}`, {shape: tensor.shape, data});
    }
  }
  return arrays;
}

/**
 * The state from a checkpoint.
 * @throws SdqError (exit 3) when an array is missing, left over or of another shape than its parameter
 */
export function importMoments(
  optimizer: Optimizer,
  parameters: readonly TrainedParameter[],
  step: number,
  arrays: Weights,
  file: string,
): OptimizerState {
  const broken = (what: string): SdqError =>
    invalidInput('optimizer-state-mismatch', `${file}: the optimizer's state does not fit the network: ${what}.`, [
      'Resume with the model and the optimizer of the run that wrote the checkpoint.',
    ]);
  const expected = new Map(
    parameters.flatMap(({name, variable}) =>
      optimizer.moments.map((moment): [string, number[]] => [`${name}/${moment}`, variable.shape]),
    ),
  );
  for (const [name, shape] of expected) {
    const array = arrays.get(name);
    if (array === undefined) throw broken(`"${name}" is missing`);
    if (array.shape.join() !== shape.join()) {
      throw broken(`"${name}" has shape [${array.shape.join(', ')}], expected [${shape.join(', ')}]`);
    }
  }
  for (const name of arrays.keys()) {
    if (!expected.has(name)) throw broken(`"${name}" belongs to no parameter of this training`);
  }
  return {
    step,
    moments: new Map(
      parameters.map(({name}) => [
        name,
        optimizer.moments.map((moment) => {
          const {data, shape} = entry(arrays, `${name}/${moment}`);
          return tf.keep(tf.tensor(data, [...shape], 'float32'));
        }),
      ]),
    ),
  };
}
