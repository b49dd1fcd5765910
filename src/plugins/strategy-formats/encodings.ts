/** What the encoding files of Qualcomm's tools share: the trained grid of each tensor, and what those files cannot say. */
import type {WeightLayer} from '../../graph/layer-table.ts';
import type {StrategyFormatContext, TrainedGrid} from '../../plugin-api/strategy-format.ts';
import type {Strategy} from '../../sdq/strategy.ts';
import {formatError} from './checks.ts';

/** One tensor's grid, whose integers are all those of the type: −2^(bits−1) … 2^(bits−1) − 1, or 0 … 2^bits − 1. */
export interface Encoding {
  /** Of the tensor in the graph, which is the one in an ONNX file that `sdq export` writes in float. */
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
  readonly notes: readonly string[];
}

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
  const inputs = new Map<string, Encoding>();
  const notes: string[] = [];
  layers.forEach(({name, weightBits, activationBits}, l) => {
    const layer = table[l];
    if (layer === undefined) return;
    const grids = trained(layer.sharedWith ?? name);
    if (grids.weights !== null && !weights.has(layer.weight)) {
      const axis = layer.op === 'MatMul' ? 1 : 0;
      weights.set(layer.weight, encoding(layer.weight, weightBits, grids.weights, axis, layer, format));
    }
    const input = trained(name).input;
    if (input === null) return;
    const found = encoding(layer.inputValue, activationBits, input, 0, layer, format);
    const other = inputs.get(found.name);
    if (other === undefined) inputs.set(found.name, found);
    else if (other.bits !== found.bits || other.steps[0] !== found.steps[0]) {
      notes.push(`The grid of the input of ${name}: it reads "${found.name}", which has that of the first layer.`);
    }
  });
  const layerNames = new Set(table.map(({name}) => name));
  const shared = graph.nodes
    .filter(({name, inputs: values}) => !layerNames.has(name) && values.some((value) => inputs.has(value)))
    .map(({name}) => name);
  if (shared.length > 0) {
    notes.push(
      `The tools round a tensor for all that read it. These nodes read what is rounded, and do not here: ${shared.join(', ')}. Train again in the tool, or keep inputs at 32 bits.`,
    );
  }
  return {weights: [...weights.values()], inputs: [...inputs.values()], notes};
}

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
    ['Train with quantizers.weights=symmetric and at least 2 bits; signed inputs too need at least 2.'],
  );
}
