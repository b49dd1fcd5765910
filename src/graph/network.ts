/**
 * A graph with its weights in tensors. Filters are [height, width, in / group, out], fully connected weights [in, out]:
 * the output channel is the last axis of every weight.
 *
 * Batch-norm, activation and the quantizer of the next layer's input run as one operator in training; in evaluation
 * batch-norm is folded into the layer before it, after its weights were quantized.
 */
import * as tf from '@tensorflow/tfjs-core';

import {invalidInput} from '../errors.ts';
import {entry, item} from '../lookup.ts';
import {Executor, type ForwardOptions, type InputQuantizer} from './executor.ts';
import {isTrained, type Array32, type Graph, type Weights} from './graph.ts';
import type {QuantizedLayer} from './layer-table.ts';
import {layOut, type LaidOutGraph} from './lay-out.ts';
import {inputLayout, inverse, memoryShape, transposed} from './layout.ts';
import {argumentsOf, float, show} from './ops/operator.ts';
import {inferShapes, operatorOf} from './shape.ts';

export type {ForwardOptions, InputQuantizer};

interface RunningStatistics {
  readonly mean: tf.Variable;
  readonly variance: tf.Variable;
  /** ONNX's: new = momentum · old + (1 − momentum) · batch. */
  readonly momentum: number;
}

export interface Network {
  readonly graph: Graph;
  readonly layers: readonly QuantizedLayer[];
  /** Everything that is trained, by name, in the executor's layout. */
  readonly parameters: ReadonlyMap<string, tf.Variable>;
  /** What is not trained: running means and variances, and constants of the architecture, by name. */
  readonly statistics: ReadonlyMap<string, tf.Variable>;
  /** The running statistics of each batch-norm, by the node's name. */
  readonly norms: ReadonlyMap<string, RunningStatistics>;
  /**
   * @param x [N, height, width, channels] or [N, features], normalised
   * @returns the graph's outputs in their order, [N, …] each, with ONNX's order of axes
   * @throws SdqError where x has another shape
   */
  outputs(x: tf.Tensor, options: ForwardOptions): tf.Tensor[];
  /** The first output, of most networks the only one: logits [N, classes]. @throws as `outputs` */
  forward(x: tf.Tensor, options: ForwardOptions): tf.Tensor;
  /** A copy of all parameters and statistics in ONNX layout. */
  weights(): Promise<Weights>;
  /** A parameter's values, in the executor's layout, in ONNX's. */
  stored(name: string, values: Float32Array): Array32;
  /** @throws SdqError (exit 3) where one is missing or has another shape; nothing is changed then */
  load(weights: Weights): void;
  dispose(): void;
}

/** The executor's order of axes of each parameter. */
function parameterAxes(graph: Graph, {operands, nodeLayouts}: LaidOutGraph): ReadonlyMap<string, readonly number[]> {
  const orders = new Map<string, readonly number[]>();
  for (const node of graph.nodes) {
    const layout = entry(nodeLayouts, node.name).inputs;
    const inputs = argumentsOf(node, (name) => operands.get(name));
    inputs.forEach(({name, parameter, shape}, index) => {
      if (!parameter) return;
      const axes = operatorOf(node).axes?.(node, index, inputs, layout) ?? shape.map((_, axis) => axis);
      const other = orders.get(name);
      if (other !== undefined && other.join() !== axes.join()) {
        throw invalidInput(
          'graph-invalid',
          `Parameter "${name}" is shared by nodes that read it in different orders of axes.`,
        );
      }
      orders.set(name, axes);
    });
  }
  return orders;
}

function checked(graph: Graph, weights: Weights): ReadonlyMap<string, Array32> {
  for (const {name, shape} of graph.parameters) {
    const array = weights.get(name);
    if (array === undefined || array.shape.join() !== shape.join()) {
      const state = array === undefined ? 'is missing' : `has the shape ${show(array.shape)}`;
      throw invalidInput(
        'weights-mismatch',
        `Weights for "${graph.name}": "${name}" ${state}; it must be ${show(shape)}.`,
      );
    }
  }
  return weights;
}

/**
 * @param weights in ONNX layout: from a file (weights.ts) or `initialWeights`
 * @param observed values that `onValue` and `value` are called with
 * @throws SdqError (exit 3) where the graph is not valid or the weights are not its own
 */
export function createNetwork(graph: Graph, weights: Weights, observed: ReadonlySet<string> = new Set()): Network {
  const laidOut = layOut(graph, inferShapes(graph));
  const axesOf = parameterAxes(graph, laidOut);
  const runLayout = (name: string, array: Array32): Array32 =>
    transposed(array, axesOf.get(name) ?? array.shape.map((_, axis) => axis));
  const parameters = new Map<string, tf.Variable>();
  const statistics = new Map<string, tf.Variable>();
  const variable = (name: string): tf.Variable => parameters.get(name) ?? entry(statistics, name);
  const executor = new Executor(graph, laidOut, variable, observed);
  tf.tidy(() => {
    const values = checked(graph, weights);
    for (const {name, role} of graph.parameters) {
      const {shape, data} = runLayout(name, entry(values, name));
      const trained = isTrained({role});
      (trained ? parameters : statistics).set(name, tf.variable(tf.tensor(data, [...shape]), trained));
    }
  });
  const stored = (name: string, data: Float32Array): Array32 => {
    const {shape} = variable(name);
    return transposed({shape, data}, inverse(axesOf.get(name) ?? shape.map((_, axis) => axis)));
  };
  const inputShape = memoryShape(graph.input.shape, inputLayout(graph.input.shape));
  const outputs: Network['outputs'] = (x, options) => {
    if (x.shape.slice(1).join() !== inputShape.join()) {
      throw invalidInput(
        'input-shape',
        `The network "${graph.name}" takes inputs [N, ${inputShape.join(', ')}]; it was given ${show(x.shape)}.`,
      );
    }
    return tf.tidy(() => executor.run(x, options));
  };
  return {
    graph,
    layers: executor.layers,
    parameters,
    statistics,
    norms: runningStatistics(graph, statistics),

    outputs,
    forward: (x, options) => tf.tidy(() => item(outputs(x, options), 0)),

    async weights() {
      return new Map(
        await Promise.all(
          graph.parameters.map(async ({name}): Promise<[string, Array32]> => [
            name,
            stored(name, (await variable(name).data<'float32'>()).slice()),
          ]),
        ),
      );
    },

    stored,

    load(next) {
      const values = checked(graph, next);
      tf.tidy(() => {
        for (const [name, each] of [...parameters, ...statistics]) {
          const {shape, data} = runLayout(name, entry(values, name));
          each.assign(tf.tensor(data, [...shape]));
        }
      });
    },

    dispose() {
      for (const each of [...parameters.values(), ...statistics.values()]) each.dispose();
    },
  };
}

function runningStatistics(
  {nodes}: Graph,
  statistics: ReadonlyMap<string, tf.Variable>,
): ReadonlyMap<string, RunningStatistics> {
  return new Map(
    nodes
      .filter(({op}) => op === 'BatchNormalization')
      .map((node): [string, RunningStatistics] => [
        node.name,
        {
          mean: entry(statistics, item(node.inputs, 3)),
          variance: entry(statistics, item(node.inputs, 4)),
          momentum: float(node, 'momentum', 0.9),
        },
      ]),
  );
}
