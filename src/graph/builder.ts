/** Builds a graph node by node; what a model definition is written with. */
import {entry, item, last} from '../lookup.ts';
import type {Attribute, Graph, Initializer, Node, Parameter, Shape} from './graph.ts';
import {withOutputs} from './reachable.ts';
import {inferNode, inputOperand, parameterOperand} from './shape.ts';
import type {Operand} from './ops/operator.ts';

interface ConvOptions {
  readonly channels: number;
  readonly kernel: number;
  /** Default 1. */
  readonly stride?: number;
  /** On every side; default: half of the kernel, which keeps the size at stride 1. */
  readonly padding?: number;
  readonly dilation?: number;
  readonly group?: number;
  /** The values of a fresh one; true: 0. Default false: a batch-norm follows. */
  readonly bias?: boolean | Float32Array;
  /** Which fan He et al.'s initialisation counts: PyTorch's `mode`. Default `out`. */
  readonly fan?: 'in' | 'out';
}

interface LinearOptions {
  readonly features: number;
  /** Default: U(±1/√in), PyTorch's. */
  readonly weight?: Initializer;
  /** Default: U(±1/√in), PyTorch's. */
  readonly bias?: Initializer;
}

interface BatchNormOptions {
  /** Default 1e-5. */
  readonly epsilon?: number;
  /** ONNX's, of the old running statistic: 1 − PyTorch's. Default 0.9. */
  readonly momentum?: number;
}

interface PoolOptions {
  readonly kernel: number;
  readonly stride: number;
  readonly padding?: number;
}

/**
 * Each function adds one node of the given name to the graph and returns the name of its output, which is the node's.
 * Parameters are named as PyTorch names them: `<node>.weight`, `<node>.bias`, `<node>.running_mean`, …
 */
export interface GraphBuilder {
  /** Name of the graph's input. */
  readonly input: string;
  /** Shape of a value, without the batch. */
  shape(value: string): Shape;
  conv(name: string, x: string, options: ConvOptions): string;
  batchNorm(name: string, x: string, options?: BatchNormOptions): string;
  /** Layer normalisation of the last axis. */
  layerNorm(name: string, x: string, epsilon: number): string;
  /** A fully connected layer with bias, on the last axis. */
  linear(name: string, x: string, options: LinearOptions): string;
  maxPool(name: string, x: string, options: PoolOptions): string;
  /** Any operator without parameters, e.g. `node('Relu', 'relu', [x])`. */
  node(op: string, name: string, inputs: readonly string[], attributes?: Readonly<Record<string, Attribute>>): string;
  /** A parameter for `node`. @returns its name */
  parameter(parameter: Parameter): string;
  /** Nodes that do not lead to an output are left out, and parameters that nothing reads. */
  build(output: string, ...others: readonly string[]): Graph;
}

/**
 * @param inputShape [channels, height, width] or [features]
 * @throws SdqError (from each function) where shapes do not go together
 */
export function graphBuilder(name: string, inputShape: Shape): GraphBuilder {
  const input = 'input';
  const nodes: Node[] = [];
  const parameters: Parameter[] = [];
  const known = new Map<string, Operand>([[input, inputOperand(input, inputShape)]]);

  const parameter = (added: Parameter): string => {
    parameters.push(added);
    known.set(added.name, parameterOperand(added));
    return added.name;
  };
  const node: GraphBuilder['node'] = (op, nodeName, inputs, attributes = {}) => {
    const added: Node = {name: nodeName, op, inputs, outputs: [nodeName], attributes};
    known.set(nodeName, inferNode(added, known));
    nodes.push(added);
    return nodeName;
  };
  const shape = (value: string): Shape => entry(known, value).shape;

  return {
    input,
    shape,
    node,
    parameter,

    conv(nodeName, x, {channels, kernel, stride = 1, padding, dilation = 1, group = 1, bias = false, fan = 'out'}) {
      const inputs = item(shape(x), 0) / group;
      const taps = kernel * kernel;
      const side = padding ?? (dilation * (kernel - 1)) >> 1;
      const weight = parameter({
        name: `${nodeName}.weight`,
        shape: [channels, inputs, kernel, kernel],
        role: 'weight',
        initializer: {kind: 'kaiming-normal', fan: taps * (fan === 'in' ? inputs : channels / group)},
      });
      const names = [x, weight];
      if (bias !== false) {
        const initializer: Initializer = bias === true ? {kind: 'constant', value: 0} : {kind: 'fixed', values: bias};
        names.push(parameter({name: `${nodeName}.bias`, shape: [channels], role: 'bias', initializer}));
      }
      return node('Conv', nodeName, names, {
        kernel_shape: [kernel, kernel],
        strides: [stride, stride],
        pads: [side, side, side, side],
        dilations: [dilation, dilation],
        group,
      });
    },

    batchNorm(nodeName, x, {epsilon = 1e-5, momentum = 0.9} = {}) {
      const channels = [item(shape(x), 0)];
      const add = (suffix: string, role: Parameter['role'], value: number) =>
        parameter({name: `${nodeName}.${suffix}`, shape: channels, role, initializer: {kind: 'constant', value}});
      return node(
        'BatchNormalization',
        nodeName,
        [
          x,
          add('weight', 'norm', 1),
          add('bias', 'norm', 0),
          add('running_mean', 'statistic', 0),
          add('running_var', 'statistic', 1),
        ],
        {epsilon, momentum},
      );
    },

    layerNorm(nodeName, x, epsilon) {
      const width = [last(shape(x))];
      const add = (suffix: string, value: number) =>
        parameter({name: `${nodeName}.${suffix}`, shape: width, role: 'norm', initializer: {kind: 'constant', value}});
      return node('LayerNormalization', nodeName, [x, add('weight', 1), add('bias', 0)], {axis: -1, epsilon});
    },

    linear: (nodeName, x, options) => linear({node, parameter, shape}, nodeName, x, options),

    maxPool: (nodeName, x, {kernel, stride, padding = 0}) =>
      node('MaxPool', nodeName, [x], {
        kernel_shape: [kernel, kernel],
        strides: [stride, stride],
        pads: [padding, padding, padding, padding],
      }),

    build(...outputs) {
      return withOutputs({name, input: {name: input, shape: inputShape}, outputs, nodes, parameters}, outputs);
    },
  };
}

function linear(
  {node, parameter, shape}: Pick<GraphBuilder, 'node' | 'parameter' | 'shape'>,
  nodeName: string,
  x: string,
  {features, weight, bias}: Parameters<GraphBuilder['linear']>[2],
): string {
  const rows = shape(x).slice(0, -1);
  const inputs = last(shape(x));
  const drawn: Initializer = {kind: 'uniform', bound: 1 / Math.sqrt(inputs)};
  const flat = rows.length === 0 ? x : node('Reshape', `${nodeName}.rows`, [x], {shape: [-1, inputs]});
  const y = node(
    'Gemm',
    nodeName,
    [
      flat,
      parameter({
        name: `${nodeName}.weight`,
        shape: [features, inputs],
        role: 'weight',
        initializer: weight ?? drawn,
      }),
      parameter({name: `${nodeName}.bias`, shape: [features], role: 'bias', initializer: bias ?? drawn}),
    ],
    {transB: 1},
  );
  return rows.length === 0 ? y : node('Reshape', `${nodeName}.tokens`, [y], {shape: [-1, ...rows, features]});
}
