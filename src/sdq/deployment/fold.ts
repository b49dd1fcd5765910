/** Batch-norm folded into the integers' scales and a bias, of 32 bits or in float. Pure. */
import {ExitCode, SdqError} from '../../errors.ts';
import type {Array32, Node} from '../../graph/graph.ts';
import {elements} from '../../graph/ops/operator.ts';
import {item} from '../../lookup.ts';
import type {LayerWeights} from '../integer-network.ts';

/** Integers of −128 … 127, one scale for all or one for each index of `axis`; value = scale · integer. */
export interface ChannelIntegers {
  readonly shape: readonly number[];
  readonly integers: Float32Array | Float64Array;
  readonly scale: Float32Array;
  readonly axis: number;
}

export interface FoldedLayer {
  readonly weights: ChannelIntegers;
  /** Float, [C]; undefined where the layer has none. */
  readonly bias: Float32Array | undefined;
  /** Channels that were rounded anew to a wider step. */
  readonly rounded: readonly number[];
}

/** What batch-norm does to a channel: y = factor · x + shift. */
interface Affine {
  readonly factor: Float64Array;
  readonly shift: Float64Array;
}

/** @param parameter values of a parameter by name */
export function batchNormAffine(node: Node, parameter: (name: string) => Array32): Affine {
  const [gamma, beta, mean, variance] = node.inputs.slice(1).map((name) => parameter(name).data) as [
    Float32Array,
    Float32Array,
    Float32Array,
    Float32Array,
  ];
  const {epsilon = 1e-5} = node.attributes as {readonly epsilon?: number};
  const factor = Float64Array.from(gamma, (value, c) => value / Math.sqrt(item(variance, c) + epsilon));
  return {factor, shift: Float64Array.from(beta, (value, c) => value - item(mean, c) * item(factor, c))};
}

/** Largest magnitude of a bias in steps: half of what 32 bits hold, so that the products fit beside it. */
const biasLimit = 2 ** 30;

/**
 * A negative factor turns a channel's integers around. −128 has no opposite among 8 bits, and a bias may exceed 32 bits where the
 * factor is tiny: such a channel takes a wider step (128 / 127 times in the first case), and its integers are rounded anew.
 * @param weights of the layer
 * @param bias of the layer itself, [C]
 * @param affine undefined: no batch-norm
 * @param inputScale step of the layer's input; null in float
 * @param place of the layer and the target, for errors
 * @throws SdqError (exit 4) where the grid takes more than 8 bits
 */
export function foldLayer(
  weights: LayerWeights,
  bias: Float32Array | undefined,
  affine: Affine | undefined,
  inputScale: number | null,
  place: {readonly layer: string; readonly target: string},
): FoldedLayer {
  const {axis, grid, indices, shape} = weights;
  const isHalf = grid.offset !== 0;
  const [least, greatest] = isHalf ? [2 * grid.qmin + 1, 2 * grid.qmax + 1] : [grid.qmin, grid.qmax];
  if (least < -128 || greatest > 127) {
    throw new SdqError(
      `${place.target} holds weights of 8 bits; layer "${place.layer}" has ${weights.bits} bits on a grid without zero, ` +
        `which is written in half steps from ${least} to ${greatest}.`,
      {
        code: 'target-grid',
        exit: ExitCode.hardwareViolated,
        suggestions: ['Give the layer at most 7 bits, or use the quantizer "narrow".'],
      },
    );
  }
  const integers = indices.map((index) => (isHalf ? 2 * index + 1 : index));
  const unit = weights.scale.map((value) => (isHalf ? value / 2 : value));
  const channels = item(shape, axis);
  const inner = elements(shape.slice(axis + 1));
  if (affine === undefined && (bias === undefined || inputScale === null)) {
    return {weights: {shape, integers, scale: unit, axis}, bias, rounded: []};
  }
  const scale = new Float32Array(channels);
  const shifts = new Float32Array(channels);
  const stretches = new Float64Array(channels).fill(1);
  const channelOf = (i: number): number => Math.floor(i / inner) % channels;
  for (let c = 0; c < channels; c++) {
    const factor = affine?.factor[c] ?? 1;
    const step = unit[c % unit.length] ?? 1;
    const shift = (bias?.[c] ?? 0) * factor + (affine?.shift[c] ?? 0);
    // A channel that batch-norm turns off has integers of 0, at any step.
    const folded = Math.max(factor === 0 ? step : step * Math.abs(factor), 1e-30);
    scale[c] = folded;
    shifts[c] = shift;
    const steps = inputScale === null ? 0 : Math.abs(shift) / (inputScale * folded);
    stretches[c] = Math.max(1, steps / biasLimit);
  }
  const turned = integers.map((value, i) => value * Math.sign(affine?.factor[channelOf(i)] ?? 1));
  for (const [i, value] of turned.entries()) {
    if (value > 127) stretches[channelOf(i)] = Math.max(item(stretches, channelOf(i)), 128 / 127);
  }
  const result = turned.map((value, i) => Math.round(value / item(stretches, channelOf(i))));
  return {
    weights: {shape, integers: result, scale: scale.map((value, c) => value * item(stretches, c)), axis},
    bias: bias === undefined && affine === undefined ? undefined : shifts,
    rounded: [...stretches.keys()].filter((c) => item(stretches, c) > 1),
  };
}

/** A bias in steps of (input step · weight step), 32 bits. */
export function integerBias(bias: Float32Array, weightScale: Float32Array, inputScale: number): ChannelIntegers {
  const scale = Float32Array.from(bias, (_, c) => inputScale * item(weightScale, c % weightScale.length));
  return {
    shape: [bias.length],
    integers: Float64Array.from(bias, (value, c) => Math.round(value / item(scale, c))),
    scale,
    axis: 0,
  };
}
