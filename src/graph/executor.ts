/** One forward pass of a network, step by step of its plan. */
import * as tf from '@tensorflow/tfjs-core';

import {entry, item} from '../lookup.ts';
import type {Uniform} from '../random.ts';
import {addAct} from '../tensor/add-act.ts';
import {batchNormAct} from '../tensor/batch-norm.ts';
import {fakeQuantize} from '../tensor/fake-quantize.ts';
import {gelu} from '../tensor/gelu.ts';
import type {ActivationRange, GradientRule, Grid} from '../tensor/kernels.ts';
import {layerNorm} from '../tensor/layer-norm.ts';
import {leakyRelu} from '../tensor/leaky-relu.ts';
import {select} from '../tensor/select.ts';
import type {Graph, Node} from './graph.ts';
import {inputSites, layerTable, type ActivationSite, type QuantizedLayer, type WeightLayer} from './layer-table.ts';
import type {LaidOutGraph} from './lay-out.ts';
import {conversionAxes} from './layout.ts';
import {argumentsOf, float, type FusedActivation, type RunOptions} from './ops/operator.ts';
import {executionPlan, type Plan, type Step} from './plan.ts';
import {operatorOf} from './shape.ts';

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
   * The input that a layer uses, made from the value `x` of the graph; differentiable. null: `activation` decides.
   * A tensor that it makes belongs to the executor's scope.
   */
  readonly input?: (site: ActivationSite, x: tf.Tensor) => tf.Tensor | null;
  /** In training, each batch-norm's mean and unbiased variance over the batch, [C]; valid until it returns. */
  readonly onBatchStatistics?: (node: string, mean: tf.Tensor, variance: tf.Tensor) => void;
  /** Each input of a layer before it is quantized; valid until it returns. */
  readonly onActivation?: (site: ActivationSite, x: tf.Tensor) => void;
  /** Each of the values that the network was created to observe; valid until it returns. */
  readonly onValue?: (name: string, x: tf.Tensor) => void;
  /**
   * What takes the place of a value that the network was created to observe, for all who read it; differentiable. null: the value
   * itself. A tensor that it makes belongs to the executor's scope.
   */
  readonly value?: (name: string, x: tf.Tensor) => tf.Tensor | null;
  /** Draws for the `index`-th node, where it is a Dropout, in training; left out: no dropout. */
  readonly dropout?: (index: number) => Uniform;
}

const fusedFunctions = {gelu, layerNorm, leakyRelu, select};
const noRule: GradientRule = {input: 'identity', scale: 'none', gradientScale: 1};
const unbounded: ActivationRange = {min: -Infinity, max: Infinity};

/** The kernel's own activation for a range, or null where it has none. */
function fusedActivation({min, max}: ActivationRange): FusedActivation | null {
  if (min === 0 && max === 6) return 'relu6';
  if (min === 0 && max === Infinity) return 'relu';
  return min === -Infinity && max === Infinity ? 'linear' : null;
}

/** The activation as operators of its own. */
function bounded(y: tf.Tensor, range: ActivationRange): tf.Tensor {
  const activation = fusedActivation(range);
  if (activation === 'linear') return y;
  if (activation === null) return tf.clipByValue(y, range.min, range.max);
  return activation === 'relu' ? tf.relu(y) : tf.relu6(y);
}

/** What every forward pass of a network shares. */
export class Executor {
  readonly layers: readonly QuantizedLayer[];
  readonly input: string;
  readonly #laidOut: LaidOutGraph;
  readonly #plans: Readonly<Record<'training' | 'evaluation', Plan>>;
  readonly #nodeIndex: ReadonlyMap<string, number>;
  readonly #variable: (name: string) => tf.Variable;
  readonly observed: ReadonlySet<string>;

  /**
   * @param variable the parameter or statistic of this name
   * @param observed values that `onValue` and `value` are called with
   */
  constructor(
    graph: Graph,
    laidOut: LaidOutGraph,
    variable: (name: string) => tf.Variable,
    observed: ReadonlySet<string>,
  ) {
    const {layers} = layerTable(graph);
    this.layers = layers;
    this.input = graph.input.name;
    this.#laidOut = laidOut;
    this.#plans = {
      training: executionPlan(graph, laidOut, layers, true, observed),
      evaluation: executionPlan(graph, laidOut, layers, false, observed),
    };
    this.#nodeIndex = new Map(graph.nodes.map(({name}, index) => [name, index]));
    this.#variable = variable;
    this.observed = observed;
  }

  variable(name: string): tf.Variable {
    return this.#variable(name);
  }

  plan(training: boolean): Plan {
    return training ? this.#plans.training : this.#plans.evaluation;
  }

  /** What a node's operator knows about its inputs and output. */
  known(node: Node, images: number): RunOptions {
    const {nodeLayouts, operands} = this.#laidOut;
    return {
      images,
      fused: fusedFunctions,
      layout: entry(nodeLayouts, node.name).inputs,
      inputs: argumentsOf(node, (name) => operands.get(name)),
      output: entry(operands, item(node.outputs, 0)),
    };
  }

  /** A copy of a value in another layout. */
  convert(x: tf.Tensor, from: string, to: string): tf.Tensor {
    const {layouts} = this.#laidOut;
    return tf.transpose(x, conversionAxes(x.rank, entry(layouts, from), entry(layouts, to)));
  }

  /** @returns the outputs. To be called in `tf.tidy`. */
  run(x: tf.Tensor, options: ForwardOptions): tf.Tensor[] {
    return new ForwardPass(this, x, options).run();
  }

  dropout(node: Node, options: ForwardOptions): {readonly draw?: Uniform} {
    const draw = node.op === 'Dropout' ? options.dropout?.(entry(this.#nodeIndex, node.name)) : undefined;
    return draw === undefined ? {} : {draw};
  }
}

class ForwardPass {
  readonly #executor: Executor;
  readonly #options: ForwardOptions;
  readonly #images: number;
  readonly #values: Map<string, tf.Tensor>;
  /** Quantized forms of a value. */
  readonly #quantized = new Map<string, {readonly quantizer: InputQuantizer; readonly tensor: tf.Tensor}[]>();
  /** By id of the site. */
  readonly #quantizers = new Map<string, InputQuantizer | null>();

  constructor(executor: Executor, x: tf.Tensor, options: ForwardOptions) {
    this.#executor = executor;
    this.#options = options;
    this.#images = item(x.shape, 0);
    this.#values = new Map([[executor.input, x]]);
  }

  run(): tf.Tensor[] {
    const plan = this.#executor.plan(this.#options.training);
    this.#observe(this.#executor.input);
    for (const step of plan.steps) {
      this.#values.set(step.output, this.#step(step));
      this.#observe(step.output);
      // The backward pass keeps what it needs itself.
      for (const name of step.releases) {
        for (const {tensor} of this.#quantized.get(name) ?? []) tensor.dispose();
        entry(this.#values, name).dispose();
        this.#quantized.delete(name);
        this.#values.delete(name);
      }
    }
    return plan.outputs.map((name) => entry(this.#values, name));
  }

  #observe(name: string): void {
    if (!this.#executor.observed.has(name)) return;
    const x = entry(this.#values, name);
    this.#options.onValue?.(name, x);
    const made = this.#options.value?.(name, x) ?? null;
    if (made !== null) this.#values.set(name, made);
  }

  #operand(name: string): tf.Tensor {
    return this.#values.get(name) ?? this.#executor.variable(name);
  }

  #operands(names: readonly string[]): tf.Tensor[] {
    return names.map((name) => this.#operand(name));
  }

  #step(step: Step): tf.Tensor {
    switch (step.kind) {
      case 'layer':
        return this.#layer(step, step.layer);
      case 'product':
        return operatorOf(step.node).run(
          tf,
          step.node,
          this.#layerInputs(step.layer, step.inputs),
          this.#executor.known(step.node, this.#images),
        );
      case 'norm':
        return this.#norm(step);
      case 'add': {
        const [a, b] = this.#operands(step.inputs) as [tf.Tensor, tf.Tensor];
        return step.range === null ? tf.add(a, b) : addAct(a, b, step.range);
      }
      case 'layout': {
        const from = item(step.inputs, 0);
        return this.#executor.convert(this.#operand(from), from, step.output);
      }
      case 'operator':
        return operatorOf(step.node).run(tf, step.node, this.#operands(step.inputs), {
          ...this.#executor.known(step.node, this.#images),
          ...this.#executor.dropout(step.node, this.#options),
        });
    }
  }

  #layer({node, inputs, folded, range}: Step, layer: WeightLayer): tf.Tensor {
    const input = item(this.#layerInputs(layer, inputs), 0);
    let w = this.#operand(item(inputs, 1));
    let bias = inputs[2] === undefined ? undefined : this.#operand(inputs[2]);
    if (this.#options.weight !== undefined) w = this.#options.weight(layer, w);
    if (folded !== null) {
      const [gamma, beta, mean, variance] = this.#operands(folded.inputs.slice(1)) as [
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
      ...this.#executor.known(node, this.#images),
      activation: activation ?? 'linear',
    });
    return activation === null ? bounded(y, end) : y;
  }

  #layerInputs(layer: QuantizedLayer, inputs: readonly string[]): tf.Tensor[] {
    return inputSites(layer).map((site) => this.#siteInput(site, item(inputs, site.operand)));
  }

  #siteInput(site: ActivationSite, name: string): tf.Tensor {
    const full = this.#operand(name);
    this.#options.onActivation?.(site, full);
    const made = this.#options.input?.(site, full) ?? null;
    if (made !== null) return made;
    const quantizer = this.#quantizer(site);
    if (quantizer === null) return full;
    const forms = this.#quantized.get(name) ?? [];
    const same = forms.find((form) => form.quantizer === quantizer);
    if (same !== undefined) return same.tensor;
    const tensor = fakeQuantize(full, quantizer.scale, quantizer.grid, quantizer.rule);
    this.#quantized.set(name, [...forms, {quantizer, tensor}]);
    return tensor;
  }

  #quantizer(site: ActivationSite): InputQuantizer | null {
    let quantizer = this.#quantizers.get(site.id);
    if (quantizer === undefined) {
      quantizer = this.#options.activation?.(site) ?? null;
      this.#quantizers.set(site.id, quantizer);
    }
    return quantizer;
  }

  /** The quantizer that all inputs behind a step share, where there is one. */
  #commonQuantizer({feeds}: Step): InputQuantizer | null {
    if (this.#options.onActivation !== undefined) return null;
    const [first = null, ...others] = feeds.map((site) => this.#quantizer(site));
    return others.every((other) => other === first) ? first : null;
  }

  #norm(step: Step): tf.Tensor {
    const {node, inputs, range} = step;
    const end = range ?? unbounded;
    if (!this.#options.training) {
      const known = this.#executor.known(node, this.#images);
      return bounded(operatorOf(node).run(tf, node, this.#operands(inputs), known), end);
    }
    const [input, gamma, beta] = this.#operands(inputs) as [tf.Tensor, tf.Tensor, tf.Tensor];
    const isObserved = this.#executor.observed.has(step.output);
    const quantizer = isObserved ? null : this.#commonQuantizer(step);
    const {y, mean, variance} = batchNormAct(input, gamma, beta, quantizer?.scale ?? null, {
      ...end,
      epsilon: float(node, 'epsilon', 1e-5),
      grid: quantizer?.grid ?? null,
      rule: quantizer?.rule ?? noRule,
    });
    if (quantizer !== null) this.#quantized.set(step.output, [{quantizer, tensor: y}]);
    if (this.#options.onBatchStatistics !== undefined) {
      const count = input.size / mean.size;
      this.#options.onBatchStatistics(node.name, mean, tf.mul(variance, count / Math.max(count - 1, 1)));
    }
    return y;
  }
}
