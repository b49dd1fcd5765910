/**
 * The network as a graph with ONNX semantics: operator names, attributes and NCHW shapes are ONNX's, node names are
 * those of the source model (`layer1.0.conv1`). How the values lie in memory is decided by lay-out.ts.
 */

/** Sizes without the batch axis are used for inputs: [channels, height, width] or [features]. */
export type Shape = readonly number[];

export type Attribute = number | string | readonly number[];

export interface Node {
  readonly name: string;
  /** ONNX operator type, e.g. `Conv`. */
  readonly op: string;
  /** Names of values or parameters, in ONNX's order; '' for an optional input that is left out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, Attribute>>;
}

/** How a fresh parameter is drawn. */
export type Initializer =
  | {readonly kind: 'constant'; readonly value: number}
  /** N(0, 2 / fan) (He et al., 2015); `fan` counts inputs or outputs of one unit. */
  | {readonly kind: 'kaiming-normal'; readonly fan: number}
  /** U(−bound, bound). */
  | {readonly kind: 'uniform'; readonly bound: number}
  /** Nothing is drawn: what is part of the architecture. Row-major. */
  | {readonly kind: 'fixed'; readonly values: Float32Array};

/** A weight, bias, batch-norm scale or running statistic, under its PyTorch name (`layer1.0.conv1.weight`). */
export interface Parameter {
  readonly name: string;
  /** ONNX / PyTorch layout: Conv OIHW, Gemm [out, in] (transB = 1). */
  readonly shape: Shape;
  /**
   * `statistic` (running mean and variance) and `constant` (a number that the architecture fixes) are saved but not trained;
   * weight decay applies to `weight` alone.
   */
  readonly role: 'weight' | 'bias' | 'norm' | 'statistic' | 'constant';
  readonly initializer: Initializer;
}

export const isTrained = ({role}: Pick<Parameter, 'role'>): boolean => role !== 'statistic' && role !== 'constant';

export interface Graph {
  readonly name: string;
  readonly input: {readonly name: string; readonly shape: Shape};
  /** Names of the values that the network returns, in the order in which the task sees them; at least one. */
  readonly outputs: readonly string[];
  /** Outputs that the network's file has and sdq cannot compute: name and reason. */
  readonly refused?: ReadonlyMap<string, string>;
  /** In topological order. */
  readonly nodes: readonly Node[];
  readonly parameters: readonly Parameter[];
}

export interface Array32 {
  readonly shape: Shape;
  readonly data: Float32Array;
}

/** Parameter name → values in ONNX / PyTorch layout: what a checkpoint holds. */
export type Weights = ReadonlyMap<string, Array32>;
