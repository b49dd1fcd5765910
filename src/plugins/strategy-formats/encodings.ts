/** What the encoding files of Qualcomm's tools share: the trained grid of each tensor, and what those files cannot say. */
import {outputAxis, type WeightLayer} from '../../graph/layer-table.ts';
import {ownInput} from '../../graph/own-input.ts';
import type {StrategyFormatContext, TrainedGrid} from '../../plugin-api/strategy-format.ts';
import type {Strategy} from '../../sdq/strategy.ts';
import {formatError} from './checks.ts';

/** One tensor's grid, whose integers are all those of the type: −2^(bits−1) … 2^(bits−1) − 1, or 0 … 2^bits − 1. */
export interface Encoding {
  /** Of the tensor in the file of `sdq export --format aimet`. */
  readonly name: string;
  readonly bits: number;
  readonly signed: boolean;
  /** One for the tensor, or one for each output channel. */
  readonly steps: readonly number[];
  /** Of the output channels in the tensor. */
  readonly axis: number;
}

export interface Encodings {
  readonly weights: readonly Encoding[];
  readonly inputs: readonly Encoding[];
}

/** What the tensors of an encoding file are named after. */
export const encodedModel = 'The file is for the model of: sdq export --format aimet.';

/**
 * @param format as its users know it
 * @throws SdqError (exit 3) without a trained network, or where a grid is not made of all integers of a type
 */
export function encodingsOf(
  {layers}: Strategy,
  {graph, layers: table, trained}: StrategyFormatContext,
  format: string,
): Encodings {
  if (trained === undefined) {
    throw formatError(`${format} hold scales, which are learned in training.`, [
      'Give the trained network: --checkpoint quantized.safetensors.',
    ]);
  }
  const weights = new Map<string, Encoding>();
  const inputs: Encoding[] = [];
  layers.forEach(({name, weightBits, activationBits}, l) => {
    const layer = table[l];
    if (layer === undefined) return;
    const grids = trained(layer.sharedWith ?? name);
    if (grids.weights !== null && !weights.has(layer.weight)) {
      const axis = outputAxis(graph, layer);
      weights.set(layer.weight, encoding(layer.weight, weightBits, withLowest(grids.weights), axis, layer, format));
    }
    const input = trained(name).input;
    if (input === null) return;
    inputs.push(encoding(ownInput(graph, layer), activationBits, input, 0, layer, format));
  });
  return {weights: [...weights.values()], inputs};
}

/**
 * A narrow grid, −q … q, with −q − 1 too, which makes it all integers of its type. The weights of the model lie on the narrow grid, so that
 * rounding them to the wider one changes none; inputs would be clipped elsewhere.
 */
const withLowest = (grid: TrainedGrid): TrainedGrid =>
  grid.offset === 0 && grid.qmin === -grid.qmax ? {...grid, qmin: grid.qmin - 1} : grid;

function encoding(
  tensor: string,
  bits: number,
  {qmin, qmax, offset, steps}: TrainedGrid,
  axis: number,
  {name}: WeightLayer,
  format: string,
): Encoding {
  const signed = qmin < 0;
  const lowest = signed ? -(2 ** (bits - 1)) : 0;
  if (offset === 0 && qmin === lowest && qmax === lowest + 2 ** bits - 1) {
    return {name: tensor, bits, signed, steps: [...steps], axis};
  }
  const grid = offset === 0 ? `integers ${qmin} … ${qmax}` : 'odd multiples of half a step';
  throw formatError(
    `${format} have all integers of ${bits} bits and a zero; "${tensor}" of layer "${name}" has ${grid}.`,
    ['Train with quantizers.weights=symmetric or narrow, and at least 2 bits; signed inputs too need at least 2.'],
  );
}
