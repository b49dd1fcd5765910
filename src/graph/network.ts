/**
 * A graph with its weights in tensors, and the executor. Filters are [height, width, in / group, out], fully connected
 * weights [in, out]: the output channel is the last axis of every weight.
 *
 * Batch-norm, activation and the quantizer of the next layer's input run as one operator in training; in evaluation
 * batch-norm is folded into the layer before it, after its weights were quantized.
 */
import * as tf from '@tensorflow/tfjs-core';

import {ExitCode, SdqError} from '../errors.ts';
import type {Uniform} from '../random.ts';
import {addAct} from '../tensor/add-act.ts';
import {batchNormAct} from '../tensor/batch-norm.ts';
import {fakeQuantize} from '../tensor/fake-quantize.ts';
import {gelu} from '../tensor/gelu.ts';
import type {ActivationRange, GradientRule, Grid} from '../tensor/kernels.ts';
import {layerNorm} from '../tensor/layer-norm.ts';
import {isTrained, type Array32, type Graph, type Node, type Weights} from './graph.ts';
import {inputSites, layerTable, type ActivationSite, type QuantizedLayer, type WeightLayer} from './layer-table.ts';
import {layOut, type LaidOutGraph} from './lay-out.ts';
import {conversionAxes, inputLayout, inverse, memoryShape, transposed} from './layout.ts';
import {float, show, type FusedActivation, type RunOptions} from './ops/operator.ts';
import {executionPlan, type Step} from './plan.ts';
import {inferShapes, operatorOf} from './shape.ts';

/** The fake-quantizer of an input of a layer. Sites that read the same value and are given the same object share its result. */
export interface InputQuantizer {
  readonly grid: Grid;
  /** [] */
  readonly scale: tf.Tensor;
  readonly rule: GradientRule;
}

export interface ForwardOptions {
  /** true: batch statistics; false: running statistics, folded into the layers. */
  readonly training: boolean;
  /**
   * The (fake-quantized) weights to use in place of `w`; differentiable. Default: w itself.
   * `w` is [height, width, in / group, out] or [in, out]. A tensor that it makes belongs to the executor's scope.
   */
  readonly weight?: (layer: WeightLayer, w: tf.Tensor) => tf.Tensor;
  /**
   * The quantizer of an input of a layer, null for full precision. Asked once a site. A tensor made here is freed when
   * `forward` returns.
   */
  readonly activation?: (site: ActivationSite) => InputQuantizer | null;
  /**
   * An input of a layer as it is to be used, made from the value `x` of the graph; differentiable. null: `activation` decides.
   * A tensor that it makes belongs to the executor's scope.
   */
  readonly input?: (site: ActivationSite, x: tf.Tensor) => tf.Tensor | null;
  /** In training, each batch-norm's mean and unbiased variance over the batch, [C]; valid until it returns. */
  readonly onBatchStatistics?: (node: string, mean: tf.Tensor, variance: tf.Tensor) => void;
  /** Each input of a layer before it is quantized; valid until it returns. */
  readonly onActivation?: (site: ActivationSite, x: tf.Tensor) => void;
  /** Each of the values that the network was created to observe; valid until it returns. */
  readonly onValue?: (name: string, x: tf.Tensor) => void;
  /** Draws for the `index`-th node, where it is a Dropout, in training; left out: no dropout. */
  readonly dropout?: (index: number) => Uniform;
}

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
   * @returns logits [N, classes]
   * @throws SdqError where x has another shape
   */
  forward(x: tf.Tensor, options: ForwardOptions): tf.Tensor;
  /** A copy of all parameters and statistics in ONNX layout. */
  weights(): Promise<Weights>;
  /** A parameter's values, in the executor's layout, in ONNX's. */
  stored(name: string, values: Float32Array): Array32;
  /** @throws SdqError (exit 3) where one is missing or has another shape; nothing is changed then */
  load(weights: Weights): void;
  dispose(): void;
}

const fusedFunctions = {gelu, layerNorm};
const noRule: GradientRule = {input: 'identity', scale: 'none', gradientScale: 1};
const unbounded: ActivationRange = {min: -Infinity, max: Infinity};

/** The kernel's own activation for a range, or null where it has none. */
function fusedActivation({min, max}: ActivationRange): FusedActivation | null {
  if (min === 0 && max === 6) return 'relu6';
  if (min === 0 && max === Infinity) return 'relu';
  return min === -Infinity && max === Infinity ? 'linear' : null;
}

/** The executor's order of axes of each parameter. */
function parameterAxes(graph: Graph, {operands, nodeLayouts}: LaidOutGraph): ReadonlyMap<string, readonly number[]> {
  const found = new Map<string, readonly number[]>();
  for (const node of graph.nodes) {
    const layout = nodeLayouts.get(node.name)!.inputs;
    const inputs = node.inputs.filter((name) => name !== '').map((name) => operands.get(name)!);
    inputs.forEach(({name, parameter, shape}, index) => {
      if (!parameter) return;
      const axes = operatorOf(node).axes?.(node, index, inputs, layout) ?? shape.map((_, axis) => axis);
      const other = found.get(name);
      if (other !== undefined && other.join() !== axes.join()) {
        throw new SdqError(`Parameter "${name}" is shared by nodes that read it in different orders of axes.`, {
          code: 'graph-invalid',
          exit: ExitCode.invalidInput,
        });
      }
      found.set(name, axes);
    });
  }
  return found;
}

function checked(graph: Graph, weights: Weights): ReadonlyMap<string, Array32> {
  for (const {name, shape} of graph.parameters) {
    const found = weights.get(name);
    if (found === undefined || found.shape.join() !== shape.join()) {
      const state = found === undefined ? 'is missing' : `has the shape ${show(found.shape)}`;
      throw new SdqError(`Weights for "${graph.name}": "${name}" ${state}; it must be ${show(shape)}.`, {
        code: 'weights-mismatch',
        exit: ExitCode.invalidInput,
      });
    }
  }
  return weights;
}

/**
 * @param weights in ONNX layout: from a file (weights.ts) or `initialWeights`
 * @param observed values that `onValue` is called with
 * @throws SdqError (exit 3) where the graph is not valid or the weights are not its own
 */
export function createNetwork(graph: Graph, weights: Weights, observed: ReadonlySet<string> = new Set()): Network {
  const {layers} = layerTable(graph);
  const laidOut = layOut(graph, inferShapes(graph));
  const plans = {
    training: executionPlan(graph, laidOut, layers, true, observed),
    evaluation: executionPlan(graph, laidOut, layers, false, observed),
  };
  const knownOf = (node: Node, images: number): RunOptions => ({
    images,
    fused: fusedFunctions,
    layout: laidOut.nodeLayouts.get(node.name)!.inputs,
    inputs: node.inputs.filter((name) => name !== '').map((name) => laidOut.operands.get(name)!),
    output: laidOut.operands.get(node.outputs[0]!)!,
  });
  const nodeIndex = new Map(graph.nodes.map(({name}, index) => [name, index]));
  const axesOf = parameterAxes(graph, laidOut);
  const runLayout = (name: string, stored: Array32): Array32 =>
    transposed(stored, axesOf.get(name) ?? stored.shape.map((_, axis) => axis));
  const parameters = new Map<string, tf.Variable>();
  const statistics = new Map<string, tf.Variable>();
  for (const [name, variable] of tf.tidy(() => {
    const values = checked(graph, weights);
    return graph.parameters.map(({name, role}) => {
      const {shape, data} = runLayout(name, values.get(name)!);
      return [name, tf.variable(tf.tensor(data, [...shape]), isTrained({role}))] as const;
    });
  })) {
    (variable.trainable ? parameters : statistics).set(name, variable);
  }
  const norms = new Map(
    graph.nodes
      .filter(({op}) => op === 'BatchNormalization')
      .map((node): [string, RunningStatistics] => [
        node.name,
        {
          mean: statistics.get(node.inputs[3]!)!,
          variance: statistics.get(node.inputs[4]!)!,
          momentum: float(node, 'momentum', 0.9),
        },
      ]),
  );
  const stored = (name: string, data: Float32Array): Array32 => {
    const {shape} = parameters.get(name) ?? statistics.get(name)!;
    return transposed({shape, data}, inverse(axesOf.get(name) ?? shape.map((_, axis) => axis)));
  };
  const inputShape = memoryShape(graph.input.shape, inputLayout(graph.input.shape));

  function run(x: tf.Tensor, options: ForwardOptions): tf.Tensor {
    const values = new Map<string, tf.Tensor>([[graph.input.name, x]]);
    /** Quantized forms of a value. */
    const quantized = new Map<string, {readonly quantizer: InputQuantizer; readonly tensor: tf.Tensor}[]>();
    /** By id of the site. */
    const asked = new Map<string, InputQuantizer | null>();
    const operand = (name: string): tf.Tensor => values.get(name) ?? parameters.get(name) ?? statistics.get(name)!;
    const quantizerOf = (site: ActivationSite): InputQuantizer | null => {
      let quantizer = asked.get(site.id);
      if (quantizer === undefined) {
        quantizer = options.activation?.(site) ?? null;
        asked.set(site.id, quantizer);
      }
      return quantizer;
    };
    const siteInput = (site: ActivationSite, name: string): tf.Tensor => {
      const full = operand(name);
      options.onActivation?.(site, full);
      const made = options.input?.(site, full) ?? null;
      if (made !== null) return made;
      const quantizer = quantizerOf(site);
      if (quantizer === null) return full;
      const forms = quantized.get(name) ?? [];
      const same = forms.find((form) => form.quantizer === quantizer);
      if (same !== undefined) return same.tensor;
      const tensor = fakeQuantize(full, quantizer.scale, quantizer.grid, quantizer.rule);
      quantized.set(name, [...forms, {quantizer, tensor}]);
      return tensor;
    };
    const bounded = (y: tf.Tensor, range: ActivationRange): tf.Tensor => {
      const activation = fusedActivation(range);
      if (activation === 'linear') return y;
      if (activation === null) return tf.clipByValue(y, range.min, range.max);
      return activation === 'relu' ? tf.relu(y) : tf.relu6(y);
    };

    const layerInputs = (layer: QuantizedLayer, inputs: readonly string[]): tf.Tensor[] =>
      inputSites(layer).map((site) => siteInput(site, inputs[site.operand]!));

    const runLayer = ({node, inputs, folded, range}: Step, layer: WeightLayer): tf.Tensor => {
      const [input] = layerInputs(layer, inputs) as [tf.Tensor];
      let w = operand(inputs[1]!);
      let bias = inputs[2] === undefined ? undefined : operand(inputs[2]);
      if (options.weight !== undefined) w = options.weight(layer, w);
      if (folded !== null) {
        const [gamma, beta, mean, variance] = folded.inputs.slice(1).map(operand) as [
          tf.Tensor,
          tf.Tensor,
          tf.Tensor,
          tf.Tensor,
        ];
        const factor = tf.mul(gamma, tf.rsqrt(tf.add(variance, float(folded, 'epsilon', 1e-5))));
        w = tf.mul(w, factor);
        bias = tf.add(tf.mul(bias === undefined ? tf.neg(mean) : tf.sub(bias, mean), factor), beta);
      }
      const end = range ?? unbounded;
      const activation = fusedActivation(end);
      const y = operatorOf(node).run(tf, node, bias === undefined ? [input, w] : [input, w, bias], {
        ...knownOf(node, x.shape[0]),
        activation: activation ?? 'linear',
      });
      return activation === null ? bounded(y, end) : y;
    };

    /** The quantizer that all inputs behind a step share, where there is one. */
    const commonQuantizer = ({feeds}: Step): InputQuantizer | null => {
      if (feeds.length === 0 || options.onActivation !== undefined) return null;
      const [first, ...others] = feeds.map(quantizerOf);
      return others.every((other) => other === first) ? first! : null;
    };

    const runNorm = (step: Step): tf.Tensor => {
      const {node, inputs, range} = step;
      const end = range ?? unbounded;
      if (!options.training) {
        return bounded(operatorOf(node).run(tf, node, inputs.map(operand), knownOf(node, x.shape[0])), end);
      }
      const [input, gamma, beta] = inputs.map(operand) as [tf.Tensor, tf.Tensor, tf.Tensor];
      const quantizer = commonQuantizer(step);
      const {y, mean, variance} = batchNormAct(input, gamma, beta, quantizer?.scale ?? null, {
        ...end,
        epsilon: float(node, 'epsilon', 1e-5),
        grid: quantizer?.grid ?? null,
        rule: quantizer?.rule ?? noRule,
      });
      if (quantizer !== null) quantized.set(step.output, [{quantizer, tensor: y}]);
      if (options.onBatchStatistics !== undefined) {
        const count = input.size / mean.size;
        options.onBatchStatistics(node.name, mean, tf.mul(variance, count / Math.max(count - 1, 1)));
      }
      return y;
    };

    const runStep = (step: Step): tf.Tensor => {
      switch (step.kind) {
        case 'layer':
          return runLayer(step, step.layer as WeightLayer);
        case 'product':
          return operatorOf(step.node).run(tf, step.node, layerInputs(step.layer!, step.inputs), {
            ...knownOf(step.node, x.shape[0]),
          });
        case 'norm':
          return runNorm(step);
        case 'add': {
          const [a, b] = step.inputs.map(operand) as [tf.Tensor, tf.Tensor];
          return step.range === null ? tf.add(a, b) : addAct(a, b, step.range);
        }
        case 'layout': {
          const value = operand(step.inputs[0]!);
          const [from, to] = [step.inputs[0]!, step.output].map((name) => laidOut.layouts.get(name)!);
          return tf.transpose(value, conversionAxes(value.rank, from!, to!));
        }
        case 'operator': {
          const draw = step.node.op === 'Dropout' ? options.dropout?.(nodeIndex.get(step.node.name)!) : undefined;
          return operatorOf(step.node).run(tf, step.node, step.inputs.map(operand), {
            ...knownOf(step.node, x.shape[0]),
            ...(draw === undefined ? {} : {draw}),
          });
        }
      }
    };

    const plan = options.training ? plans.training : plans.evaluation;
    const observe = (name: string): void => {
      if (observed.has(name)) options.onValue?.(name, values.get(name)!);
    };
    observe(graph.input.name);
    for (const step of plan.steps) {
      values.set(step.output, runStep(step));
      observe(step.output);
      // What the backward pass needs it has kept itself.
      for (const name of step.releases) {
        for (const {tensor} of quantized.get(name) ?? []) tensor.dispose();
        values.get(name)!.dispose();
        quantized.delete(name);
        values.delete(name);
      }
    }
    return values.get(plan.output)!;
  }

  return {
    graph,
    layers,
    parameters,
    statistics,
    norms,

    forward(x, options) {
      if (x.shape.slice(1).join() !== inputShape.join()) {
        throw new SdqError(
          `The network "${graph.name}" takes inputs [N, ${inputShape.join(', ')}]; it was given ${show(x.shape)}.`,
          {code: 'input-shape', exit: ExitCode.invalidInput},
        );
      }
      return tf.tidy(() => run(x, options));
    },

    async weights() {
      return new Map(
        await Promise.all(
          graph.parameters.map(async ({name}): Promise<[string, Array32]> => {
            const variable = parameters.get(name) ?? statistics.get(name)!;
            return [name, stored(name, (await variable.data<'float32'>()).slice())];
          }),
        ),
      );
    },

    stored,

    load(next) {
      const values = checked(graph, next);
      tf.tidy(() => {
        for (const [name, variable] of [...parameters, ...statistics]) {
          const {shape, data} = runLayout(name, values.get(name)!);
          variable.assign(tf.tensor(data, [...shape]));
        }
      });
    },

    dispose() {
      for (const variable of [...parameters.values(), ...statistics.values()]) variable.dispose();
    },
  };
}
